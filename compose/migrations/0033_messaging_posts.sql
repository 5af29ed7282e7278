-- Messages are written together: in as many statements for all of a batch as for one, but for keys and
-- threads, which are each one's own; and a conversation's row as often as for one message, however many
-- it gets.

-- A message as post_batch takes it, and what was settled of it: its conversation, how it ends
-- ('created': it is to be written), its number, its thread and how that was found, whether a bot is to
-- hear it.
create type messaging.post as (
  id uuid, sender_kind text, sender_id text, text text, external_id text, reply_to uuid, thread uuid,
  choice text, choice_thread uuid, score float8, title text, terms text, mentions text[],
  deferred interval, control text, key text, method text, path text, body_hash text, actor text,
  attachments jsonb, provider_thread text, explanation jsonb,
  place int, code text, c messaging.conversations, outcome text, answer jsonb, snapshot jsonb,
  seq bigint, thread_id uuid, placed_by text, new_thread bool, is_heard bool);

-- Notes in a thread that it has more messages, with the terms and the author of each, in their order,
-- and what they mention, the newest first. It keeps the terms of twenty messages and three authors.
create function messaging.touch_thread(
  p_tenant uuid, p_thread uuid, p_terms bytea[], p_authors text[], p_mentions text[]
) returns void language plpgsql as $$
declare
  added int := cardinality(p_terms);
begin
  update messaging.threads t set
    message_count = t.message_count + added, version = t.version + 1,
    recent_terms = (t.recent_terms || p_terms)[greatest(1, cardinality(t.recent_terms) + added - 19):],
    recent_authors =
      (t.recent_authors || p_authors)[greatest(1, cardinality(t.recent_authors) + added - 2):],
    recent_mentions = (select coalesce(array_agg(distinct x.m), '{}') from (
      select m from unnest(p_mentions || t.recent_mentions) with ordinality as u (m, n)
       order by n limit 32) x),
    last_message_at = now(), updated_at = now()
  where t.tenant_id = p_tenant and t.id = p_thread;
end
$$;

-- As in 0002: one message.
create or replace function messaging.touch_thread(
  p_tenant uuid, p_thread uuid, p_terms bytea, p_author text, p_mentions text[]
) returns void language sql as $$
  select messaging.touch_thread(p_tenant, p_thread, array[p_terms], array[p_author], p_mentions)
$$;

-- As in 0011, for a bot that is on or an order to it: others do not hear of a message.
create or replace function messaging.feed_bot(
  c messaging.conversations, p_code text, p_seq bigint, p_control text, p_flush bool,
  p_debounce interval, p_debounce_max interval, p_debounce_count int
) returns jsonb language plpgsql as $$
declare
  j messaging.ai_jobs;
  started timestamptz := coalesce(c.first_pending_at, now());
  due timestamptz;
  waiting int := c.pending_count + 1;
  mailbox jsonb;
begin
  if p_control is not null then
    j.id := messaging.silence_bot(c.tenant_id, c.id, 'control word');
    if p_control = 'agent' and c.owner_kind = 'bot' then
      perform messaging.ask_for_person(c, p_code, 'asked for a person', null, c.version + 1);
    end if;
    return jsonb_build_object('ai_job_id', j.id, 'status', case
      when p_control = 'agent' or c.owner_kind <> 'bot' then 'human' else 'stopped' end);
  end if;
  select h.mailbox into mailbox from messaging.channels h
   where h.tenant_id = c.tenant_id and h.code = c.channel_code;
  due := case when p_flush
      or waiting >= coalesce((mailbox ->> 'debounce_count')::int, p_debounce_count)
    then now() else least(
      now() + coalesce((mailbox ->> 'debounce_ms')::int * interval '1 ms', p_debounce),
      started + coalesce((mailbox ->> 'debounce_max_ms')::int * interval '1 ms', p_debounce_max))
    end;
  select * into j from messaging.ai_jobs
   where tenant_id = c.tenant_id and conversation_id = c.id
     and status in ('pending', 'processing') for update;
  update messaging.conversations set pending_count = waiting, first_pending_at = started,
         debounce_until = due, fence = fence + case when j.id is null then 1 else 0 end
   where tenant_id = c.tenant_id and id = c.id;
  if j.id is null then
    j := messaging.make_ai_job(c.tenant_id, p_code, c.id, c.fence + 1, p_seq, waiting, null, due,
      c.version + 1);
    return jsonb_build_object('status', 'ai_processing_started', 'ai_job_id', j.id,
      'lock_id', j.lock_id, 'consolidated_messages', j.consolidated_messages);
  elsif j.status = 'pending' then
    -- A job that waits for its next try keeps its pause, and one that is due stays so.
    update messaging.ai_jobs set upto_seq = p_seq,
           consolidated_messages = consolidated_messages + 1,
           due_at = case when attempts = 0 and due_at > now() then due else due_at end
     where tenant_id = j.tenant_id and id = j.id returning * into j;
    return jsonb_build_object('status', 'buffered', 'ai_job_id', j.id,
      'consolidated_messages', j.consolidated_messages);
  end if;
  return jsonb_build_object('status', 'locked', 'ai_job_id', j.id, 'pending_count', waiting);
end
$$;

-- Writes what was settled, with its threads, events, audit and keys; then bots hear what they are to.
-- Of one conversation they hear the last message at most. The caller holds the rows of all
-- conversations. One row for each message, as post_batch answers.
create function messaging.write_posts(
  p_algorithm text, p_debounce interval, p_debounce_max interval, p_debounce_count int,
  p_posts messaging.post[]
) returns table (place int, outcome text, answer jsonb, snapshot jsonb, bot jsonb)
language plpgsql as $$
declare
  fresh messaging.messages[];
  i record;
begin
  with stored as (
    insert into messaging.messages
      (tenant_id, id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
       attachments, external_id, reply_to, provider_thread, thread_id, thread_state, method, score,
       algorithm, explanation, created_thread, by_job, created_by)
    select (p.c).tenant_id, p.id, (p.c).id, p.seq, (p.c).channel_code,
      case p.sender_kind when 'contact' then 'in' else 'out' end, p.sender_kind, p.sender_id, p.text,
      p.attachments, p.external_id, p.reply_to, p.provider_thread, p.thread_id,
      case when p.thread_id is not null then 'assigned' when p.choice = 'async' then 'pending'
        else 'deferred' end,
      p.placed_by, p.score, case when p.thread_id is not null then p_algorithm end,
      case when p.placed_by in ('similar', 'new_thread') then p.explanation end,
      coalesce(p.new_thread, false), coalesce(p.choice = 'async', false), p.actor
      from unnest(p_posts) p where p.outcome = 'created'
    returning messages.*),
  timed as (
    insert into platform.timers (owner, tenant_id, tenant, kind, ref_id, ref_seq, due_at, data)
    select 'messaging', (p.c).tenant_id, p.code, 'rate_deferred', p.id, 0, now() + p.deferred,
      jsonb_build_object('conversation_id', (p.c).id)
      from unnest(p_posts) p where p.outcome = 'created' and p.thread_id is null),
  told as (
    insert into platform.outbox (source, tenant_id, tenant, kind, target, key, key_version, payload)
    select 'messaging', m.tenant_id, p.code, 'event', e.name, m.conversation_id::text,
      (p.c).version + 1, e.said
      from unnest(p_posts) with ordinality p
           join stored m on m.id = p.id and m.tenant_id = (p.c).tenant_id
           cross join lateral (values
             (1, 'message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
               'conversation_id', m.conversation_id, 'sender_kind', m.sender_kind,
               'sender_id', m.sender_id, 'direction', m.direction)),
             (2, 'message.' || m.thread_state, jsonb_build_object('message_id', m.id,
               'conversation_id', m.conversation_id, 'thread_id', m.thread_id, 'method', m.method))
           ) e (n, name, said)
     where e.n = 1 or m.thread_state <> 'pending'
     order by p.ordinality, e.n),
  noted as (
    insert into platform.audit (tenant_id, actor, action, subject, after)
    select m.tenant_id, m.created_by, 'message.post', m.id::text, jsonb_build_object(
      'conversation_id', m.conversation_id, 'thread_id', m.thread_id) from stored m)
  select array_agg(s) into fresh from stored s;
  perform messaging.touch_thread(g.tenant_id, g.thread_id, g.terms, g.authors, array(
      select u.name from unnest(p_posts) q cross join unnest(q.mentions) u (name)
       where q.thread_id = g.thread_id order by q.seq desc))
     from (select (p.c).tenant_id, p.thread_id,
                  array_agg(decode(p.terms, 'hex') order by p.seq) as terms,
                  array_agg(p.sender_id order by p.seq) as authors
             from unnest(p_posts) p where p.thread_id is not null group by 1, 2) g;
  update messaging.conversations c set next_seq = w.next_seq, version = c.version + 1,
         updated_at = now(), last_user_seq = coalesce(w.said, c.last_user_seq),
         answered_seq = coalesce(w.unheard, c.answered_seq),
         handoff_until = case when not w.by_agent then c.handoff_until end,
         thread_version = c.thread_version + w.assigned
    from (select (p.c).tenant_id, (p.c).id, max(p.seq) + 1 as next_seq,
                 bool_or(p.sender_kind = 'agent') as by_agent,
                 max(p.seq) filter (where p.sender_kind = 'contact') as said,
                 max(p.seq) filter (where p.sender_kind = 'contact' and not p.is_heard) as unheard,
                 count(p.thread_id) as assigned
            from unnest(p_posts) p where p.outcome = 'created' group by 1, 2) w
   where c.tenant_id = w.tenant_id and c.id = w.id;
  for i in
    select p.*, m.id is not null as is_fresh, messaging.message_json(m) as message,
           messaging.assignment_json(m, false) as assignment
      from unnest(p_posts) with ordinality p left join unnest(fresh) m on m.id = p.id
           and m.tenant_id = (p.c).tenant_id
     order by p.ordinality
  loop
    place := i.place;
    outcome := i.outcome;
    answer := i.answer;
    snapshot := i.snapshot;
    bot := null;
    if i.is_fresh then
      bot := case when i.is_heard
        then messaging.feed_bot(i.c, i.code, i.seq, i.control, i.attachments is not null,
          p_debounce, p_debounce_max, p_debounce_count)
        else jsonb_build_object(
          'status', case when (i.c).owner_kind = 'bot' then 'off' else 'human' end) end;
      answer := jsonb_build_object('message', i.message, 'assignment', i.assignment, 'bot', bot);
      bot := bot || jsonb_build_object(
        'conversation_id', (i.c).id, 'is_last', i.attachments is not null);
      if i.external_id is not null then
        update messaging.messages q set answer = write_posts.answer
         where q.tenant_id = (i.c).tenant_id and q.id = i.id;
      end if;
    end if;
    if i.key is not null and i.outcome in ('created', 'duplicate') then
      perform platform.idempotency_keep((i.c).tenant_id, i.key, i.method, i.path,
        decode(i.body_hash, 'hex'), answer, case i.outcome when 'created' then 201 else 200 end);
    end if;
    return next;
  end loop;
end
$$;

drop function messaging.post_messages(
  uuid, text, uuid, bigint, bool, text, interval, interval, int, jsonb);
drop function messaging.post_message(
  uuid, text, uuid, uuid, text, text, text, text, uuid, uuid, text, uuid, float8, bigint, bool, text,
  text, bytea, text[], interval, text, interval, interval, int, text, text, text, bytea, text, jsonb,
  text, jsonb);

-- Stores messages of several conversations in one round trip and one flush.
--
-- p_groups: an array of {tenant, code, conversation, seen, force, items}, each conversation once; of
-- items see messaging.post, their `terms` and `body_hash` are in hexadecimal. For each group, numbered
-- by `place` from 1, one row for each of its items, in their order: outcome 'created'
-- | 'duplicate' (answer = what the first one got) | 'replayed' | 'reused' | 'in_progress'
-- | 'invalid' (answer = {pointer, detail}) | 'not_found' | 'closed'
-- | 'elsewhere' (answer = contact_of: the contact's next conversation is to take it).
-- Or only one row that says 'stale_choice': nothing of the group is stored, for the threads have changed
-- since `seen`, on which the choices were made, and it has no `force`.
--
-- Strangers do not wait for each other: without p_wait a conversation that somebody else holds gets
-- one row that says 'busy', with nothing written; it is for the caller to come again for it alone,
-- with p_wait. Other locks are waited for no longer than a moment; then the whole statement fails,
-- as it does by any error that is no outcome, and each group is tried alone.
--
-- What was settled is written when something may depend on it: a message that answers it or repeats
-- it, the next one of a conversation whose bot is to hear it, the end.
create or replace function messaging.post_batch(
  p_algorithm text, p_debounce interval, p_debounce_max interval, p_debounce_count int,
  p_groups jsonb, p_wait bool
) returns table (place int, outcome text, answer jsonb, snapshot jsonb, bot jsonb)
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
  g record;
  c messaging.conversations;
  p messaging.post;
  waiting messaging.post[] := '{}';
  -- What those who wait may be asked for by; one that means two things only has them written early.
  names text[] := '{}';
  is_bots_turn bool;
  known record;
  s record;
begin
  if not p_wait then perform set_config('lock_timeout', '50ms', true); end if;
  for g in select * from rows from (jsonb_to_recordset(p_groups) as (
      tenant uuid, code text, conversation uuid, seen bigint, force bool, items jsonb))
      with ordinality
  loop
    p := null;
    if p_wait then
      select x.* into c from messaging.conversations x
       where x.tenant_id = g.tenant and x.id = g.conversation for update;
    else
      select x.* into c from messaging.conversations x
       where x.tenant_id = g.tenant and x.id = g.conversation for update skip locked;
      if not found and exists (select 1 from messaging.conversations x
         where x.tenant_id = g.tenant and x.id = g.conversation)
      then
        p.outcome := 'busy';
      end if;
    end if;
    if g.seen is not null and g.seen <> c.thread_version and not g.force then
      p.outcome := 'stale_choice';
      p.snapshot := messaging.conversation_snapshot(g.tenant, g.conversation);
    end if;
    if p.outcome is not null then
      p.place := g.ordinality;
      waiting := array_append(waiting, p);
      continue;
    end if;
    is_bots_turn := false;
    for p in select * from jsonb_populate_recordset(null::messaging.post, g.items) loop
      if is_bots_turn or array[p.reply_to::text, p.external_id, p.key] && names then
        return query select w.* from messaging.write_posts(
          p_algorithm, p_debounce, p_debounce_max, p_debounce_count, waiting) w;
        waiting := '{}';
        names := '{}';
        select x.* into c from messaging.conversations x
         where x.tenant_id = g.tenant and x.id = g.conversation;
      end if;
      if p.key is not null then
        select * into known from platform.idempotency_look(
          g.tenant, p.key, p.method, p.path, decode(p.body_hash, 'hex'));
        if known.state not in ('new', 'expired') then
          p.outcome := case known.state when 'done' then 'replayed' else known.state end;
          p.answer := known.result;
        end if;
      end if;
      if p.outcome is null and c.id is null then p.outcome := 'not_found'; end if;
      if p.outcome is null and p.external_id is not null then
        select q.answer into p.answer from messaging.messages q
         where q.tenant_id = g.tenant and q.channel_code = c.channel_code
           and q.external_id = p.external_id;
        if found then p.outcome := 'duplicate'; end if;
      end if;
      if p.outcome is null and c.state = 'closed' then
        if p.sender_kind = 'contact' then c := messaging.reopen(c, g.code, p.actor); end if;
        if c.state = 'closed' then
          p.outcome := case p.sender_kind when 'contact' then 'elsewhere' else 'closed' end;
          p.answer := case p.sender_kind when 'contact' then messaging.contact_of(c) end;
        end if;
      end if;
      if p.outcome is null and (p.deferred is null or p.thread is not null) then
        select * into s from messaging.settle_thread(c, p.thread, p.reply_to, p.choice,
          p.choice_thread, p.score, g.seen, true, p.title);
        if s.outcome <> 'ok' then
          p.outcome := case s.outcome when 'stale' then 'stale_choice' else s.outcome end;
          p.answer := jsonb_build_object('pointer', s.pointer, 'detail', s.detail);
        else
          p.thread_id := s.thread;
          p.placed_by := s.method;
          p.score := s.score;
          p.new_thread := s.created;
        end if;
      end if;
      if p.outcome is null then
        p.outcome := 'created';
        p.seq := c.next_seq;
        p.score := case when p.thread_id is not null then p.score end;
        p.is_heard := p.sender_kind = 'contact' and (p.control is not null
          or c.owner_kind = 'bot' and messaging.bot_is_on(g.tenant, c.bot_id, c.channel_code));
        c.next_seq := c.next_seq + 1;
      end if;
      p.place := g.ordinality;
      p.code := g.code;
      p.c := c;
      waiting := array_append(waiting, p);
      names := names || array[p.id::text, p.external_id, p.key];
      is_bots_turn := coalesce(p.is_heard, false);
    end loop;
  end loop;
  return query select w.* from messaging.write_posts(
    p_algorithm, p_debounce, p_debounce_max, p_debounce_count, waiting) w;
end
$$;
