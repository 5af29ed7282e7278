-- Who is connected by which socket, and what only people at a screen do: contacts corrected, answers
-- judged.

-- A socket's id belongs to one user for as long as its session lasts. `session_id` tells a session
-- from a later one of the same socket: a late disconnect ends only the one it means.
create table messaging.user_sessions (
  tenant_id uuid not null,
  socket_id text not null,
  session_id uuid not null default gen_random_uuid(),
  user_id text not null,
  conversation_id uuid,
  created_by text,
  created_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  expires_at timestamptz not null,
  primary key (tenant_id, socket_id)
);
create index user_sessions_of_conversation on messaging.user_sessions (tenant_id, conversation_id)
  where conversation_id is not null;
-- A global sweep of what has run out: led by the time.
create index user_sessions_expired on messaging.user_sessions (expires_at);

create function messaging.session_json(s messaging.user_sessions) returns jsonb
language sql stable as $$
  select jsonb_build_object('socket_id', s.socket_id, 'session_id', s.session_id,
    'user_id', s.user_id, 'conversation_id', s.conversation_id,
    'created_at', messaging.instant(s.created_at),
    'expires_at', messaging.instant(s.expires_at))
$$;

-- Makes a session, or goes on with the user's own.
-- outcome: 'created' | 'updated' (answer = session_json) | 'taken' (by another user)
--          | 'unknown_conversation'
create function messaging.register_user(
  p_tenant uuid, p_socket text, p_user text, p_conversation uuid, p_ttl interval, p_actor text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  s messaging.user_sessions;
begin
  if p_conversation is not null and not exists (select 1 from messaging.conversations
    where tenant_id = p_tenant and id = p_conversation)
  then
    outcome := 'unknown_conversation';
    return;
  end if;
  insert into messaging.user_sessions as x
    (tenant_id, socket_id, user_id, conversation_id, expires_at, created_by)
  values (p_tenant, p_socket, p_user, p_conversation, now() + p_ttl, p_actor)
  on conflict (tenant_id, socket_id) do update set
    session_id = case when x.user_id = excluded.user_id and x.expires_at > now()
      then x.session_id else excluded.session_id end,
    created_at = case when x.user_id = excluded.user_id and x.expires_at > now()
      then x.created_at else now() end,
    user_id = excluded.user_id, created_by = excluded.created_by, last_seen_at = now(),
    conversation_id = coalesce(excluded.conversation_id, x.conversation_id),
    expires_at = excluded.expires_at
    where x.user_id = excluded.user_id or x.expires_at <= now()
  returning x.* into s;
  if not found then outcome := 'taken'; return; end if;
  outcome := case when s.created_at = now() then 'created' else 'updated' end;
  answer := messaging.session_json(s);
end
$$;

-- Ends a session: p_session's, or whichever the socket has when it is null.
-- Answers the session that it was, or null.
create function messaging.disconnect_user(p_tenant uuid, p_socket text, p_session uuid)
returns jsonb language sql as $$
  with gone as (
    delete from messaging.user_sessions s
     where s.tenant_id = p_tenant and s.socket_id = p_socket
       and (p_session is null or s.session_id = p_session)
    returning s as row)
  select messaging.session_json(row) from gone
$$;

-- The live session of a socket, which this puts off the end of, at most every few minutes.
create function messaging.session_of(p_tenant uuid, p_socket text, p_ttl interval)
returns jsonb language plpgsql as $$
declare
  s messaging.user_sessions;
begin
  select * into s from messaging.user_sessions
   where tenant_id = p_tenant and socket_id = p_socket and expires_at > now();
  if not found then return null; end if;
  if s.last_seen_at < now() - interval '5 minutes' then
    update messaging.user_sessions set last_seen_at = now(), expires_at = now() + p_ttl
     where tenant_id = p_tenant and socket_id = p_socket and session_id = s.session_id
    returning * into s;
  end if;
  return messaging.session_json(s);
end
$$;

-- The sockets of those who look at a conversation; who of them is there is presence's affair.
create function messaging.sessions_in(p_tenant uuid, p_conversation uuid)
returns table (user_id text, socket_id text) language sql stable as $$
  select s.user_id, s.socket_id from messaging.user_sessions s
   where s.tenant_id = p_tenant and s.conversation_id = p_conversation and s.expires_at > now()
   order by s.user_id, s.socket_id limit 1000
$$;

-- The same for many conversations, named by their tenants and ids.
create function messaging.sessions_in_all(p_tenants uuid[], p_conversations uuid[])
returns table (conversation_id uuid, user_id text, socket_id text) language sql stable as $$
  select s.conversation_id, s.user_id, s.socket_id
    from unnest(p_tenants, p_conversations) k (tenant, conversation)
    join messaging.user_sessions s on s.tenant_id = k.tenant
     and s.conversation_id = k.conversation and s.expires_at > now()
$$;

create function messaging.drop_expired_sessions(p_limit int) returns int language sql as $$
  with gone as (
    delete from messaging.user_sessions s using (
      select tenant_id, socket_id from messaging.user_sessions where expires_at <= now()
       order by expires_at limit p_limit for update skip locked) d
     where s.tenant_id = d.tenant_id and s.socket_id = d.socket_id returning 1)
  select count(*)::int from gone
$$;

-- Corrects what a contact is called.
-- outcome: 'updated' (answer = {id, external_id, name}) | 'not_found'
create function messaging.rename_contact(
  p_tenant uuid, p_contact uuid, p_name text, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  k messaging.contacts;
begin
  select * into k from messaging.contacts where tenant_id = p_tenant and id = p_contact for update;
  if not found then outcome := 'not_found'; return; end if;
  update messaging.contacts set name = p_name where tenant_id = p_tenant and id = p_contact;
  outcome := 'updated';
  answer := jsonb_build_object('id', k.id, 'external_id', k.external_id, 'name', p_name);
  perform platform.note_audit(p_tenant, p_actor, 'contact.rename', k.id::text,
    jsonb_build_object('name', k.name), jsonb_build_object('name', p_name), null, p_request_id);
end
$$;

-- What users think of a message: one judgement each.
create table messaging.feedback (
  tenant_id uuid not null,
  message_id uuid not null,
  user_id text not null,
  rating text not null check (rating in ('up', 'down')),
  comment text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, message_id, user_id)
);

-- outcome: 'created' | 'updated' | 'not_found'
create function messaging.put_feedback(
  p_tenant uuid, p_message uuid, p_user text, p_rating text, p_comment text, p_actor text,
  p_request_id text, out outcome text
) language plpgsql as $$
declare
  was text;
begin
  perform 1 from messaging.messages
   where tenant_id = p_tenant and id = p_message and deleted_at is null;
  if not found then outcome := 'not_found'; return; end if;
  select rating into was from messaging.feedback
   where tenant_id = p_tenant and message_id = p_message and user_id = p_user;
  insert into messaging.feedback (tenant_id, message_id, user_id, rating, comment)
  values (p_tenant, p_message, p_user, p_rating, p_comment)
  on conflict (tenant_id, message_id, user_id) do update
    set rating = excluded.rating, comment = excluded.comment, updated_at = now();
  outcome := case when was is null then 'created' else 'updated' end;
  perform platform.note_audit(p_tenant, p_actor, 'feedback.put', p_message::text,
    case when was is not null then jsonb_build_object('rating', was) end,
    jsonb_build_object('rating', p_rating, 'user_id', p_user), null, p_request_id);
end
$$;

-- What an AI needs to advise on a draft for a conversation: ai_job_work of a job that is none.
-- Null when there is no such conversation.
create function messaging.coaching_work(p_tenant uuid, p_code text, p_conversation uuid)
returns jsonb language sql stable as $$
  select messaging.ai_job_work(jsonb_populate_record(null::messaging.ai_jobs, jsonb_build_object(
    'tenant_id', p_tenant, 'tenant', p_code, 'id', gen_random_uuid(),
    'lock_id', gen_random_uuid(), 'conversation_id', c.id, 'fence', 0, 'upto_seq', c.next_seq,
    'attempts', 1, 'consolidated_messages', 1)), 20)
  from messaging.conversations c where c.tenant_id = p_tenant and c.id = p_conversation
$$;
