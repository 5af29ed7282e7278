-- Whose a Slack team is, and what sessions are in.
--
-- What is signed with the installation's own Slack secret reaches a tenant only when Slack itself has
-- said that the tenant's token is of the team that its workspace names.

-- proven_team_id: the team of which Slack (the operator's SLACK_API_BASE_URL, whatever api_base_url the
-- workspace has) said that the token is. The claim `team_id` is proven while it is the same.
-- api_app_id: only events of this Slack app are the workspace's; null: of any.
alter table dispatch.workspaces
  add column id uuid not null default gen_random_uuid(),
  add column proven_team_id text,
  add column api_app_id text;
create unique index workspaces_id on dispatch.workspaces (tenant_id, id);

alter table messaging.channels
  add column team_verified boolean not null default false,
  add column api_app_id text;

create function dispatch.team_is_verified(w dispatch.workspaces) returns boolean
language sql immutable as $$
  select w.provider = 'slack' and coalesce(w.proven_team_id = w.team_id, false)
$$;

create or replace function dispatch.workspace_json(w dispatch.workspaces) returns jsonb
language sql stable as $$
  select jsonb_build_object('code', w.code, 'provider', w.provider, 'team_id', w.team_id,
    'team_verified', dispatch.team_is_verified(w),
    'verify_team_by', case
      when w.provider <> 'slack' or dispatch.team_is_verified(w) then null
      when w.has_token then 'Slack has not said that the token is of this team: it is asked again '
        'every few minutes while it is not reached, and whenever the workspace is put. Until then '
        'only events that are signed with the workspace''s own signing_secret come in.'
      else 'Put a token of this team: Slack is asked whose it is. Until then only events that are '
        'signed with the workspace''s own signing_secret come in.' end,
    'api_app_id', w.api_app_id,
    'api_base_url', w.api_base_url, 'token', case when w.has_token then '***' end,
    'signing_secret', case when w.has_signing_secret then '***' end,
    'paused_reason', w.paused_reason, 'created_at', platform.rfc3339(w.created_at),
    'updated_at', platform.rfc3339(w.updated_at))
$$;

-- Tells messaging, and whoever reads the events, what a channel is now.
create function dispatch.announce_channel(
  c dispatch.channels, w dispatch.workspaces, p_tenant_code text
) returns void language plpgsql as $$
declare
  data jsonb := jsonb_build_object('code', c.code, 'kind', w.provider, 'workspace_code', w.code,
    'team_id', w.team_id, 'team_verified', dispatch.team_is_verified(w),
    'api_app_id', w.api_app_id, 'provider_channel_id', c.provider_channel_id,
    'version', c.version);
begin
  perform platform.emit('dispatch-worker', c.tenant_id, p_tenant_code, 'channel.configured', c.code,
    c.version, data);
  perform platform.enqueue_call('dispatch-worker', c.tenant_id, p_tenant_code, 'messaging',
    '/v1/internal/channels', 'channel:' || c.code, c.version, data, gen_random_uuid());
end
$$;

-- What the channels of a workspace are to messaging has changed with it.
create function dispatch.announce_channels(w dispatch.workspaces, p_tenant_code text) returns void
language plpgsql as $$
declare
  c dispatch.channels;
begin
  for c in
    select * from dispatch.channels
     where tenant_id = w.tenant_id and workspace_code = w.code order by code for update
  loop
    update dispatch.channels x set version = x.version + 1, updated_at = now()
     where x.tenant_id = c.tenant_id and x.code = c.code
    returning * into c;
    perform dispatch.announce_channel(c, w, p_tenant_code);
  end loop;
end
$$;

-- Has Slack asked, soon, whose the token of a workspace is, as long as that is not proven.
create function dispatch.ask_whose_team(w dispatch.workspaces, p_tenant_code text) returns void
language plpgsql as $$
begin
  delete from platform.timers t
   where t.tenant_id = w.tenant_id and t.owner = 'dispatch-worker' and t.kind = 'workspace_proof'
     and t.ref_id = w.id;
  if w.provider = 'slack' and w.has_token and not dispatch.team_is_verified(w) then
    perform platform.set_timer('dispatch-worker', w.tenant_id, p_tenant_code, 'workspace_proof', w.id,
      0, now(), '{}');
  end if;
end
$$;

-- Makes or changes a workspace. `p_secrets`: [{kind, key_id, sealed (base64)}], sealed already;
-- `p_proven`: the team that Slack has just said the token is of, null when it said nothing.
-- Returns {created, workspace}.
drop function dispatch.put_workspace(uuid, text, text, text, text, jsonb, text, text);
create function dispatch.put_workspace(
  p_tenant uuid, p_code text, p_provider text, p_team_id text, p_base_url text, p_secrets jsonb,
  p_actor text, p_request text, p_tenant_code text, p_proven text, p_app_id text
) returns jsonb language plpgsql as $$
declare
  old dispatch.workspaces;
  w dispatch.workspaces;
begin
  select * into old from dispatch.workspaces where tenant_id = p_tenant and code = p_code
    for update;
  insert into platform.secrets (tenant_id, kind, ref, key_id, sealed)
  select p_tenant, s->>'kind', p_code, s->>'key_id', decode(s->>'sealed', 'base64')
    from jsonb_array_elements(p_secrets) s
  on conflict (tenant_id, kind, ref) do update
    set key_id = excluded.key_id, sealed = excluded.sealed, updated_at = now();
  insert into dispatch.workspaces
    (tenant_id, code, provider, team_id, api_base_url, proven_team_id, api_app_id)
  values (p_tenant, p_code, p_provider, p_team_id, p_base_url, p_proven, p_app_id)
  on conflict (tenant_id, code) do update
    set provider = excluded.provider, team_id = coalesce(p_team_id, workspaces.team_id),
        proven_team_id = coalesce(p_proven, workspaces.proven_team_id),
        api_app_id = coalesce(p_app_id, workspaces.api_app_id),
        api_base_url = p_base_url, paused_reason = null, updated_at = now(),
        version = workspaces.version + 1;
  update dispatch.workspaces x
     set has_token = exists (select 1 from platform.secrets s where s.tenant_id = p_tenant
                              and s.kind = 'slack_token' and s.ref = p_code),
         has_signing_secret = exists (select 1 from platform.secrets s
           where s.tenant_id = p_tenant and s.kind = 'slack_signing' and s.ref = p_code)
   where x.tenant_id = p_tenant and x.code = p_code
  returning * into w;
  perform dispatch.ask_whose_team(w, p_tenant_code);
  if (old.provider, old.team_id, dispatch.team_is_verified(old), old.api_app_id)
    is distinct from (w.provider, w.team_id, dispatch.team_is_verified(w), w.api_app_id)
  then
    perform dispatch.announce_channels(w, p_tenant_code);
  end if;
  perform dispatch.end_pause(p_tenant, x.id, p_actor, p_request)
    from dispatch.pauses x
   where x.tenant_id = p_tenant and x.scope = 'workspace' and x.code = p_code
     and x.author = 'dispatch-worker' and x.ended_at is null;
  perform platform.note_audit(p_tenant, p_actor, 'workspace.put', p_code,
    case when old.code is null then null else dispatch.workspace_json(old) end,
    dispatch.workspace_json(w), null, p_request);
  return jsonb_build_object('created', old.code is null, 'workspace', dispatch.workspace_json(w));
end
$$;

-- Slack has said whose the token of a workspace is.
create function dispatch.prove_workspace(
  p_tenant uuid, p_tenant_code text, p_id uuid, p_team text
) returns jsonb language plpgsql as $$
declare
  old dispatch.workspaces;
  w dispatch.workspaces;
begin
  select * into old from dispatch.workspaces where tenant_id = p_tenant and id = p_id for update;
  update dispatch.workspaces x
     set proven_team_id = p_team, team_id = coalesce(x.team_id, p_team), updated_at = now(),
         version = x.version + 1
   where tenant_id = p_tenant and id = p_id
  returning * into w;
  if dispatch.team_is_verified(w) and not dispatch.team_is_verified(old) then
    perform dispatch.announce_channels(w, p_tenant_code);
    perform platform.note_audit(p_tenant, 'dispatch-worker', 'workspace.team_verified', w.code,
      dispatch.workspace_json(old), dispatch.workspace_json(w), null, null);
  end if;
  return dispatch.workspace_json(w);
end
$$;

-- Makes or changes a channel, and tells messaging of it; see 0026.
create or replace function dispatch.put_channel(
  p_tenant uuid, p_tenant_code text, p_code text, p_workspace text, p_provider_channel text,
  p_policy text, p_per_second float8, p_burst int, p_quiet jsonb, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old dispatch.channels;
  c dispatch.channels;
  w dispatch.workspaces;
begin
  select * into w from dispatch.workspaces where tenant_id = p_tenant and code = p_workspace;
  if not found then return '{"missing": "workspace"}'; end if;
  if p_quiet->>'tz' is not null
    and not exists (select 1 from pg_timezone_names where name = p_quiet->>'tz')
  then
    return '{"missing": "tz"}';
  end if;
  select * into old from dispatch.channels where tenant_id = p_tenant and code = p_code for update;
  insert into dispatch.channels (tenant_id, code, workspace_code, provider_channel_id,
    unknown_policy, rate_per_second, rate_burst)
  values (p_tenant, p_code, p_workspace, p_provider_channel, coalesce(p_policy, 'verify'),
    coalesce(p_per_second, 1), coalesce(p_burst, 1))
  on conflict (tenant_id, code) do update
    set workspace_code = excluded.workspace_code,
        provider_channel_id = excluded.provider_channel_id,
        unknown_policy = coalesce(p_policy, channels.unknown_policy),
        rate_per_second = coalesce(p_per_second, channels.rate_per_second),
        rate_burst = coalesce(p_burst, channels.rate_burst), updated_at = now(),
        version = channels.version + 1
  returning * into c;
  if p_quiet is not null then
    update dispatch.channels
       set quiet_tz = p_quiet->>'tz', quiet_from = (p_quiet->>'from')::time,
           quiet_to = (p_quiet->>'to')::time, quiet_windows = p_quiet->'windows',
           quiet_exceptions = p_quiet->'exceptions'
     where tenant_id = p_tenant and code = p_code
    returning * into c;
    perform dispatch.end_hold(p_tenant, 'channel', p_code, 'quiet_hours', null);
  end if;
  -- What a pause of its old workspace holds, and only that one's end would let go.
  if old.workspace_code <> c.workspace_code then
    perform dispatch.end_hold(p_tenant, 'channel', p_code, 'workspace_paused: %',
      (select min(x.created_at) from dispatch.pauses x where x.tenant_id = p_tenant
         and x.scope = 'workspace' and x.code = old.workspace_code and x.ended_at is null
         and not x.uses_deadlines));
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'channel.put', p_code,
    case when old.code is null then null else dispatch.channel_json(old) end,
    dispatch.channel_json(c), null, p_request);
  perform dispatch.announce_channel(c, w, p_tenant_code);
  return jsonb_build_object('created', old.code is null, 'channel', dispatch.channel_json(c));
end
$$;

-- Workspaces that are here already are asked for at once.
select dispatch.ask_whose_team(w, t.code)
  from dispatch.workspaces w join platform.tenants t on t.id = w.tenant_id;

create or replace function messaging.channel_json(c messaging.channels) returns jsonb
language sql stable as $$
  select jsonb_build_object('code', c.code, 'kind', c.kind, 'workspace_code', c.workspace_code,
    'team_id', c.team_id, 'team_verified', c.team_verified, 'api_app_id', c.api_app_id,
    'provider_channel_id', c.provider_channel_id, 'bot_id', c.bot_id,
    'reopen_window_s', extract(epoch from c.reopen_window)::bigint,
    'updated_at', messaging.instant(c.updated_at))
$$;

-- Learns a channel from dispatch-worker; an older version changes nothing.
-- outcome: 'applied' | 'old'; answer = channel_json
create or replace function messaging.put_channel(
  p_tenant uuid, p_code text, p_version bigint, p_body jsonb, out outcome text, out answer jsonb
) language plpgsql as $$
declare
  c messaging.channels;
begin
  insert into messaging.channels as x
    (tenant_id, code, kind, workspace_code, team_id, team_verified, api_app_id,
     provider_channel_id, version)
  values (p_tenant, p_code, p_body ->> 'kind', p_body ->> 'workspace_code', p_body ->> 'team_id',
    coalesce((p_body ->> 'team_verified')::boolean, false), p_body ->> 'api_app_id',
    p_body ->> 'provider_channel_id', p_version)
  on conflict (tenant_id, code) do update set kind = excluded.kind,
    workspace_code = excluded.workspace_code, team_id = excluded.team_id,
    team_verified = excluded.team_verified, api_app_id = excluded.api_app_id,
    provider_channel_id = excluded.provider_channel_id, version = excluded.version,
    updated_at = now()
    where x.version <= excluded.version
  returning * into c;
  outcome := case when found then 'applied' else 'old' end;
  if not found then
    select * into c from messaging.channels where tenant_id = p_tenant and code = p_code;
  end if;
  answer := messaging.channel_json(c);
end
$$;

-- Keeps an event of Slack for whichever tenants have its team. p_tenants: whose own secret signed it,
-- and who is spoken for, nobody else; null: the installation's secret, which speaks for those tenants
-- alone whose claim on the team is proven. A channel of another app's workspace is not meant.
-- outcome: 'stored' | 'duplicate' | 'unknown_team' (nothing is kept but a line in the audit, of the
-- tenant of zeros: of nobody)
drop function messaging.receive_slack(text, text, text, text, bytea, text[]);
create function messaging.receive_slack(
  p_team text, p_channel text, p_event text, p_app text, p_key_id text, p_sealed bytea,
  p_tenants text[], p_request_id text, out outcome text
) language plpgsql as $$
declare
  d record;
begin
  outcome := 'unknown_team';
  for d in
    select distinct on (c.tenant_id) c.tenant_id, t.code as tenant,
           case when c.provider_channel_id = p_channel then c.code end as channel
      from messaging.channels c join platform.tenants t on t.id = c.tenant_id
     where c.team_id = p_team
       and case when p_tenants is null then c.team_verified else t.code = any (p_tenants) end
       and (c.api_app_id is null or c.api_app_id = p_app)
     order by c.tenant_id, (c.provider_channel_id = p_channel) desc nulls last
  loop
    -- Equal events at once go one by one; the index alone could not tell them apart over two days.
    perform pg_advisory_xact_lock(
      hashtextextended(d.tenant_id::text || '|slack|' || p_event, 11));
    if exists (select 1 from messaging.inbound_events e
      where e.tenant_id = d.tenant_id and e.source = 'slack' and e.event_id = p_event)
    then
      outcome := case outcome when 'stored' then 'stored' else 'duplicate' end;
      continue;
    end if;
    insert into messaging.inbound_events
      (tenant_id, tenant, source, event_id, channel_code, key_id, sealed, state, reason)
    values (d.tenant_id, d.tenant, 'slack', p_event, d.channel, p_key_id, p_sealed,
      case when d.channel is null then 'ignored' else 'pending' end,
      case when d.channel is null then 'unknown_channel' end);
    outcome := 'stored';
  end loop;
  if outcome = 'unknown_team' then
    perform platform.note_audit('00000000-0000-0000-0000-000000000000', 'slack',
      'inbound.unknown_team', p_team, null,
      jsonb_build_object('event_id', p_event, 'api_app_id', p_app, 'channel', p_channel), null,
      p_request_id);
  end if;
end
$$;

-- One gesture of a person can come for two teams of a tenant (a channel that both share), each time
-- with another name of the message and the same client_msg_id: the event that was worked on first
-- keeps it here, and the others are of it.
alter table messaging.inbound_events add column client_msg_id text;
create index inbound_events_gesture on messaging.inbound_events (tenant_id, client_msg_id)
  where client_msg_id is not null;

-- Whether an event may make the message of a gesture: not when one of another channel does already.
create function messaging.take_gesture(p_tenant uuid, p_id uuid, p_gesture text) returns boolean
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(p_tenant::text || '|gesture|' || p_gesture, 11));
  if exists (select 1 from messaging.inbound_events e
    join messaging.inbound_events mine on mine.tenant_id = e.tenant_id and mine.id = p_id
    where e.tenant_id = p_tenant and e.client_msg_id = p_gesture and e.state <> 'failed'
      and e.channel_code <> mine.channel_code)
  then
    return false;
  end if;
  update messaging.inbound_events set client_msg_id = p_gesture
   where tenant_id = p_tenant and id = p_id;
  return true;
end
$$;

-- A session follows several conversations: presence of each is made of the sessions that are in it.
-- is_open: it only looks at it (navigation.open), and at one at a time; else it has joined it.
create table messaging.session_rooms (
  tenant_id uuid not null,
  conversation_id uuid not null,
  socket_id text not null,
  is_open boolean not null,
  since timestamptz not null default now(),
  primary key (tenant_id, conversation_id, socket_id),
  foreign key (tenant_id, socket_id) references messaging.user_sessions on delete cascade
);
create index session_rooms_of_socket on messaging.session_rooms (tenant_id, socket_id);
insert into messaging.session_rooms (tenant_id, conversation_id, socket_id, is_open)
select tenant_id, conversation_id, socket_id, false from messaging.user_sessions
 where conversation_id is not null;
drop index messaging.user_sessions_of_conversation;

-- conversation_id: the last one that it came into, as long as it is in it.
create or replace function messaging.session_json(s messaging.user_sessions) returns jsonb
language sql stable as $$
  select jsonb_build_object('socket_id', s.socket_id, 'session_id', s.session_id,
    'user_id', s.user_id, 'conversation_id', s.conversation_id,
    'conversation_ids', coalesce((select jsonb_agg(r.conversation_id order by r.since,
        r.conversation_id)
      from messaging.session_rooms r
     where r.tenant_id = s.tenant_id and r.socket_id = s.socket_id), '[]'),
    'created_at', messaging.instant(s.created_at),
    'expires_at', messaging.instant(s.expires_at))
$$;

-- Makes a session, or goes on with the user's own, and has it come into p_conversation: besides those
-- that it is in, or, when p_is_open, instead of the one that it looked at.
-- outcome: 'created' | 'updated' (answer = session_json) | 'taken' (by another user)
--          | 'unknown_conversation' | 'too_many_conversations'
drop function messaging.register_user(uuid, text, text, uuid, interval, text);
create function messaging.register_user(
  p_tenant uuid, p_socket text, p_user text, p_conversation uuid, p_is_open boolean,
  p_rooms_max int, p_ttl interval, p_actor text, out outcome text, out answer jsonb
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
  if p_conversation is not null and p_rooms_max <= (select count(*) from messaging.session_rooms
    where tenant_id = p_tenant and socket_id = p_socket and conversation_id <> p_conversation)
  then
    outcome := 'too_many_conversations';
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
    conversation_id = case when x.user_id = excluded.user_id and x.expires_at > now()
      then coalesce(excluded.conversation_id, x.conversation_id)
      else excluded.conversation_id end,
    expires_at = excluded.expires_at
    where x.user_id = excluded.user_id or x.expires_at <= now()
  returning x.* into s;
  if not found then outcome := 'taken'; return; end if;
  outcome := case when s.created_at = now() then 'created' else 'updated' end;
  -- A session that takes the place of one that ran out is in none of its conversations.
  if outcome = 'created' or p_is_open then
    delete from messaging.session_rooms
     where tenant_id = p_tenant and socket_id = p_socket
       and conversation_id is distinct from p_conversation and (outcome = 'created' or is_open);
  end if;
  if p_conversation is not null then
    insert into messaging.session_rooms as r (tenant_id, conversation_id, socket_id, is_open)
    values (p_tenant, p_conversation, p_socket, p_is_open)
    on conflict (tenant_id, conversation_id, socket_id) do update
      set is_open = r.is_open and excluded.is_open;
  end if;
  answer := messaging.session_json(s);
end
$$;

-- Has a session leave a conversation: p_session's, or whichever the socket has when it is null.
-- Answers the session as it is then, null when there is none.
create function messaging.leave_conversation(
  p_tenant uuid, p_socket text, p_session uuid, p_conversation uuid
) returns jsonb language plpgsql as $$
declare
  s messaging.user_sessions;
begin
  update messaging.user_sessions x
     set conversation_id = nullif(x.conversation_id, p_conversation)
   where x.tenant_id = p_tenant and x.socket_id = p_socket and x.expires_at > now()
     and (p_session is null or x.session_id = p_session)
  returning * into s;
  if not found then return null; end if;
  delete from messaging.session_rooms
   where tenant_id = p_tenant and socket_id = p_socket and conversation_id = p_conversation;
  return messaging.session_json(s);
end
$$;

-- Puts off the end of the sessions of a connection, each named by its socket and its own id; answers
-- the sockets of those that have ended.
create function messaging.touch_sessions(
  p_tenant uuid, p_sockets text[], p_sessions uuid[], p_ttl interval
) returns setof text language plpgsql as $$
begin
  -- In the order of their names: two connections that speak for the same do not wait for each other.
  perform 1 from messaging.user_sessions s
    join unnest(p_sockets, p_sessions) k (socket, session)
      on s.socket_id = k.socket and s.session_id = k.session
   where s.tenant_id = p_tenant and s.last_seen_at < now() - interval '1 minute'
   order by s.socket_id for update of s;
  update messaging.user_sessions s set last_seen_at = now(), expires_at = now() + p_ttl
    from unnest(p_sockets, p_sessions) k (socket, session)
   where s.tenant_id = p_tenant and s.socket_id = k.socket and s.session_id = k.session
     and s.expires_at > now() and s.last_seen_at < now() - interval '1 minute';
  return query select k.socket from unnest(p_sockets, p_sessions) k (socket, session)
   where not exists (select 1 from messaging.user_sessions s where s.tenant_id = p_tenant
     and s.socket_id = k.socket and s.session_id = k.session and s.expires_at > now());
end
$$;


-- The sockets of those who are in a conversation; who of them is there is presence's affair.
create or replace function messaging.sessions_in(p_tenant uuid, p_conversation uuid)
returns table (user_id text, socket_id text) language sql stable as $$
  select s.user_id, s.socket_id from messaging.session_rooms r
    join messaging.user_sessions s on s.tenant_id = r.tenant_id and s.socket_id = r.socket_id
   where r.tenant_id = p_tenant and r.conversation_id = p_conversation and s.expires_at > now()
   order by s.user_id, s.socket_id limit 1000
$$;

-- The same for many conversations, named by their tenants and ids.
create or replace function messaging.sessions_in_all(p_tenants uuid[], p_conversations uuid[])
returns table (conversation_id uuid, user_id text, socket_id text) language sql stable as $$
  select r.conversation_id, s.user_id, s.socket_id
    from unnest(p_tenants, p_conversations) k (tenant, conversation)
    join messaging.session_rooms r on r.tenant_id = k.tenant
     and r.conversation_id = k.conversation
    join messaging.user_sessions s on s.tenant_id = r.tenant_id and s.socket_id = r.socket_id
     and s.expires_at > now()
$$;
