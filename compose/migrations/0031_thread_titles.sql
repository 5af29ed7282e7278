-- A title that was taken from a message does not outlive its text.

-- As in 0028, and what the thread's title is taken from: `title` {was: the text as it is, now: that of
-- the thread's oldest message afterwards, null where none is left}.
create or replace function messaging.change_plan(p_tenant uuid, p_message uuid, p_text text) returns jsonb
language sql stable as $$
  select jsonb_build_object('thread_version', c.thread_version,
    'title', jsonb_build_object('was', m.text, 'now', (
      select case when x.id = m.id then p_text else x.text end from messaging.messages x
       where x.tenant_id = p_tenant and x.thread_id = m.thread_id
         and x.deleted_at is null and (p_text is not null or x.id <> m.id)
       order by x.seq limit 1)),
    'threads',
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

-- As in 0028; p_features may hold a `title` {was, now}: a thread that is called as it was is called as it
-- is now. One that a person named otherwise keeps its name.
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
  update messaging.threads t set title = p_features #>> '{title,now}', version = version + 1,
         updated_at = now()
   where t.tenant_id = p_tenant and t.id = m.thread_id
     and t.title = p_features #>> '{title,was}' and t.title <> p_features #>> '{title,now}';
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
