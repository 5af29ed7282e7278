-- The dispatcher: what is to be sent, whether it was, and what came of it.
-- PostgreSQL decides. A message request is sent by whoever moves it to `sending`, under a lease; a
-- result counts only with the token of that attempt.

create schema dispatch;

create table dispatch.workspaces (
  tenant_id uuid not null references platform.tenants,
  code text not null,
  provider text not null check (provider in ('slack', 'local', 'webhook')),
  team_id text,
  api_base_url text,
  -- The token and the signing secret are in platform.secrets, sealed: kind slack_token and
  -- slack_signing, ref = code.
  has_token boolean not null default false,
  has_signing_secret boolean not null default false,
  -- A tenant-level refusal (revoked token, missing scope) pauses the workspace and says why.
  paused_reason text,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, code)
);

create table dispatch.channels (
  tenant_id uuid not null,
  code text not null,
  workspace_code text not null,
  provider_channel_id text not null,
  unknown_policy text not null default 'verify'
    check (unknown_policy in ('verify', 'resend', 'park')),
  -- Messages a second and how many at once after a quiet time.
  rate_per_second double precision not null default 1 check (rate_per_second > 0),
  rate_burst int not null default 1 check (rate_burst between 1 and 100),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, code),
  foreign key (tenant_id, workspace_code) references dispatch.workspaces
);

create table dispatch.message_requests (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  tenant text not null,
  channel_code text not null,
  text text,
  blocks jsonb,
  thread_ts text,
  thread_key text,
  priority smallint not null default 2 check (priority between 0 and 4),
  send_at timestamptz,
  deadline_at timestamptz,
  max_attempts int not null default 8 check (max_attempts between 1 and 50),
  cancellation_key text,
  metadata jsonb not null default '{}',
  traceparent text,
  -- Who gets the outcome, beside the event: messaging's message, when it asked.
  report_to text,
  status text not null default 'accepted' check (status in
    ('accepted', 'dispatched', 'sending', 'sent', 'retry_wait', 'unknown', 'failed', 'cancelled',
     'expired')),
  generation int not null default 1,
  -- Attempts that counted; each one is a row of its own as well.
  attempts int not null default 0,
  attempt_token uuid,
  lease_until timestamptz,
  -- Set by the same commit that moves to `sending`: from then on the message may have been sent.
  bytes_out boolean not null default false,
  cancel_requested boolean not null default false,
  next_attempt_at timestamptz not null default now(),
  provider_ts text,
  last_error text,
  -- When the first attempt began: from there on the provider may have the message.
  begun_at timestamptz,
  unknown_since timestamptz,
  verified_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  dispatched_at timestamptz,
  finished_at timestamptz,
  version bigint not null default 1,
  primary key (tenant_id, id)
);
-- The sweep over all tenants: led by the time it is due.
create index message_requests_due on dispatch.message_requests (next_attempt_at, priority)
  where status in ('accepted', 'dispatched', 'retry_wait');
create index message_requests_leases on dispatch.message_requests (lease_until)
  where status = 'sending';
create index message_requests_list on dispatch.message_requests (tenant_id, status, id);
create index message_requests_channel on dispatch.message_requests (tenant_id, channel_code, id);

create table dispatch.attempts (
  tenant_id uuid not null,
  message_request_id uuid not null,
  generation int not null,
  n int not null,
  token uuid not null,
  at timestamptz not null default now(),
  status text not null,
  error text,
  http_status int,
  retry_after_ms bigint,
  took_ms double precision,
  created_at timestamptz not null default now(),
  primary key (tenant_id, message_request_id, generation, token, created_at)
) partition by range (created_at);
insert into platform.partitioned values ('dispatch.attempts', '90 days');
select platform.ensure_partitions();

-- What the embedded transport delivered. The key makes delivering twice impossible to hide.
create table dispatch.local_outbox (
  tenant_id uuid not null,
  ts text not null,
  channel_code text not null,
  provider_channel_id text not null,
  message_request_id uuid not null,
  generation int not null,
  thread_ts text,
  text text,
  blocks jsonb,
  delivered_at timestamptz not null default now(),
  primary key (tenant_id, message_request_id, generation)
);
create sequence dispatch.local_ts;
create index local_outbox_list on dispatch.local_outbox (tenant_id, channel_code, ts);

create function dispatch.request_json(m dispatch.message_requests, p_attempts boolean)
returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', m.id, 'status', m.status, 'generation', m.generation, 'channel_code', m.channel_code,
    'priority', m.priority, 'text', m.text, 'blocks', m.blocks, 'thread_ts', m.thread_ts,
    'thread_key', m.thread_key, 'provider_ts', m.provider_ts, 'metadata', m.metadata,
    'max_attempts', m.max_attempts, 'error', m.last_error,
    'send_at', platform.rfc3339(m.send_at), 'deadline_at', platform.rfc3339(m.deadline_at),
    'next_attempt_at', case when m.status in ('accepted', 'dispatched', 'retry_wait')
                            then platform.rfc3339(m.next_attempt_at) end,
    'created_at', platform.rfc3339(m.created_at), 'updated_at', platform.rfc3339(m.updated_at),
    'finished_at', platform.rfc3339(m.finished_at),
    'unknown', case when m.unknown_since is not null then jsonb_build_object(
      'policy', (select c.unknown_policy from dispatch.channels c
                  where c.tenant_id = m.tenant_id and c.code = m.channel_code),
      'verified_at', platform.rfc3339(m.verified_at)) end)
  || case when p_attempts then jsonb_build_object('attempts', coalesce((
      select jsonb_agg(jsonb_build_object('n', a.n, 'at', platform.rfc3339(a.at),
        'status', a.status, 'error', a.error, 'http_status', a.http_status,
        'retry_after_ms', a.retry_after_ms, 'took_ms', a.took_ms) order by a.created_at)
        from dispatch.attempts a
       where a.tenant_id = m.tenant_id and a.message_request_id = m.id), '[]')) else '{}' end
$$;

-- What every change of state leaves: the event, and the report to messaging's message.
create function dispatch.announce(m dispatch.message_requests, p_event text)
returns void language plpgsql as $$
declare
  data jsonb := jsonb_build_object('id', m.id, 'status', m.status, 'generation', m.generation,
    'channel_code', m.channel_code, 'provider_ts', m.provider_ts, 'error', m.last_error,
    'metadata', m.metadata, 'version', m.version);
begin
  perform platform.emit('dispatch-worker', m.tenant_id, m.tenant, 'message_request.' || p_event,
    m.id::text, m.version, data);
  if m.report_to is not null then
    perform platform.enqueue_call('dispatch-worker', m.tenant_id, m.tenant, m.report_to,
      '/v1/internal/delivery', m.id::text, m.version, jsonb_build_object(
        'message_request_id', m.id, 'generation', m.generation, 'version', m.version,
        'status', m.status, 'provider_ts', m.provider_ts, 'error', m.last_error),
      gen_random_uuid());
  end if;
end
$$;

-- Accepts a message request: once it is committed, it will be sent, or its row says why not.
--
-- p_key/p_path/p_hash: the caller's idempotency key (null: none). `p` has the request's fields.
-- Returns {result: created|replayed|reused|in_progress|no_channel, request?}.
-- Sending the same id again answers with the request that is there (result 'replayed').
create function dispatch.accept(
  p_tenant uuid, p_tenant_code text, p_id uuid, p jsonb, p_report_to text, p_traceparent text,
  p_key text, p_path text, p_hash bytea, p_actor text, p_request_id text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  known record;
begin
  if p_key is not null then
    select * into known
      from platform.idempotency_begin(p_tenant, p_key, 'POST', p_path, p_hash, null);
    if known.state = 'done' then
      return jsonb_build_object('result', 'replayed', 'request', known.result);
    elsif known.state <> 'started' then
      return jsonb_build_object('result', known.state);
    end if;
  end if;
  perform 1 from dispatch.channels
   where tenant_id = p_tenant and code = p->>'channel_code';
  if not found then
    if p_key is not null then
      perform platform.idempotency_abandon(p_tenant, p_key, 'POST', p_path);
    end if;
    return '{"result": "no_channel"}';
  end if;
  insert into dispatch.message_requests
    (tenant_id, id, tenant, channel_code, text, blocks, thread_ts, thread_key, priority, send_at,
     deadline_at, max_attempts, cancellation_key, metadata, traceparent, report_to,
     next_attempt_at)
  values (p_tenant, p_id, p_tenant_code, p->>'channel_code', p->>'text', p->'blocks',
    p->>'thread_ts', p->>'thread_key', coalesce((p->>'priority')::int, 2),
    (p->>'send_at')::timestamptz, (p->>'deadline_at')::timestamptz,
    coalesce((p->>'max_attempts')::int, 8), p->>'cancellation_key',
    coalesce(p->'metadata', '{}'), p_traceparent, p_report_to,
    greatest(now(), coalesce((p->>'send_at')::timestamptz, now())))
  on conflict (tenant_id, id) do nothing
  returning * into m;
  if not found then
    select * into m from dispatch.message_requests where tenant_id = p_tenant and id = p_id;
    return jsonb_build_object('result', 'replayed', 'request', dispatch.request_json(m, true));
  end if;
  perform dispatch.announce_accepted(m);
  perform platform.note_audit(p_tenant, p_actor, 'message_request.accept', m.id::text, null,
    jsonb_build_object('channel_code', m.channel_code), null, p_request_id);
  if p_key is not null then
    perform platform.idempotency_finish(p_tenant, p_key, 'POST', p_path,
      dispatch.request_json(m, true), 202, null, null);
  end if;
  return jsonb_build_object('result', 'created', 'request', dispatch.request_json(m, true));
end
$$;

create function dispatch.announce_accepted(m dispatch.message_requests)
returns void language sql as $$
  select platform.emit('dispatch-worker', m.tenant_id, m.tenant, 'message_request.accepted',
    m.id::text, m.version, jsonb_build_object('id', m.id, 'channel_code', m.channel_code,
      'generation', m.generation, 'priority', m.priority, 'status', m.status,
      'thread_ts', m.thread_ts, 'send_at', platform.rfc3339(m.send_at)))
$$;

-- Dispatch once: accepted -> dispatched. Returns {dispatched: bool, request}; null when there is
-- none. A second caller gets false.
create function dispatch.mark_dispatched(p_tenant uuid, p_id uuid, p_generation int)
returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
begin
  update dispatch.message_requests
     set status = 'dispatched', dispatched_at = now(), updated_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id and generation = p_generation and status = 'accepted'
  returning * into m;
  if found then
    perform dispatch.announce(m, 'dispatched');
    return jsonb_build_object('dispatched', true, 'request', dispatch.request_json(m, false));
  end if;
  select * into m from dispatch.message_requests where tenant_id = p_tenant and id = p_id;
  if not found then return null; end if;
  return jsonb_build_object('dispatched', false, 'request', dispatch.request_json(m, false));
end
$$;

-- What is due, over all tenants, by urgency and age: references only. Nothing is claimed by looking.
-- An accepted row shows up after `p_projector_lead`, so that the projector has its chance first.
create function dispatch.due(p_limit int, p_projector_lead interval)
returns table (tenant_id uuid, tenant text, id uuid, generation int, channel_code text,
               status text)
language sql stable as $$
  select m.tenant_id, m.tenant, m.id, m.generation, m.channel_code, m.status
    from dispatch.message_requests m
   where m.status in ('accepted', 'dispatched', 'retry_wait') and m.next_attempt_at <= now()
     and (m.status <> 'accepted' or m.created_at < now() - p_projector_lead)
   order by m.next_attempt_at, m.priority limit p_limit
$$;

-- How a channel is configured now: its workspace, its limits and the sealed token. Null when there
-- is no such channel.
create function dispatch.configuration(p_tenant uuid, p_channel text) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'workspace_code', w.code, 'provider', w.provider, 'api_base_url', w.api_base_url,
    'paused_reason', w.paused_reason, 'provider_channel_id', c.provider_channel_id,
    'unknown_policy', c.unknown_policy, 'rate_per_second', c.rate_per_second,
    'rate_burst', c.rate_burst, 'token_key_id', s.key_id,
    'token_sealed', encode(s.sealed, 'base64'))
    from dispatch.channels c
    join dispatch.workspaces w
      on w.tenant_id = c.tenant_id and w.code = c.workspace_code
    left join platform.secrets s
      on s.tenant_id = w.tenant_id and s.kind = 'slack_token' and s.ref = w.code
   where c.tenant_id = p_tenant and c.code = p_channel
$$;

-- What sending needs: the request and how its channel is configured now. Null when there is no such
-- request.
create function dispatch.resolve(p_tenant uuid, p_id uuid) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', m.id, 'tenant', m.tenant, 'generation', m.generation, 'status', m.status,
    'channel_code', m.channel_code, 'text', m.text, 'blocks', m.blocks,
    'thread_ts', m.thread_ts, 'attempts', m.attempts, 'attempt_token', m.attempt_token,
    'begun_s', extract(epoch from m.begun_at)::bigint,
    'configuration', dispatch.configuration(m.tenant_id, m.channel_code))
    from dispatch.message_requests m
   where m.tenant_id = p_tenant and m.id = p_id
$$;

-- Puts a request off that cannot be sent now: no slot, no lock, a paused workspace. No attempt is
-- spent. False when it is not waiting any more.
create function dispatch.postpone(
  p_tenant uuid, p_id uuid, p_generation int, p_wait interval, p_reason text
) returns boolean language sql as $$
  with postponed as (
    update dispatch.message_requests
       set next_attempt_at = now() + p_wait, last_error = coalesce(p_reason, last_error),
           updated_at = now()
     where tenant_id = p_tenant and id = p_id and generation = p_generation
       and status in ('accepted', 'dispatched', 'retry_wait')
    returning 1)
  select exists (select 1 from postponed)
$$;

-- The one commit before the first byte: whoever gets `begun` may send, nobody else. The rate slot
-- was reserved before. Returns {begun: bool, status, attempts, lease_until?}.
create function dispatch.begin_send(
  p_tenant uuid, p_id uuid, p_generation int, p_token uuid, p_lease interval
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
begin
  update dispatch.message_requests
     set status = 'sending', attempt_token = p_token, lease_until = now() + p_lease,
         bytes_out = true, attempts = attempts + 1, begun_at = coalesce(begun_at, now()),
         updated_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id and generation = p_generation
     and status in ('accepted', 'dispatched', 'retry_wait') and next_attempt_at <= now()
     and not cancel_requested and (deadline_at is null or deadline_at > now())
  returning * into m;
  if found then
    return jsonb_build_object('begun', true, 'status', m.status, 'attempts', m.attempts);
  end if;
  select * into m from dispatch.message_requests where tenant_id = p_tenant and id = p_id;
  return jsonb_build_object('begun', false, 'status', m.status, 'attempts', m.attempts,
    'lease_until', m.lease_until);
end
$$;

-- Keeps a lease while the provider is being talked to. False: it is somebody else's; stop.
create function dispatch.renew_lease(p_tenant uuid, p_id uuid, p_token uuid, p_lease interval)
returns boolean language sql as $$
  with renewed as (
    update dispatch.message_requests set lease_until = now() + p_lease
     where tenant_id = p_tenant and id = p_id and attempt_token = p_token and status = 'sending'
    returning 1)
  select exists (select 1 from renewed)
$$;

-- Records how an attempt ended: the row, the attempt, the event and the report, in one commit.
--
-- p_status: sent | retry_wait | failed | unknown | cancelled. `p_wait` is the pause before the next
-- attempt of retry_wait. `p_counts` false gives the attempt back (a rate limit is nobody's fault).
-- Returns {recorded: bool, status}; false when the token is not that of the attempt under way, or
-- of an attempt whose lease ran out and whose true result arrives late (then the result counts).
create function dispatch.finish_send(
  p_tenant uuid, p_id uuid, p_token uuid, p_status text, p_provider_ts text, p_error text,
  p_http int, p_retry_after_ms bigint, p_wait interval, p_counts boolean, p_took_ms float8
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  final text := p_status;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id for update;
  if not found or m.attempt_token is distinct from p_token
    or m.status not in ('sending', 'unknown')
    or (m.status = 'unknown' and p_status = 'unknown') then
    return jsonb_build_object('recorded', false, 'status', m.status);
  end if;
  if p_status = 'retry_wait' then
    if p_counts and m.attempts >= m.max_attempts then
      final := 'failed';
    elsif m.cancel_requested then
      final := 'cancelled';
    elsif m.deadline_at <= now() + p_wait then
      final := 'expired';
    end if;
  end if;
  update dispatch.message_requests
     set status = final, provider_ts = coalesce(p_provider_ts, provider_ts), last_error = p_error,
         attempts = attempts - case when p_counts then 0 else 1 end,
         bytes_out = final in ('sent', 'unknown'), lease_until = null,
         attempt_token = case when final = 'unknown' then attempt_token end,
         next_attempt_at = case when final = 'retry_wait' then now() + p_wait
                                else next_attempt_at end,
         unknown_since = case when final = 'unknown' then coalesce(unknown_since, now())
                              else unknown_since end,
         finished_at = case when final in ('sent', 'failed', 'cancelled', 'expired') then now() end,
         updated_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id
  returning * into m;
  insert into dispatch.attempts
    (tenant_id, message_request_id, generation, n, token, status, error, http_status,
     retry_after_ms, took_ms)
  values (p_tenant, p_id, m.generation, m.attempts + case when p_counts then 0 else 1 end,
          p_token, final, p_error, p_http, p_retry_after_ms, p_took_ms);
  if final = 'unknown' then
    perform platform.set_timer('dispatch-worker', p_tenant, m.tenant, 'unknown_verify', m.id,
      m.generation, now() + interval '3 s', '{}');
  end if;
  perform dispatch.announce(m, case final when 'retry_wait' then 'retrying' else final end);
  return jsonb_build_object('recorded', true, 'status', final);
end
$$;

-- Leases that ran out: the worker is gone, and the message may or may not have been sent.
-- Returns how many became `unknown`.
create function dispatch.expire_leases(p_limit int) returns int language plpgsql as $$
declare
  m dispatch.message_requests;
  count int := 0;
begin
  for m in
    select * from dispatch.message_requests
     where status = 'sending' and lease_until < now()
     order by lease_until limit p_limit for update skip locked
  loop
    perform dispatch.finish_send(m.tenant_id, m.id, m.attempt_token, 'unknown', null,
      'lease_expired', null, null, null, true, null);
    count := count + 1;
  end loop;
  return count;
end
$$;

-- Requests whose deadline passed before they were sent. Returns how many expired.
create function dispatch.expire_deadlines(p_limit int) returns int language plpgsql as $$
declare
  m dispatch.message_requests;
  count int := 0;
begin
  for m in
    select * from dispatch.message_requests
     where status in ('accepted', 'dispatched', 'retry_wait') and next_attempt_at <= now()
       and deadline_at <= now()
     limit p_limit for update skip locked
  loop
    update dispatch.message_requests
       set status = 'expired', finished_at = now(), updated_at = now(), version = version + 1,
           last_error = 'the deadline passed before it could be sent'
     where tenant_id = m.tenant_id and id = m.id
    returning * into m;
    perform dispatch.announce(m, 'expired');
    count := count + 1;
  end loop;
  return count;
end
$$;

-- Settles what is unknown: by looking at the provider, by the channel's policy, or by a person.
-- p_to: sent (it was there, with its ts) | retry_wait (surely absent, or the policy says resend) |
--   failed. Nothing happens to a request that is not unknown. A retry ends as cancelled when that
--   was asked for meanwhile, and as failed when no attempt is left.
-- Returns the request, or null when it is not there or not unknown.
create function dispatch.settle_unknown(
  p_tenant uuid, p_id uuid, p_generation int, p_to text, p_provider_ts text, p_error text,
  p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  before jsonb;
  final text := p_to;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id and generation = p_generation and status = 'unknown'
     for update;
  if not found then return null; end if;
  before := dispatch.request_json(m, false);
  if p_to = 'retry_wait' then
    if m.cancel_requested then
      final := 'cancelled';
    elsif m.attempts >= m.max_attempts then
      final := 'failed';
    end if;
  end if;
  update dispatch.message_requests
     set status = final, provider_ts = coalesce(p_provider_ts, provider_ts), last_error = p_error,
         bytes_out = final = 'sent', attempt_token = null, verified_at = now(),
         next_attempt_at = now(), updated_at = now(), version = version + 1,
         finished_at = case when final in ('sent', 'failed', 'cancelled') then now() end
   where tenant_id = p_tenant and id = p_id
  returning * into m;
  if p_actor is not null then
    perform platform.note_audit(p_tenant, p_actor, 'message_request.settle', p_id::text, before,
      dispatch.request_json(m, false), p_reason, p_request);
  end if;
  perform dispatch.announce(m, case final when 'retry_wait' then 'retrying' else final end);
  return dispatch.request_json(m, true);
end
$$;

-- Stops a request. Returns {result: cancelled|too_late|already, request}, or null when there is none.
-- In `sending` the request is noted: should the attempt fail without sending, it ends cancelled.
create function dispatch.cancel(
  p_tenant uuid, p_id uuid, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  before jsonb;
  outcome text;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id for update;
  if not found then return null; end if;
  before := dispatch.request_json(m, false);
  if m.status in ('accepted', 'dispatched', 'retry_wait') then
    update dispatch.message_requests
       set status = 'cancelled', finished_at = now(), updated_at = now(), version = version + 1
     where tenant_id = p_tenant and id = p_id
    returning * into m;
    perform dispatch.announce(m, 'cancelled');
    outcome := 'cancelled';
  elsif m.status = 'cancelled' then
    return jsonb_build_object('result', 'already', 'request', before);
  else
    update dispatch.message_requests set cancel_requested = true
     where tenant_id = p_tenant and id = p_id and status = 'sending';
    outcome := 'too_late';
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'message_request.cancel', p_id::text, before,
    dispatch.request_json(m, false), p_reason, p_request);
  return jsonb_build_object('result', outcome, 'request', dispatch.request_json(m, true));
end
$$;

create function dispatch.workspace_json(w dispatch.workspaces) returns jsonb
language sql stable as $$
  select jsonb_build_object('code', w.code, 'provider', w.provider, 'team_id', w.team_id,
    'api_base_url', w.api_base_url, 'token', case when w.has_token then '***' end,
    'signing_secret', case when w.has_signing_secret then '***' end,
    'paused_reason', w.paused_reason, 'created_at', platform.rfc3339(w.created_at),
    'updated_at', platform.rfc3339(w.updated_at))
$$;

-- Makes or changes a workspace. `p_secrets`: [{kind, key_id, sealed (base64)}], sealed already.
-- Returns {created, workspace}.
create function dispatch.put_workspace(
  p_tenant uuid, p_code text, p_provider text, p_team_id text, p_base_url text, p_secrets jsonb,
  p_actor text, p_request text
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
  insert into dispatch.workspaces (tenant_id, code, provider, team_id, api_base_url)
  values (p_tenant, p_code, p_provider, p_team_id, p_base_url)
  on conflict (tenant_id, code) do update
    set provider = excluded.provider, team_id = coalesce(p_team_id, workspaces.team_id),
        api_base_url = p_base_url, paused_reason = null, updated_at = now(),
        version = workspaces.version + 1;
  update dispatch.workspaces x
     set has_token = exists (select 1 from platform.secrets s where s.tenant_id = p_tenant
                              and s.kind = 'slack_token' and s.ref = p_code),
         has_signing_secret = exists (select 1 from platform.secrets s
           where s.tenant_id = p_tenant and s.kind = 'slack_signing' and s.ref = p_code)
   where x.tenant_id = p_tenant and x.code = p_code
  returning * into w;
  if old.paused_reason is not null then
    update dispatch.message_requests m set next_attempt_at = now(), updated_at = now()
      from dispatch.channels c
     where c.tenant_id = p_tenant and c.workspace_code = p_code and m.tenant_id = p_tenant
       and m.channel_code = c.code and m.status in ('accepted', 'dispatched', 'retry_wait')
       and (m.send_at is null or m.send_at <= now());
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'workspace.put', p_code,
    case when old.code is null then null else dispatch.workspace_json(old) end,
    dispatch.workspace_json(w), null, p_request);
  return jsonb_build_object('created', old.code is null, 'workspace', dispatch.workspace_json(w));
end
$$;

-- Stops sending for a workspace whose token no longer works, until it is configured again.
create function dispatch.pause_workspace(p_tenant uuid, p_code text, p_reason text)
returns void language sql as $$
  update dispatch.workspaces
     set paused_reason = p_reason, updated_at = now(), version = version + 1
   where tenant_id = p_tenant and code = p_code and paused_reason is null
$$;

create function dispatch.channel_json(c dispatch.channels) returns jsonb language sql stable as $$
  select jsonb_build_object('code', c.code, 'workspace_code', c.workspace_code,
    'provider_channel_id', c.provider_channel_id, 'unknown_policy', c.unknown_policy,
    'rate', jsonb_build_object('per_second', c.rate_per_second, 'burst', c.rate_burst),
    'created_at', platform.rfc3339(c.created_at), 'updated_at', platform.rfc3339(c.updated_at))
$$;

-- Makes or changes a channel, and tells messaging of it. Returns {created, channel}, or
-- {missing: workspace}.
create function dispatch.put_channel(
  p_tenant uuid, p_tenant_code text, p_code text, p_workspace text, p_provider_channel text,
  p_policy text, p_per_second float8, p_burst int, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old dispatch.channels;
  c dispatch.channels;
  w dispatch.workspaces;
  data jsonb;
begin
  select * into w from dispatch.workspaces where tenant_id = p_tenant and code = p_workspace;
  if not found then return '{"missing": "workspace"}'; end if;
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
  data := jsonb_build_object('code', c.code, 'kind', w.provider, 'workspace_code', w.code,
    'team_id', w.team_id, 'provider_channel_id', c.provider_channel_id, 'version', c.version);
  perform platform.note_audit(p_tenant, p_actor, 'channel.put', p_code,
    case when old.code is null then null else dispatch.channel_json(old) end,
    dispatch.channel_json(c), null, p_request);
  perform platform.emit('dispatch-worker', p_tenant, p_tenant_code, 'channel.configured', c.code,
    c.version, data);
  perform platform.enqueue_call('dispatch-worker', p_tenant, p_tenant_code, 'messaging',
    '/v1/internal/channels', 'channel:' || c.code, c.version, data, gen_random_uuid());
  return jsonb_build_object('created', old.code is null, 'channel', dispatch.channel_json(c));
end
$$;

-- The embedded transport: delivers once per request and generation. Returns {ts, repeated}.
create function dispatch.deliver_local(
  p_tenant uuid, p_id uuid, p_generation int, p_channel text, p_provider_channel text,
  p_thread_ts text, p_text text, p_blocks jsonb
) returns jsonb language plpgsql as $$
declare
  delivered text;
begin
  insert into dispatch.local_outbox (tenant_id, ts, channel_code, provider_channel_id,
    message_request_id, generation, thread_ts, text, blocks)
  values (p_tenant,
    extract(epoch from now())::bigint || '.' || lpad((nextval('dispatch.local_ts') % 1000000)::text, 6, '0'),
    p_channel, p_provider_channel, p_id, p_generation, p_thread_ts, p_text, p_blocks)
  on conflict do nothing
  returning ts into delivered;
  if found then return jsonb_build_object('ts', delivered, 'repeated', false); end if;
  select ts into delivered from dispatch.local_outbox
   where tenant_id = p_tenant and message_request_id = p_id and generation = p_generation;
  return jsonb_build_object('ts', delivered, 'repeated', true);
end
$$;
