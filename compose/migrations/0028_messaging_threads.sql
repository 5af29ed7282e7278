-- Nothing that was said stays without a thread; a thread keeps nothing of a text that is gone.

-- ---------------------------------------------------------------- What waits for another's thread

-- A message that was said out while what it answers had no thread: whose thread is to be its own, and
-- its features {terms: hex, mentions}, which the thread then takes. Without `follows` a timer finds
-- its thread. Both are null again once it has one.
alter table messaging.messages add column follows uuid, add column waiting jsonb;
create index messages_follow on messaging.messages (tenant_id, follows, seq) where follows is not null;

-- Lets a timer find the thread of a stored message at once, within the room's limit.
create function messaging.find_thread_soon(m messaging.messages, p_code text) returns void
language sql as $$
  select platform.set_timer('messaging', m.tenant_id, p_code, 'rate_deferred', m.id, 0, now(),
    jsonb_build_object('conversation_id', m.conversation_id))
$$;

-- What followed p_messages joins their thread, the oldest 200 of it; what is beyond follows one of
-- its own, which a timer brings here. The caller holds the conversation's row, counts the change of
-- its threads, and has told the events before these of p_version.
create function messaging.join_followers(
  p_tenant uuid, p_code text, p_conversation uuid, p_messages uuid[], p_thread uuid, p_version bigint
) returns void language plpgsql as $$
declare
  f messaging.messages;
  n int := 0;
begin
  for f in select q.* from messaging.messages q
     where q.tenant_id = p_tenant and q.follows = any (p_messages) order by q.seq limit 201
  loop
    n := n + 1;
    if n > 200 then
      update messaging.messages q set follows = f.id
       where q.tenant_id = p_tenant and q.follows = any (p_messages) and q.id <> f.id;
      perform messaging.find_thread_soon(f, p_code);
      exit;
    end if;
    update messaging.messages q set thread_id = p_thread, thread_state = 'assigned',
           method = 'reply', score = 0, follows = null, waiting = null
     where q.tenant_id = p_tenant and q.id = f.id;
    perform messaging.touch_thread(p_tenant, p_thread, decode(f.waiting ->> 'terms', 'hex'),
      f.sender_id, messaging.texts(f.waiting -> 'mentions'));
    perform messaging.emit(p_tenant, p_code, p_conversation, p_version, jsonb_build_array(
      jsonb_build_array('message.assigned', jsonb_build_object('message_id', f.id,
        'conversation_id', p_conversation, 'thread_id', p_thread, 'method', 'reply'))));
  end loop;
end
$$;

-- What followed a message that is deleted finds a thread of its own: the oldest, and the others with
-- it. The caller holds the conversation's row.
create function messaging.leave_followers(m messaging.messages) returns void language plpgsql as $$
declare
  first messaging.messages;
begin
  select q.* into first from messaging.messages q
   where q.tenant_id = m.tenant_id and q.follows = m.id order by q.seq limit 1;
  if not found then return; end if;
  update messaging.messages q set follows = case when q.id <> first.id then first.id end
   where q.tenant_id = m.tenant_id and q.follows = m.id;
  perform messaging.find_thread_soon(first, t.code)
     from platform.tenants t where t.id = m.tenant_id;
end
$$;

-- What was said out before this and waits: for the message that it answers, if that waits as well.
with waits as (
  update messaging.messages m set follows = (
      select q.id from messaging.messages q
       where q.tenant_id = m.tenant_id and q.id = m.reply_to and q.thread_id is null
         and q.deleted_at is null),
    waiting = '{"terms": "", "mentions": []}'
   where m.thread_id is null and m.message_request_id is not null
  returning m.*
)
select platform.set_timer('messaging', w.tenant_id, t.code, 'rate_deferred', w.id, 0, now(),
    jsonb_build_object('conversation_id', w.conversation_id))
  from waits w join platform.tenants t on t.id = w.tenant_id where w.follows is null;

-- As in 0021; where the thread is not known yet, the parts follow what they answer, or the first.
create or replace function messaging.say_out(
  c messaging.conversations, p_code text, said messaging.messages, p_parts jsonb
) returns messaging.messages[] language plpgsql as $$
declare
  m messaging.messages;
  part record;
  posted messaging.messages[] := '{}';
  v_follows uuid;
begin
  if said.thread_id is null then
    select q.id into v_follows from messaging.messages q
     where q.tenant_id = c.tenant_id and q.id = coalesce(said.follows, said.reply_to)
       and q.deleted_at is null;
  end if;
  for part in select e.value, e.value ->> 'text' as words, decode(e.value ->> 'terms', 'hex') as terms,
      array(select jsonb_array_elements_text(e.value -> 'mentions')) as mentions, e.n
    from jsonb_array_elements(p_parts) with ordinality as e (value, n) order by e.n
  loop
    insert into messaging.messages
      (tenant_id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
       reply_to, provider_thread, thread_id, thread_state, method, score, stale, ai_job_id,
       message_request_id, delivery_state, created_by, follows, waiting)
    values (c.tenant_id, c.id, c.next_seq + part.n - 1, c.channel_code, 'out', said.sender_kind,
      said.sender_id, part.words, said.reply_to, said.provider_thread, said.thread_id,
      case when said.thread_id is null then 'pending' else 'assigned' end,
      case when said.thread_id is null then null else said.method end, 0,
      coalesce(said.stale, false), said.ai_job_id, gen_random_uuid(), 'pending', said.created_by,
      v_follows, case when said.thread_id is null then jsonb_build_object(
        'terms', part.value ->> 'terms', 'mentions', to_jsonb(part.mentions)) end)
    returning * into m;
    posted := array_append(posted, m);
    if m.thread_id is not null then
      perform messaging.touch_thread(c.tenant_id, m.thread_id, part.terms, said.sender_id,
        part.mentions);
    elsif v_follows is null then
      perform messaging.find_thread_soon(m, p_code);
      v_follows := m.id;
    end if;
    perform messaging.emit(c.tenant_id, p_code, c.id, c.version + 1, jsonb_build_array(
      jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
        'conversation_id', c.id, 'sender_kind', m.sender_kind, 'sender_id', m.sender_id,
        'direction', 'out'))));
    perform messaging.send_out(m, p_code, c.version + 1);
  end loop;
  return posted;
end
$$;

-- As in 0018; without a thread the reply follows what the contact wrote last.
create or replace function messaging.store_reply(
  p_tenant uuid, p_code text, p_conversation uuid, p_sender_kind text, p_sender_id text,
  p_parts jsonb, p_thread uuid, p_actor text,
  p_key text, p_method text, p_path text, p_body_hash bytea,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  known record;
  c messaging.conversations;
  said messaging.messages;
  posted messaging.messages[];
  s record;
  v_thread uuid;
begin
  if p_key is not null then
    select * into known from platform.idempotency_begin(
      p_tenant, p_key, p_method, p_path, p_body_hash, null);
    if known.state <> 'started' then
      outcome := case known.state when 'done' then 'replayed' else known.state end;
      answer := known.result;
      return;
    end if;
  end if;
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then
    outcome := 'not_found';
  elsif c.state = 'closed' then
    outcome := 'closed';
  elsif p_thread is not null then
    select * into s from messaging.settle_thread(
      c, p_thread, null, null, null, null, null, false, null);
    if s.outcome = 'invalid' then
      outcome := 'invalid';
      answer := jsonb_build_object('pointer', s.pointer, 'detail', s.detail);
    end if;
    v_thread := p_thread;
  end if;
  if outcome is not null then
    if p_key is not null then
      perform platform.idempotency_abandon(p_tenant, p_key, p_method, p_path);
    end if;
    return;
  end if;
  if p_thread is null then
    -- Without a word from the agent the reply belongs to what the contact wrote last.
    select q.id, q.thread_id into said.follows, v_thread from messaging.messages q
     where q.tenant_id = p_tenant and q.conversation_id = c.id and q.seq = c.last_user_seq;
  end if;
  said.sender_kind := p_sender_kind;
  said.sender_id := p_sender_id;
  said.provider_thread := messaging.provider_thread(p_tenant, c.id, p_thread, c.last_user_seq);
  said.thread_id := v_thread;
  said.method := case when p_thread is null then 'reply' else 'explicit' end;
  said.created_by := p_actor;
  posted := messaging.say_out(c, p_code, said, coalesce(p_parts -> (select h.kind
    from messaging.channels h where h.tenant_id = p_tenant and h.code = c.channel_code),
    p_parts -> 'any'));
  update messaging.conversations set next_seq = next_seq + cardinality(posted), version = version + 1,
         updated_at = now(), handoff_until = null,
         thread_version = thread_version + case when v_thread is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  perform platform.note_audit(p_tenant, p_actor, 'message.reply', (posted[1]).id::text, null,
    jsonb_build_object('conversation_id', c.id, 'message_request_id', (posted[1]).message_request_id),
    null, null);
  outcome := 'created';
  answer := jsonb_build_object('message', messaging.message_json(posted[1]),
    'message_request_id', (posted[1]).message_request_id,
    'messages', (select jsonb_agg(messaging.message_json(p) order by p.seq)
      from unnest(posted) p));
  if p_key is not null then
    perform platform.idempotency_finish(
      p_tenant, p_key, p_method, p_path, answer, 202, null, null);
  end if;
end
$$;

-- As in 0011; what followed the message joins its thread with it, and a new thread says which one came
-- nearest.
create or replace function messaging.auto_assign(
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
  select * into s from messaging.settle_thread(c, null, coalesce(m.follows, m.reply_to),
    p_choice, p_choice_thread, p_score, p_seen, p_force, p_title);
  if s.outcome = 'stale' then
    outcome := 'stale_choice';
    snapshot := messaging.conversation_snapshot(p_tenant, c.id);
    return;
  end if;
  update messaging.messages q set thread_id = s.thread, thread_state = 'assigned',
         method = s.method, score = s.score, algorithm = p_algorithm, created_thread = s.created,
         explanation = case when s.method in ('similar', 'new_thread') then p_explanation end,
         follows = null, waiting = null
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
  perform messaging.join_followers(p_tenant, p_code, c.id, array[m.id], m.thread_id, c.version + 1);
  perform platform.note_audit(p_tenant, p_actor, 'message.assign', m.id::text, null,
    jsonb_build_object('thread_id', m.thread_id, 'method', m.method), null, null);
  outcome := 'assigned';
  answer := messaging.assignment_json(m, false);
end
$$;

-- As in 0005; so does what followed a message that had no thread yet.
create or replace function messaging.reshape_thread(
  p_tenant uuid, p_code text, p_kind text, p_thread uuid, p_into uuid, p_messages uuid[],
  p_title text, p_seen bigint, p_force bool, p_features jsonb, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  c messaging.conversations;
  t messaging.threads;
  target messaging.threads;
  odd record;
  v_from jsonb;
  v_moved int;
  v_fresh uuid[];
  s record;
  v bigint;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select conversation_id from messaging.threads
     where tenant_id = p_tenant and id = p_thread) for update;
  if not found then outcome := 'not_found'; return; end if;
  select * into t from messaging.threads where tenant_id = p_tenant and id = p_thread;
  target := t;
  if p_kind = 'merge' then
    select * into target from messaging.threads where tenant_id = p_tenant and id = p_into
      and conversation_id = c.id and id <> p_thread;
    if not found then
      outcome := 'invalid';
      answer := '{"pointer": "/into", "detail": "names no other thread of this conversation"}';
      return;
    end if;
    if t.merged_into is not null then
      outcome := 'conflict';
      answer := '{"code": "thread_merged", "detail": "the thread is merged into another already"}';
      return;
    end if;
    if t.message_count > 10000 then
      outcome := 'conflict';
      answer := jsonb_build_object('code', 'thread_too_large', 'detail',
        'a thread of over 10000 messages cannot be merged into another; merge the other into it');
      return;
    end if;
    select array_agg(m.id) into p_messages from messaging.messages m
     where m.tenant_id = p_tenant and m.thread_id = p_thread and m.deleted_at is null;
    p_messages := coalesce(p_messages, '{}');
  else
    -- The first id that is no message here, by its place in the request.
    select e.n - 1 as n into odd from unnest(p_messages) with ordinality e (id, n)
      left join messaging.messages m on m.tenant_id = p_tenant and m.id = e.id
       and m.conversation_id = c.id and m.deleted_at is null
       and (p_kind = 'move' or m.thread_id = p_thread)
     where m.id is null order by e.n limit 1;
    if found then
      outcome := 'invalid';
      answer := jsonb_build_object('pointer', '/message_ids/' || odd.n, 'detail',
        'names no message of this '
          || case p_kind when 'move' then 'conversation' else 'thread' end);
      return;
    end if;
  end if;
  if p_kind <> 'split' and target.archived_at is not null then
    outcome := 'conflict';
    answer := jsonb_build_object('code', 'thread_archived', 'detail',
      'the thread that would take the messages is archived');
    return;
  end if;
  if c.thread_version <> p_seen and not p_force then outcome := 'stale'; return; end if;
  if p_kind = 'split' then
    insert into messaging.threads (tenant_id, conversation_id, title, is_manual)
    values (p_tenant, c.id, p_title, true) returning * into target;
  end if;
  v := messaging.note_thread_change(p_tenant, c.id);
  if p_kind = 'merge' then
    -- Archived and marked before its messages go: whoever hears of it reads the messages anew.
    perform set_config('messaging.merging', 'on', true);
    update messaging.threads set archived_at = coalesce(archived_at, now()),
           merged_into = target.id, updated_at = now(), version = version + 1
     where tenant_id = p_tenant and id = p_thread;
  end if;
  with sources as (
    select m.id, m.thread_id as source from messaging.messages m
     where m.tenant_id = p_tenant and m.id = any (p_messages)
       and m.thread_id is distinct from target.id
  ), moved as (
    update messaging.messages m set thread_id = target.id, thread_state = 'assigned',
           method = 'manual', score = 0, algorithm = null, created_thread = false,
           follows = null, waiting = null
      from sources where m.tenant_id = p_tenant and m.id = sources.id
    returning sources.id, sources.source
  )
  select count(*)::int, array_agg(id) filter (where source is null),
         coalesce((select jsonb_object_agg(g.source::text, g.n)
           from (select source, count(*)::int as n from moved where source is not null
                  group by source) g), '{}')
    into v_moved, v_fresh, v_from from moved;
  perform set_config('messaging.merging', '', true);
  delete from platform.timers x where x.tenant_id = p_tenant and x.ref_id = any (v_fresh)
    and x.kind = 'rate_deferred';
  for s in select key::uuid as source, value::int as moved from jsonb_each_text(v_from) loop
    perform messaging.settle_features(
      p_tenant, s.source, -s.moved, p_features -> s.source::text);
  end loop;
  perform messaging.settle_features(p_tenant, target.id, v_moved,
    p_features -> case p_kind when 'split' then 'new' else target.id::text end);
  perform messaging.emit(p_tenant, p_code, c.id, v, coalesce((select jsonb_agg(
      jsonb_build_array('message.assigned', jsonb_build_object('message_id', f.id,
        'conversation_id', c.id, 'thread_id', target.id, 'method', 'manual')))
    from unnest(v_fresh) f (id)), '[]'));
  perform messaging.join_followers(p_tenant, p_code, c.id, v_fresh, target.id, v);
  select * into target from messaging.threads where tenant_id = p_tenant and id = target.id;
  outcome := 'done';
  answer := jsonb_build_object('thread', messaging.thread_json(target), 'moved', v_moved,
    'from', (select coalesce(jsonb_agg(k), '[]') from jsonb_object_keys(v_from) k));
  perform platform.note_audit(p_tenant, p_actor, 'thread.' || p_kind, p_thread::text,
    jsonb_build_object('from', v_from),
    jsonb_build_object('into', target.id, 'moved', v_moved,
      'message_ids', case when cardinality(p_messages) <= 200 then to_jsonb(p_messages) end),
    null, p_request_id);
end
$$;

-- ---------------------------------------------------------------- A text that is gone

-- What the thread of a message is made of once its text is p_text (null: once it is deleted), as
-- reshape_plan says it; null when there is no such message.
create function messaging.change_plan(p_tenant uuid, p_message uuid, p_text text) returns jsonb
language sql stable as $$
  select jsonb_build_object('thread_version', c.thread_version, 'threads',
    case when m.thread_id is null then '{}' else jsonb_build_object(m.thread_id::text,
      (select coalesce(jsonb_agg(jsonb_build_object('author', z.sender_id, 'text',
          left(case when z.id = m.id then p_text else z.text end, 2000)) order by z.seq), '[]')
        from (select x.id, x.seq, x.text, x.sender_id from messaging.messages x
               where x.tenant_id = p_tenant and x.thread_id = m.thread_id
                 and x.deleted_at is null and (p_text is not null or x.id <> m.id)
               order by x.seq desc limit 20) z)) end)
  from messaging.messages m join messaging.conversations c
    on c.tenant_id = m.tenant_id and c.id = m.conversation_id
  where m.tenant_id = p_tenant and m.id = p_message and m.deleted_at is null
$$;

drop function messaging.change_message(uuid, uuid, text, text, text);

-- Writes a message's text anew, or deletes it (p_text null): its row stays, so that numbers have no
-- holes, its text does not, and no score rests on it any more; what followed a deleted one does not
-- wait for it. What was handed to delivery stays as it went out. p_features holds, by thread, what its
-- scores are computed from afterwards; it was made on thread_version p_seen, and when that has changed
-- nothing is written (unless p_force).
-- outcome: 'done' (answer = message_json; of a deleted one only its conversation_id) | 'not_found'
--          | 'delivered' | 'stale'
create or replace function messaging.change_message(
  p_tenant uuid, p_message uuid, p_text text, p_actor text, p_request_id text, p_seen bigint,
  p_force bool, p_features jsonb,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  c messaging.conversations;
  m messaging.messages;
  was jsonb;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select conversation_id from messaging.messages
     where tenant_id = p_tenant and id = p_message) for update;
  select * into m from messaging.messages
   where tenant_id = p_tenant and id = p_message and deleted_at is null;
  if not found then outcome := 'not_found'; return; end if;
  if m.message_request_id is not null then outcome := 'delivered'; return; end if;
  outcome := 'done';
  if m.text = p_text then
    answer := messaging.message_json(m);
    return;
  end if;
  if c.thread_version <> p_seen and not p_force then outcome := 'stale'; return; end if;
  was := messaging.text_trace(m.text);
  update messaging.messages q set text = coalesce(p_text, ''),
         edited_at = case when p_text is null then q.edited_at else now() end,
         deleted_at = case when p_text is null then now() end,
         answer = case when p_text is null then jsonb_set(q.answer, '{message,text}', '""')
           else q.answer end
   where q.tenant_id = p_tenant and q.id = p_message returning * into m;
  update messaging.conversations set version = version + 1, updated_at = now(),
         thread_version = thread_version + case when m.thread_id is null then 0 else 1 end
   where tenant_id = p_tenant and id = m.conversation_id;
  perform messaging.settle_features(p_tenant, m.thread_id,
    case when p_text is null then -1 else 0 end, p_features -> m.thread_id::text)
   where m.thread_id is not null;
  if p_text is null then
    delete from platform.timers
     where tenant_id = p_tenant and ref_id = p_message and kind = 'rate_deferred';
    perform messaging.leave_followers(m);
    answer := jsonb_build_object('conversation_id', m.conversation_id);
  else
    answer := messaging.message_json(m);
  end if;
  perform platform.note_audit(p_tenant, p_actor,
    'message.' || case when p_text is null then 'delete' else 'edit' end, p_message::text, was,
    case when p_text is not null then messaging.text_trace(p_text) end, null, p_request_id);
end
$$;

-- ---------------------------------------------------------------- Why a thread is new

comment on column messaging.messages.explanation is
  '{words, mentions, recency, turn}, which make the score together. Of a new thread it is the score of
   the thread that came nearest, which `nearest` {thread_id, score} names; null where there was none.';

-- As in 0011; a new thread says which one came nearest.
create or replace function messaging.assignment_json(m messaging.messages, p_already bool) returns jsonb
language sql stable as $$
  select case when m.thread_id is not null then jsonb_build_object(
    'success', true, 'already_assigned', p_already, 'thread_id', m.thread_id,
    'created_thread', m.created_thread, 'method', m.method, 'score', coalesce(m.score, 0),
    'algorithm', m.algorithm,
    'explanation', case when m.method in ('similar', 'new_thread') then m.explanation end) end
$$;

-- As in 0021; so does what is kept of it.
create or replace function messaging.post_message(
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
    case when s.method in ('similar', 'new_thread') then p_explanation end,
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
      'conversation_id', c.id, 'sender_kind', p_sender_kind, 'sender_id', p_sender_id,
      'direction', m.direction)))
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
