-- Threads and messages corrected by hand. What a person decided is never overwritten: automatic
-- assignment only fills a message that has no thread.
--
-- Every function locks the conversation's row first, leaves an audit row, and raises thread_version
-- where the choice of a thread could come out differently, so that a choice made meanwhile is made
-- again.

alter table messaging.threads add column merged_into uuid;

create or replace function messaging.thread_json(t messaging.threads) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', t.id, 'conversation_id', t.conversation_id, 'title', t.title, 'manual', t.is_manual,
    'archived', t.archived_at is not null, 'merged_into', t.merged_into,
    'message_count', t.message_count, 'last_message_at', messaging.instant(t.last_message_at),
    'created_at', messaging.instant(t.created_at), 'updated_at', messaging.instant(t.updated_at))
$$;

-- What the audit keeps of a text: enough to prove which one it was, and not the text itself, which
-- its author may have wanted gone.
create function messaging.text_trace(p_text text) returns jsonb language sql immutable as $$
  select jsonb_build_object('length', char_length(p_text),
    'sha256', encode(sha256(convert_to(p_text, 'UTF8')), 'hex'))
$$;

-- Notes a change by hand of the conversation whose row the caller holds.
create function messaging.note_thread_change(p_tenant uuid, p_conversation uuid)
returns bigint language sql as $$
  update messaging.conversations set thread_version = thread_version + 1, version = version + 1,
         updated_at = now()
   where tenant_id = p_tenant and id = p_conversation returning version
$$;

-- outcome: 'created' (answer = thread_json) | 'not_found'
create function messaging.create_thread(
  p_tenant uuid, p_conversation uuid, p_title text, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  t messaging.threads;
begin
  perform 1 from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then outcome := 'not_found'; return; end if;
  insert into messaging.threads (tenant_id, conversation_id, title, is_manual)
  values (p_tenant, p_conversation, p_title, true) returning * into t;
  perform messaging.note_thread_change(p_tenant, p_conversation);
  outcome := 'created';
  answer := messaging.thread_json(t);
  perform platform.note_audit(
    p_tenant, p_actor, 'thread.create', t.id::text, null, answer, null, p_request_id);
end
$$;

-- Gives a thread another title, or archives it, or takes it back (null leaves each as it is).
-- outcome: 'done' (answer = thread_json; also when it was so already) | 'not_found' | 'merged'
create function messaging.change_thread(
  p_tenant uuid, p_thread uuid, p_title text, p_archived bool, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  t messaging.threads;
  was jsonb;
begin
  perform 1 from messaging.conversations c
   where c.tenant_id = p_tenant and c.id = (select conversation_id from messaging.threads
     where tenant_id = p_tenant and id = p_thread) for update;
  select * into t from messaging.threads where tenant_id = p_tenant and id = p_thread;
  if not found then outcome := 'not_found'; return; end if;
  outcome := 'done';
  was := messaging.thread_json(t);
  answer := was;
  if t.merged_into is not null and p_archived is false then outcome := 'merged'; return; end if;
  if t.title = coalesce(p_title, t.title)
    and (t.archived_at is not null) = coalesce(p_archived, t.archived_at is not null)
  then
    return;
  end if;
  update messaging.threads set title = coalesce(p_title, title), version = version + 1,
         archived_at = case p_archived when true then coalesce(archived_at, now())
           when false then null else archived_at end,
         updated_at = now()
   where tenant_id = p_tenant and id = p_thread returning * into t;
  perform messaging.note_thread_change(p_tenant, t.conversation_id);
  answer := messaging.thread_json(t);
  perform platform.note_audit(p_tenant, p_actor,
    'thread.' || case p_archived when true then 'archive' when false then 'unarchive'
      else 'rename' end,
    p_thread::text, was, answer, null, p_request_id);
end
$$;

-- The last 20 messages of some threads taken together, with p_plus and without p_minus, oldest
-- first: what the features of the thread that they will form are computed from.
create function messaging.last_messages(
  p_tenant uuid, p_threads uuid[], p_plus uuid[], p_minus uuid[]
) returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object('text', left(z.text, 2000), 'author', z.sender_id)
    order by z.seq), '[]')
  from (select y.* from (
      select x.id, x.seq, x.text, x.sender_id from unnest(p_threads) t (id)
        cross join lateral (select m.id, m.seq, m.text, m.sender_id from messaging.messages m
          where m.tenant_id = p_tenant and m.thread_id = t.id and m.deleted_at is null
            and m.id <> all (p_minus)
          order by m.seq desc limit 20) x
      union
      select m.id, m.seq, m.text, m.sender_id from messaging.messages m
       where m.tenant_id = p_tenant and m.id = any (p_plus) and m.deleted_at is null) y
    order by y.seq desc limit 20) z
$$;

-- What a change of p_kind ('move' into p_thread, 'split' off p_thread, 'merge' p_thread into
-- p_into) would leave behind: {thread_version, threads: {<id or 'new'>: last_messages}}; null when
-- there is no such thread. A read, and bounded: of over ten threads that lose messages, the others
-- keep the features they have.
create function messaging.reshape_plan(
  p_tenant uuid, p_kind text, p_thread uuid, p_into uuid, p_messages uuid[]
) returns jsonb language sql stable as $$
  select jsonb_build_object('thread_version', c.thread_version, 'threads', case p_kind
    when 'merge' then jsonb_build_object(p_into::text,
      messaging.last_messages(p_tenant, array[p_thread, p_into], '{}', '{}'))
    when 'split' then jsonb_build_object(
      'new', messaging.last_messages(p_tenant, '{}', p_messages, '{}'),
      p_thread::text, messaging.last_messages(p_tenant, array[p_thread], '{}', p_messages))
    else jsonb_build_object(p_thread::text,
      messaging.last_messages(p_tenant, array[p_thread], p_messages, '{}'))
      || coalesce((select jsonb_object_agg(s.thread_id::text,
          messaging.last_messages(p_tenant, array[s.thread_id], '{}', p_messages))
        from (select distinct m.thread_id from messaging.messages m
               where m.tenant_id = p_tenant and m.id = any (p_messages)
                 and m.thread_id <> p_thread limit 10) s), '{}') end)
  from messaging.threads t join messaging.conversations c
    on c.tenant_id = t.tenant_id and c.id = t.conversation_id
  where t.tenant_id = p_tenant and t.id = p_thread
$$;

-- A JSON array of strings as an array.
create function messaging.texts(p_list jsonb) returns text[] language sql immutable as $$
  select coalesce(array_agg(x order by n), '{}')
    from jsonb_array_elements_text(p_list) with ordinality u (x, n)
$$;

-- Changes a thread's count by p_delta and takes its features from p_features (null: as they are).
create function messaging.settle_features(
  p_tenant uuid, p_thread uuid, p_delta int, p_features jsonb
) returns void language sql as $$
  update messaging.threads t set
    message_count = t.message_count + p_delta, version = t.version + 1, updated_at = now(),
    recent_terms = case when p_features is null then t.recent_terms else
      (select coalesce(array_agg(decode(x, 'hex') order by n), '{}')
         from unnest(messaging.texts(p_features -> 'terms')) with ordinality u (x, n)) end,
    recent_authors = case when p_features is null then t.recent_authors
      else messaging.texts(p_features -> 'authors') end,
    recent_mentions = case when p_features is null then t.recent_mentions
      else messaging.texts(p_features -> 'mentions') end,
    last_message_at = coalesce((select m.created_at from messaging.messages m
       where m.tenant_id = p_tenant and m.thread_id = p_thread and m.deleted_at is null
       order by m.seq desc limit 1), t.created_at)
  where t.tenant_id = p_tenant and t.id = p_thread
$$;

-- Moves messages to where a person wants them; arguments as in reshape_plan. p_features holds, by
-- thread (or 'new'), what the threads' scores are computed from afterwards; it was made on
-- thread_version p_seen, and when that has changed nothing is written (unless p_force: then a
-- thread that is not in it keeps its own).
--
-- outcome: 'done' (answer = {thread, moved, from}) | 'stale' | 'not_found'
--          | 'invalid' (answer = {pointer, detail}) | 'conflict' (answer = {code, detail})
create function messaging.reshape_thread(
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
           method = 'manual', score = 0, algorithm = null, created_thread = false
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

-- Writes a message's text anew, or deletes it (p_text null): its row stays, so that numbers have no
-- holes, its text does not. What was handed to delivery stays as it went out.
-- outcome: 'done' (answer = message_json; of a deleted one only its conversation_id) | 'not_found'
--          | 'delivered'
create function messaging.change_message(
  p_tenant uuid, p_message uuid, p_text text, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  m messaging.messages;
  was jsonb;
begin
  perform 1 from messaging.conversations c
   where c.tenant_id = p_tenant and c.id = (select conversation_id from messaging.messages
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
  was := messaging.text_trace(m.text);
  update messaging.messages q set text = coalesce(p_text, ''),
         edited_at = case when p_text is null then q.edited_at else now() end,
         deleted_at = case when p_text is null then now() end,
         answer = case when p_text is null then jsonb_set(q.answer, '{message,text}', '""')
           else q.answer end
   where q.tenant_id = p_tenant and q.id = p_message returning * into m;
  update messaging.conversations set version = version + 1, updated_at = now()
   where tenant_id = p_tenant and id = m.conversation_id;
  if p_text is null then
    update messaging.threads set message_count = message_count - 1, updated_at = now()
     where tenant_id = p_tenant and id = m.thread_id;
    delete from platform.timers
     where tenant_id = p_tenant and ref_id = p_message and kind = 'rate_deferred';
    answer := jsonb_build_object('conversation_id', m.conversation_id);
  else
    answer := messaging.message_json(m);
  end if;
  perform platform.note_audit(p_tenant, p_actor,
    'message.' || case when p_text is null then 'delete' else 'edit' end, p_message::text, was,
    case when p_text is not null then messaging.text_trace(p_text) end, null, p_request_id);
end
$$;
