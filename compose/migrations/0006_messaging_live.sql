-- What happens in a conversation, in one ordered log: (conversation, seq) names an event, and who
-- has read up to a seq misses nothing of what follows, on whichever instance it asks.
--
-- The log is written by triggers on the tables themselves, in the transaction of the change: no
-- function that writes a message can forget it. Every such writer holds the conversation's row, so
-- numbers are given in the order of commits, and a reader never sees 8 before 7.
--
-- An event refers to its message or thread and is rendered when it is read: what was deleted since
-- cannot be read out of the log.

alter table messaging.conversations add column event_seq bigint not null default 0;

create table messaging.conversation_events (
  tenant_id uuid not null,
  conversation_id uuid not null,
  seq bigint not null,
  at timestamptz not null default now(),
  type text not null,
  ref_id uuid,
  data jsonb,
  primary key (tenant_id, conversation_id, seq, at)
) partition by range (at);
insert into platform.partitioned values ('messaging.conversation_events', '7 days');
select platform.ensure_partitions();

-- Adds an event to a conversation's log.
create function messaging.note_event(
  p_tenant uuid, p_conversation uuid, p_type text, p_ref uuid, p_data jsonb
) returns void language sql as $$
  with counted as (
    update messaging.conversations set event_seq = event_seq + 1
     where tenant_id = p_tenant and id = p_conversation returning event_seq)
  insert into messaging.conversation_events (tenant_id, conversation_id, seq, type, ref_id, data)
  select p_tenant, p_conversation, event_seq, p_type, p_ref, p_data from counted
$$;

-- Once per statement, so that a batch of messages counts its conversation once.
create function messaging.messages_created() returns trigger language plpgsql as $$
begin
  with fresh as (
    select f.tenant_id, f.conversation_id, f.id,
           row_number() over (partition by f.tenant_id, f.conversation_id order by f.seq) as n
      from created f
  ), counted as (
    update messaging.conversations c set event_seq = c.event_seq + g.n
      from (select tenant_id, conversation_id, count(*) as n from created group by 1, 2) g
     where c.tenant_id = g.tenant_id and c.id = g.conversation_id
    returning c.tenant_id, c.id, c.event_seq - g.n as base
  )
  insert into messaging.conversation_events (tenant_id, conversation_id, seq, type, ref_id)
  select f.tenant_id, f.conversation_id, k.base + f.n, 'message.created', f.id
    from fresh f join counted k on k.tenant_id = f.tenant_id and k.id = f.conversation_id;
  return null;
end
$$;
create trigger messages_created after insert on messaging.messages
  referencing new table as created for each statement
  execute function messaging.messages_created();

create function messaging.message_changed() returns trigger language plpgsql as $$
begin
  -- A merge is one event, that of its thread; each message of it would be thousands.
  if current_setting('messaging.merging', true) = 'on' then return null; end if;
  perform messaging.note_event(new.tenant_id, new.conversation_id, case
    when old.deleted_at is distinct from new.deleted_at then 'message.deleted'
    when old.text <> new.text or old.thread_id is distinct from new.thread_id
      then 'message.updated'
    else 'message.delivery' end, new.id, null);
  return null;
end
$$;
create trigger message_changed
  after update of text, thread_id, deleted_at, delivery_state, provider_ts on messaging.messages
  for each row when (
    (old.text, old.thread_id, old.deleted_at, old.delivery_state, old.provider_ts)
    is distinct from
    (new.text, new.thread_id, new.deleted_at, new.delivery_state, new.provider_ts))
  execute function messaging.message_changed();

create function messaging.thread_changed() returns trigger language plpgsql as $$
begin
  perform messaging.note_event(new.tenant_id, new.conversation_id, 'thread.' || case
    when tg_op = 'INSERT' then 'created'
    when old.merged_into is distinct from new.merged_into then 'merged'
    when old.archived_at is null and new.archived_at is not null then 'archived'
    when old.archived_at is not null and new.archived_at is null then 'unarchived'
    else 'updated' end, new.id, null);
  return null;
end
$$;
create trigger thread_created after insert on messaging.threads
  for each row execute function messaging.thread_changed();
create trigger thread_changed after update of title, archived_at, merged_into on messaging.threads
  for each row when (
    (old.title, old.archived_at, old.merged_into)
    is distinct from (new.title, new.archived_at, new.merged_into))
  execute function messaging.thread_changed();

create function messaging.owner_changed() returns trigger language plpgsql as $$
begin
  perform messaging.note_event(new.tenant_id, new.id, 'conversation.owner', null,
    jsonb_build_object('owner_kind', new.owner_kind, 'assignee_id', new.assignee_id,
      'session_id', new.session_id));
  return null;
end
$$;
create trigger owner_changed after update of owner_kind, assignee_id on messaging.conversations
  for each row when (
    (old.owner_kind, old.assignee_id) is distinct from (new.owner_kind, new.assignee_id))
  execute function messaging.owner_changed();

-- The events of a conversation after p_since, with the number of its newest one (head). One row
-- with no event when there is none; no row when there is no such conversation. A reader whose
-- first event is not p_since + 1, or that is at head without having got there, has to start anew:
-- the days between are gone.
create function messaging.events_after(
  p_tenant uuid, p_conversation uuid, p_since bigint, p_limit int
) returns table (head bigint, seq bigint, type text, event text) language sql stable as $$
  select c.event_seq, e.seq, e.type, case when e.seq is not null then jsonb_build_object(
    'seq', e.seq, 'conversation_id', c.id, 'type', e.type, 'at', messaging.instant(e.at),
    'data', case
      when m.deleted_at is not null then jsonb_build_object('id', m.id, 'seq', m.seq,
        'conversation_id', m.conversation_id, 'thread_id', m.thread_id, 'deleted', true)
      when m.id is not null then messaging.message_json(m)
      when t.id is not null then messaging.thread_json(t)
      else e.data end)::text end
  from messaging.conversations c
  left join lateral (select * from messaging.conversation_events x
     where x.tenant_id = p_tenant and x.conversation_id = p_conversation and x.seq > p_since
     order by x.seq limit p_limit) e on true
  left join messaging.messages m
    on e.type like 'message.%' and m.tenant_id = p_tenant and m.id = e.ref_id
  left join messaging.threads t
    on e.type like 'thread.%' and t.tenant_id = p_tenant and t.id = e.ref_id
  where c.tenant_id = p_tenant and c.id = p_conversation
  order by e.seq
$$;
