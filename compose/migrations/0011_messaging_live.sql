-- Threads know whose turn it is, and an assignment says what its score is made of.

-- As before, with who wrote each thread's last message.
create or replace function messaging.conversation_snapshot(p_tenant uuid, p_conversation uuid)
returns jsonb language plpgsql stable as $$
begin
  return (
    select jsonb_build_object(
      'thread_version', c.thread_version, 'owner_kind', c.owner_kind, 'state', c.state,
      'now_ms', (extract(epoch from clock_timestamp()) * 1000)::bigint,
      'threads', coalesce((select jsonb_agg(jsonb_build_object(
          'id', t.id, 'mentions', to_jsonb(t.recent_mentions),
          'author', t.recent_authors[cardinality(t.recent_authors)],
          'last_ms', (extract(epoch from t.last_message_at) * 1000)::bigint,
          'terms', (select coalesce(jsonb_agg(encode(x, 'hex')), '[]') from unnest(t.recent_terms) x))
          order by t.last_message_at desc, t.id desc)
        from (select * from messaging.threads
               where tenant_id = p_tenant and conversation_id = p_conversation
                 and archived_at is null
               order by last_message_at desc, id desc limit 20) t), '[]'))
    from messaging.conversations c where c.tenant_id = p_tenant and c.id = p_conversation);
end
$$;

-- ---------------------------------------------------------------- What a score is made of

-- {words, mentions, recency, turn}, which make the score together; null where no score decided, and
-- for what was assigned before this was kept.
alter table messaging.messages add column explanation jsonb;

create or replace function messaging.assignment_json(m messaging.messages, p_already bool) returns jsonb
language sql stable as $$
  select case when m.thread_id is not null then jsonb_build_object(
    'success', true, 'already_assigned', p_already, 'thread_id', m.thread_id,
    'created_thread', m.created_thread, 'method', m.method, 'score', coalesce(m.score, 0),
    'algorithm', m.algorithm,
    'explanation', case m.method when 'similar' then m.explanation end) end
$$;

-- As before, with p_explanation. What calls it passes it by its place, so the old one goes.
drop function messaging.post_message(
  uuid, text, uuid, uuid, text, text, text, text, uuid, uuid, text, uuid, float8, bigint, bool,
  text, text, bytea, text[], interval, text, interval, interval, int, text, text, text, bytea,
  text, jsonb, text);
create function messaging.post_message(
  p_tenant uuid, p_code text, p_conversation uuid, p_message uuid, p_sender_kind text,
  p_sender_id text, p_text text, p_external text, p_reply_to uuid, p_thread uuid, p_choice text,
  p_choice_thread uuid, p_score float8, p_seen bigint, p_force bool, p_title text,
  p_algorithm text, p_terms bytea, p_mentions text[], p_deferred interval, p_control text,
  p_debounce interval, p_debounce_max interval, p_debounce_count int, p_key text, p_method text,
  p_path text, p_body_hash bytea, p_actor text, p_attachments jsonb default null,
  p_provider_thread text default null, p_explanation jsonb default null,
  out outcome text, out answer jsonb, out snapshot jsonb, out bot jsonb
) language plpgsql as $$
declare
  known record;
  c messaging.conversations;
  m messaging.messages;
  s record;
begin
  if p_key is not null then
    select * into known from platform.idempotency_look(
      p_tenant, p_key, p_method, p_path, p_body_hash);
    if known.state not in ('new', 'expired') then
      outcome := case known.state when 'done' then 'replayed' else known.state end;
      answer := known.result;
      return;
    end if;
  end if;
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then
    outcome := 'not_found';
  else
    if p_external is not null then
      select q.answer into answer from messaging.messages q
       where q.tenant_id = p_tenant and q.channel_code = c.channel_code
         and q.external_id = p_external;
      if found then outcome := 'duplicate'; end if;
    end if;
    if c.state = 'closed' and outcome is null then
      if p_sender_kind <> 'contact' then
        outcome := 'closed';
      else
        c := messaging.reopen(c, p_code, p_actor);
        if c.state = 'closed' then
          outcome := 'elsewhere';
          answer := messaging.contact_of(c);
        end if;
      end if;
    end if;
  end if;
  if outcome is null then
    select * into s from messaging.settle_thread(c, p_thread, p_reply_to,
      p_choice, p_choice_thread, p_score, p_seen, p_force, p_title)
     where p_deferred is null or p_thread is not null;
    if s.outcome = 'invalid' then
      outcome := 'invalid';
      answer := jsonb_build_object('pointer', s.pointer, 'detail', s.detail);
    elsif s.outcome = 'stale' then
      outcome := 'stale_choice';
      snapshot := messaging.conversation_snapshot(p_tenant, p_conversation);
    end if;
  end if;
  if outcome is not null then
    if p_key is not null and outcome = 'duplicate' then
      perform platform.idempotency_keep(
        p_tenant, p_key, p_method, p_path, p_body_hash, answer, 200);
    end if;
    return;
  end if;
  insert into messaging.messages
    (tenant_id, id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
     attachments, external_id, reply_to, provider_thread, thread_id, thread_state, method, score,
     algorithm, explanation, created_thread, by_job, created_by)
  values (p_tenant, p_message, c.id, c.next_seq, c.channel_code,
    case p_sender_kind when 'contact' then 'in' else 'out' end, p_sender_kind, p_sender_id, p_text,
    p_attachments, p_external, p_reply_to, p_provider_thread, s.thread,
    case when s.thread is not null then 'assigned' when p_choice = 'async' then 'pending'
      else 'deferred' end,
    s.method, s.score, case when s.thread is not null then p_algorithm end,
    case s.method when 'similar' then p_explanation end,
    coalesce(s.created, false), coalesce(p_choice = 'async', false), p_actor)
  returning * into m;
  if m.thread_id is not null then
    perform messaging.touch_thread(p_tenant, m.thread_id, p_terms, p_sender_id, p_mentions);
  else
    perform platform.set_timer('messaging', p_tenant, p_code, 'rate_deferred', m.id, 0,
      now() + p_deferred, jsonb_build_object('conversation_id', c.id));
  end if;
  perform messaging.emit(p_tenant, p_code, c.id, c.version + 1, jsonb_build_array(
    jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
      'conversation_id', c.id, 'sender_kind', p_sender_kind, 'direction', m.direction)))
    || case when m.thread_state = 'pending' then '[]' else jsonb_build_array(
    jsonb_build_array('message.' || m.thread_state, jsonb_build_object('message_id', m.id,
      'conversation_id', c.id, 'thread_id', m.thread_id, 'method', m.method))) end);
  update messaging.conversations set next_seq = next_seq + 1, version = version + 1,
         updated_at = now(),
         last_user_seq = case when p_sender_kind = 'contact' then m.seq else last_user_seq end,
         handoff_until = case when p_sender_kind = 'agent' then null else handoff_until end,
         thread_version = thread_version + case when m.thread_id is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  if p_sender_kind = 'contact' then
    bot := messaging.feed_bot(c, p_code, m.seq, p_control, p_attachments is not null, p_debounce,
      p_debounce_max, p_debounce_count);
  else
    bot := jsonb_build_object(
      'status', case when c.owner_kind = 'bot' then 'off' else 'human' end);
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'message.post', m.id::text, null,
    jsonb_build_object('conversation_id', c.id, 'thread_id', m.thread_id), null, null);
  outcome := 'created';
  answer := jsonb_build_object('message', messaging.message_json(m),
    'assignment', messaging.assignment_json(m, false), 'bot', bot);
  bot := bot || jsonb_build_object(
    'conversation_id', c.id, 'is_last', p_attachments is not null);
  if p_external is not null then
    update messaging.messages q set answer = post_message.answer
     where q.tenant_id = p_tenant and q.id = m.id;
  end if;
  if p_key is not null then
    perform platform.idempotency_keep(
      p_tenant, p_key, p_method, p_path, p_body_hash, answer, 201);
  end if;
end
$$;

-- As before; an item may have an `explanation`.
create or replace function messaging.post_messages(
  p_tenant uuid, p_code text, p_conversation uuid, p_seen bigint, p_force bool, p_algorithm text,
  p_debounce interval, p_debounce_max interval, p_debounce_count int, p_items jsonb
) returns table (outcome text, answer jsonb, snapshot jsonb, bot jsonb) language plpgsql as $$
declare
  version bigint;
  i record;
begin
  select thread_version into version from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if p_seen is not null and p_seen <> version and not p_force then
    outcome := 'stale_choice';
    snapshot := messaging.conversation_snapshot(p_tenant, p_conversation);
    return next;
    return;
  end if;
  for i in select * from rows from (jsonb_to_recordset(p_items) as (
      id uuid, sender_kind text, sender_id text, text text, external_id text, reply_to uuid,
      thread uuid, choice text, choice_thread uuid, score float8, title text, terms text,
      mentions text[], deferred interval, control text, key text, method text, path text,
      body_hash text, actor text, attachments jsonb, provider_thread text,
      explanation jsonb)) with ordinality
     order by ordinality
  loop
    select p.outcome, p.answer, p.bot into outcome, answer, bot from messaging.post_message(
      p_tenant, p_code, p_conversation, i.id, i.sender_kind, i.sender_id, i.text, i.external_id,
      i.reply_to, i.thread, i.choice, i.choice_thread, i.score, p_seen, true, i.title, p_algorithm,
      decode(i.terms, 'hex'), i.mentions, i.deferred, i.control, p_debounce, p_debounce_max,
      p_debounce_count, i.key, i.method, i.path, decode(i.body_hash, 'hex'), i.actor,
      i.attachments, i.provider_thread, i.explanation) p;
    return next;
  end loop;
end
$$;

-- As before, with p_explanation.
drop function messaging.auto_assign(
  uuid, text, uuid, text, uuid, float8, bigint, bool, text, text, bytea, text[], text);
create function messaging.auto_assign(
  p_tenant uuid, p_code text, p_message uuid, p_choice text, p_choice_thread uuid, p_score float8,
  p_seen bigint, p_force bool, p_title text, p_algorithm text, p_terms bytea, p_mentions text[],
  p_actor text, p_explanation jsonb, out outcome text, out answer jsonb, out snapshot jsonb
) language plpgsql as $$
declare
  c messaging.conversations;
  m messaging.messages;
  s record;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select q.conversation_id from messaging.messages q
     where q.tenant_id = p_tenant and q.id = p_message and q.deleted_at is null) for update;
  if not found then outcome := 'not_found'; return; end if;
  -- Read after the lock: whoever held it may have assigned the message.
  select * into m from messaging.messages q where q.tenant_id = p_tenant and q.id = p_message;
  if m.thread_id is not null then
    outcome := 'already';
    answer := messaging.assignment_json(m, true);
    return;
  end if;
  select * into s from messaging.settle_thread(c, null, m.reply_to, p_choice, p_choice_thread,
    p_score, p_seen, p_force, p_title);
  if s.outcome = 'stale' then
    outcome := 'stale_choice';
    snapshot := messaging.conversation_snapshot(p_tenant, c.id);
    return;
  end if;
  update messaging.messages q set thread_id = s.thread, thread_state = 'assigned',
         method = s.method, score = s.score, algorithm = p_algorithm, created_thread = s.created,
         explanation = case s.method when 'similar' then p_explanation end
   where q.tenant_id = p_tenant and q.id = p_message and q.thread_id is null
   returning q.* into m;
  perform messaging.touch_thread(p_tenant, s.thread, p_terms, m.sender_id, p_mentions);
  delete from platform.timers
   where tenant_id = p_tenant and ref_id = p_message and kind = 'rate_deferred';
  update messaging.conversations x set thread_version = x.thread_version + 1,
         version = x.version + 1, updated_at = now()
   where x.tenant_id = p_tenant and x.id = c.id;
  perform messaging.emit(p_tenant, p_code, c.id, c.version + 1, jsonb_build_array(
    jsonb_build_array('message.assigned', jsonb_build_object('message_id', m.id,
      'conversation_id', c.id, 'thread_id', m.thread_id, 'method', m.method))));
  perform platform.note_audit(p_tenant, p_actor, 'message.assign', m.id::text, null,
    jsonb_build_object('thread_id', m.thread_id, 'method', m.method), null, null);
  outcome := 'assigned';
  answer := messaging.assignment_json(m, false);
end
$$;
