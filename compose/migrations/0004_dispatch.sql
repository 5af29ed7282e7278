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
  -- Local times between which only the most urgent messages leave; may cross midnight.
  quiet_tz text,
  quiet_from time,
  quiet_to time,
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
  -- The version that it was made from, and with what; text and blocks hold the result.
  template_code text,
  template_version int,
  variables jsonb,
  thread_ts text,
  -- Messages of one key leave in the order of their places, the first one being the thread's root.
  thread_key text,
  thread_pos bigint,
  on_root_failed text not null default 'post_new' check (on_root_failed in ('post_new', 'fail')),
  priority smallint not null default 2 check (priority between 0 and 4),
  -- The order among what is due: urgent first, and what waits long overtakes.
  sort_key timestamptz not null default now(),
  send_at timestamptz,
  deadline_at timestamptz,
  -- While a pause holds it its deadline stands still.
  paused_since timestamptz,
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
  -- When its job in the tenant's queue comes up; null: it has none that we know of. A job that is to
  -- come sooner than it will is found by the index below.
  job_due_at timestamptz,
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
create index message_requests_due on dispatch.message_requests (next_attempt_at, id)
  where status in ('accepted', 'dispatched', 'retry_wait');
create index message_requests_unqueued on dispatch.message_requests (next_attempt_at)
  where status in ('accepted', 'dispatched', 'retry_wait')
    and (job_due_at is null or job_due_at > next_attempt_at);
create index message_requests_deadlines on dispatch.message_requests (deadline_at)
  where status in ('accepted', 'dispatched', 'retry_wait') and deadline_at is not null;
create index message_requests_finished on dispatch.message_requests (finished_at)
  where finished_at is not null;
create index message_requests_leases on dispatch.message_requests (lease_until)
  where status = 'sending';
create index message_requests_list on dispatch.message_requests (tenant_id, status, id);
create index message_requests_channel on dispatch.message_requests (tenant_id, channel_code, id);

create index message_requests_open on dispatch.message_requests (tenant_id, status)
  where status not in ('sent', 'failed', 'cancelled', 'expired');
create index message_requests_threads
  on dispatch.message_requests (tenant_id, channel_code, thread_key, thread_pos)
  where thread_key is not null
    and status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown');
create index message_requests_cancellation
  on dispatch.message_requests (tenant_id, cancellation_key) where cancellation_key is not null;

-- Threads by the caller's key: the row's lock puts acceptances of one key into their places.
create table dispatch.threads (
  tenant_id uuid not null,
  channel_code text not null,
  thread_key text not null,
  last_pos bigint not null default 1,
  root_id uuid not null,
  root_ts text,
  updated_at timestamptz not null default now(),
  primary key (tenant_id, channel_code, thread_key)
);
create index threads_old on dispatch.threads (updated_at);

-- What a tenant keeps and how fast it may send again what failed.
create table dispatch.policies (
  tenant_id uuid primary key references platform.tenants,
  retention_days int not null default 90 check (retention_days between 1 and 3650),
  -- Its share of each round over all tenants, how many of its messages one process sends at once,
  -- and how many may wait before no more are accepted.
  weight int not null default 1 check (weight between 1 and 100),
  max_in_flight int not null default 8 check (max_in_flight between 1 and 256),
  max_queued int not null default 1000000 check (max_queued between 1 and 10000000),
  -- Until when earlier replays have spread their messages.
  replay_until timestamptz not null default now()
);

-- Who stopped what, and why. Tenant 0 stands for all of them; only a service may stop those.
create table dispatch.pauses (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  scope text not null check (scope in ('tenant', 'workspace', 'channel', 'template', 'all')),
  code text,
  reason text not null,
  author text not null,
  -- Whether deadlines go on meanwhile.
  uses_deadlines boolean not null default false,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  ended_at timestamptz,
  ended_by text,
  primary key (tenant_id, id)
);
create index pauses_active on dispatch.pauses (tenant_id) where ended_at is null;
create index pauses_expiring on dispatch.pauses (expires_at) where ended_at is null;

-- Templates never change: a PUT makes the next version.
create table dispatch.templates (
  tenant_id uuid not null references platform.tenants,
  code text not null,
  version int not null,
  text text,
  blocks jsonb,
  variables text[] not null,
  created_at timestamptz not null default now(),
  created_by text not null,
  primary key (tenant_id, code, version)
);

-- Who hears of outcomes: endpoints of the tenant's own. The secret is in platform.secrets, kind
-- webhook, ref = code.
create table dispatch.webhooks (
  tenant_id uuid not null references platform.tenants,
  code text not null,
  url text not null,
  events text[] not null,
  -- Since when nothing was delivered; after 5 days of that it is disabled.
  failing_since timestamptz,
  disabled_at timestamptz,
  disabled_reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, code)
);

create table dispatch.webhook_deliveries (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  webhook_code text not null,
  event text not null,
  body jsonb not null,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  attempts int not null default 0,
  next_attempt_at timestamptz not null default now(),
  lease_until timestamptz,
  http_status int,
  last_error text,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, webhook_code) references dispatch.webhooks on delete cascade
);
create index webhook_deliveries_due on dispatch.webhook_deliveries (next_attempt_at)
  where status = 'pending';
create index webhook_deliveries_list on dispatch.webhook_deliveries (tenant_id, webhook_code, id);
create index webhook_deliveries_finished on dispatch.webhook_deliveries (finished_at)
  where finished_at is not null;

-- The processes that send.
create table dispatch.workers (
  id text primary key,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  state text not null,
  concurrency int not null,
  in_flight int not null,
  sent bigint not null,
  failed bigint not null
);

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
    'template', case when m.template_code is not null then jsonb_build_object('code',
      m.template_code, 'version', m.template_version, 'variables', m.variables) end,
    'cancellation_key', m.cancellation_key, 'cancel_requested', m.cancel_requested,
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
  insert into dispatch.webhook_deliveries (tenant_id, webhook_code, event, body)
  select m.tenant_id, w.code, 'message_request.' || p_event, data
    from dispatch.webhooks w
   where w.tenant_id = m.tenant_id and w.disabled_at is null
     and 'message_request.' || p_event = any (w.events);
  if m.report_to is not null then
    perform platform.enqueue_call('dispatch-worker', m.tenant_id, m.tenant, m.report_to,
      '/v1/internal/delivery', m.id::text, m.version, jsonb_build_object(
        'message_request_id', m.id, 'generation', m.generation, 'version', m.version,
        'status', m.status, 'provider_ts', m.provider_ts, 'error', m.last_error),
      gen_random_uuid());
  end if;
end
$$;

-- What is due earliest among the waiting: the deadline, or the time that a priority may wait.
create function dispatch.sort_key(p_priority int, p_send timestamptz, p_deadline timestamptz)
returns timestamptz language sql stable as $$
  select least(p_deadline, greatest(now(), p_send) + (array[interval '0', interval '2 minutes',
    interval '10 minutes', interval '30 minutes', interval '2 hours'])[p_priority + 1])
$$;

-- The pause that holds a message of this channel and template now; no row when there is none.
create function dispatch.pause_of(p_tenant uuid, p_channel text, p_template text)
returns setof dispatch.pauses language sql stable as $$
  select x.* from dispatch.pauses x
   where x.tenant_id in (p_tenant, '00000000-0000-0000-0000-000000000000')
     and x.ended_at is null and (x.expires_at is null or x.expires_at > now())
     and (x.scope in ('tenant', 'all')
       or (x.scope = 'channel' and x.code = p_channel)
       or (x.scope = 'template' and x.code = p_template)
       or (x.scope = 'workspace' and x.code = (select c.workspace_code from dispatch.channels c
             where c.tenant_id = p_tenant and c.code = p_channel)))
   order by x.created_at limit 1
$$;

-- Accepts a message request: once it is committed, it will be sent, or its row says why not.
--
-- p_key/p_path/p_hash: the caller's idempotency key (null: none). `p` has the request's fields.
-- Returns {result: created|replayed|reused|in_progress|no_channel|text_too_long, request?}.
-- Sending the same id again answers with the request that is there (result 'replayed').
create function dispatch.accept(
  p_tenant uuid, p_tenant_code text, p_id uuid, p jsonb, p_report_to text, p_traceparent text,
  p_key text, p_path text, p_hash bytea, p_actor text, p_request_id text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  known record;
  provider text;
  place bigint;
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
  select w.provider into provider from dispatch.channels c
    join dispatch.workspaces w on w.tenant_id = c.tenant_id and w.code = c.workspace_code
   where c.tenant_id = p_tenant and c.code = p->>'channel_code';
  if provider is null or (provider = 'slack' and length(p->>'text') > 4000) then
    if p_key is not null then
      perform platform.idempotency_abandon(p_tenant, p_key, 'POST', p_path);
    end if;
    return jsonb_build_object('result',
      case when provider is null then 'no_channel' else 'text_too_long' end);
  end if;
  if p->>'thread_key' is not null and not exists (select 1 from dispatch.message_requests
    where tenant_id = p_tenant and id = p_id)
  then
    insert into dispatch.threads as t (tenant_id, channel_code, thread_key, root_id)
    values (p_tenant, p->>'channel_code', p->>'thread_key', p_id)
    on conflict (tenant_id, channel_code, thread_key) do update
      set last_pos = t.last_pos + 1, updated_at = now()
    returning last_pos into place;
  end if;
  insert into dispatch.message_requests
    (tenant_id, id, tenant, channel_code, text, blocks, template_code, template_version, variables,
     thread_ts, thread_key, thread_pos, on_root_failed, priority, sort_key, send_at, deadline_at,
     max_attempts, cancellation_key, metadata, traceparent, report_to, next_attempt_at)
  values (p_tenant, p_id, p_tenant_code, p->>'channel_code', p->>'text', p->'blocks',
    p->>'template_code', (p->>'template_version')::int, p->'variables', p->>'thread_ts',
    p->>'thread_key', place, coalesce(p->>'on_root_failed', 'post_new'),
    coalesce((p->>'priority')::int, 2),
    dispatch.sort_key(coalesce((p->>'priority')::int, 2), (p->>'send_at')::timestamptz,
      (p->>'deadline_at')::timestamptz),
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
  if m.deadline_at is not null then
    update dispatch.message_requests set paused_since = now()
     where tenant_id = p_tenant and id = m.id and exists (
       select 1 from dispatch.pause_of(p_tenant, m.channel_code, m.template_code) x
        where not x.uses_deadlines);
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

-- Dispatch once: accepted -> dispatched, many in one commit. Returns a row for each request that
-- there is: `place` (from 1) among those asked for; `dispatched` false for a second caller; `waiting`
-- when it is to have a job; `due_ms` until that comes up; `rank`, the seconds since 1970 that order
-- the jobs of a tenant.
create function dispatch.mark_dispatched(p_tenants uuid[], p_ids uuid[], p_generations int[])
returns table (place int, dispatched boolean, waiting boolean, due_ms bigint, rank bigint,
               answer jsonb)
language plpgsql as $$
declare
  asked record;
  m dispatch.message_requests;
begin
  -- In the order of the keys: two callers never wait for each other.
  for asked in
    select * from unnest(p_tenants, p_ids, p_generations) with ordinality
      as u (tenant_id, id, generation, n) order by u.tenant_id, u.id
  loop
    update dispatch.message_requests x
       set status = 'dispatched', dispatched_at = now(), job_due_at = greatest(next_attempt_at, now()),
           updated_at = now(), version = version + 1
     where x.tenant_id = asked.tenant_id and x.id = asked.id and x.generation = asked.generation
       and x.status = 'accepted'
    returning * into m;
    dispatched := found;
    if dispatched then
      perform dispatch.announce(m, 'dispatched');
    else
      select * into m from dispatch.message_requests x
       where x.tenant_id = asked.tenant_id and x.id = asked.id;
      continue when not found;
    end if;
    place := asked.n;
    waiting := m.generation = asked.generation
      and m.status in ('accepted', 'dispatched', 'retry_wait');
    due_ms := greatest(0, extract(epoch from m.next_attempt_at - now()) * 1000)::bigint;
    rank := extract(epoch from m.sort_key)::bigint;
    answer := dispatch.request_json(m, false);
    return next;
  end loop;
end
$$;

-- Whether an earlier message of its thread has not ended.
create function dispatch.waits_for_thread(m dispatch.message_requests) returns boolean
language sql stable as $$
  select m.thread_key is not null and exists (
    select 1 from dispatch.message_requests e
     where e.tenant_id = m.tenant_id and e.channel_code = m.channel_code
       and e.thread_key = m.thread_key and e.thread_pos < m.thread_pos
       and e.status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown'))
$$;

-- How long a message waits for its thread before it is looked at again, unless the end of the one
-- before it brings that forward: a second for each that goes before it. 0 when it need not wait.
create function dispatch.thread_wait_ms(m dispatch.message_requests) returns bigint
language sql stable as $$
  select case when m.thread_key is null then 0 else (
    select count(*) * 1000 from (
      select 1 from dispatch.message_requests e
       where e.tenant_id = m.tenant_id and e.channel_code = m.channel_code
         and e.thread_key = m.thread_key and e.thread_pos < m.thread_pos
         and e.status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown')
       limit 30) before) end
$$;

-- What is due and has no job, or one that comes too late; over all tenants. An accepted row shows up
-- after `p_lead`, so that its event has its chance first.
create function dispatch.unqueued(p_limit int, p_lead interval)
returns table (tenant_id uuid, tenant text, id uuid, generation int, status text, thread_ts text,
               rank bigint)
language sql stable as $$
  select m.tenant_id, m.tenant, m.id, m.generation, m.status, m.thread_ts,
         extract(epoch from m.sort_key)::bigint
    from dispatch.message_requests m
   where m.status in ('accepted', 'dispatched', 'retry_wait')
     and (m.job_due_at is null or m.job_due_at > m.next_attempt_at)
     and m.next_attempt_at <= now()
     and (m.status <> 'accepted' or m.updated_at < now() - p_lead)
   order by m.next_attempt_at limit p_limit
$$;

-- These have a job now that is ready.
create function dispatch.note_queued(p_tenants uuid[], p_ids uuid[], p_generations int[])
returns void language sql as $$
  with waiting as (
    select m.tenant_id, m.id
      from unnest(p_tenants, p_ids, p_generations) as u (tenant_id, id, generation)
      join dispatch.message_requests m using (tenant_id, id, generation)
     where m.status in ('accepted', 'dispatched', 'retry_wait') and m.next_attempt_at <= now()
     order by m.tenant_id, m.id for update of m skip locked)
  update dispatch.message_requests m set job_due_at = now()
    from waiting w where m.tenant_id = w.tenant_id and m.id = w.id
$$;

-- A page of what has been due for longer than `p_grace`, so that its job can be looked for, in the
-- order of (at, id), after the last one of the page before; null for the first page.
create function dispatch.overdue(p_after text, p_after_id uuid, p_grace interval, p_limit int)
returns table (tenant_id uuid, tenant text, id uuid, generation int, status text, thread_ts text,
               rank bigint, at text)
language sql stable as $$
  select m.tenant_id, m.tenant, m.id, m.generation, m.status, m.thread_ts,
         extract(epoch from m.sort_key)::bigint, m.next_attempt_at::text
    from dispatch.message_requests m
   where m.status in ('accepted', 'dispatched', 'retry_wait') and m.status <> 'accepted'
     and m.next_attempt_at <= now() - p_grace
     and (m.next_attempt_at, m.id) >
         (coalesce(p_after::timestamptz, '-infinity'),
          coalesce(p_after_id, '00000000-0000-0000-0000-000000000000'))
   order by m.next_attempt_at, m.id limit p_limit
$$;

-- Milliseconds until the quiet hours of a channel end; null outside of them.
create function dispatch.quiet_ms(c dispatch.channels, p_at timestamptz) returns bigint
language sql stable as $$
  select (extract(epoch from ((day + case when c.quiet_to <= day::time then interval '1 day'
            else interval '0' end)::date + c.quiet_to) at time zone c.quiet_tz - p_at) * 1000)::bigint
    from (select p_at at time zone c.quiet_tz as day) l
   where c.quiet_tz is not null
     and case when c.quiet_from < c.quiet_to
              then day::time >= c.quiet_from and day::time < c.quiet_to
              else day::time >= c.quiet_from or day::time < c.quiet_to end
$$;

-- How a channel is configured now: its workspace, its limits, what holds it and the sealed token.
-- Null when there is no such channel.
create function dispatch.configuration(p_tenant uuid, p_channel text, p_template text)
returns jsonb language sql stable as $$
  select jsonb_build_object(
    'workspace_code', w.code, 'provider', w.provider, 'api_base_url', w.api_base_url,
    'provider_channel_id', c.provider_channel_id,
    'unknown_policy', c.unknown_policy, 'rate_per_second', c.rate_per_second,
    'rate_burst', c.rate_burst, 'quiet_ms', dispatch.quiet_ms(c, now()),
    'pause', (select jsonb_build_object('scope', x.scope, 'reason', x.reason)
                from dispatch.pause_of(p_tenant, p_channel, p_template) x),
    'token_key_id', s.key_id, 'token_sealed', encode(s.sealed, 'base64'))
    from dispatch.channels c
    join dispatch.workspaces w
      on w.tenant_id = c.tenant_id and w.code = c.workspace_code
    left join platform.secrets s
      on s.tenant_id = w.tenant_id and s.kind = 'slack_token' and s.ref = w.code
   where c.tenant_id = p_tenant and c.code = p_channel
$$;

-- What sending needs: the request and how its channel is configured now. `due_ms` until it is due,
-- `thread_ms` that it should wait for its thread. Null when there is no such request. Its content
-- only when asked for.
create function dispatch.resolve(p_tenant uuid, p_id uuid, p_content boolean) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', m.id, 'tenant', m.tenant, 'generation', m.generation, 'status', m.status,
    'channel_code', m.channel_code, 'attempts', m.attempts, 'attempt_token', m.attempt_token,
    'due_ms', ceil(extract(epoch from m.next_attempt_at - now()) * 1000)::bigint,
    'thread_ms', dispatch.thread_wait_ms(m), 'has_thread', m.thread_key is not null,
    'begun_s', extract(epoch from m.begun_at)::bigint,
    'unknown_ms', (extract(epoch from now() - m.unknown_since) * 1000)::bigint,
    'configuration', dispatch.configuration(m.tenant_id, m.channel_code, m.template_code))
  || case when p_content then jsonb_build_object('text', m.text, 'blocks', m.blocks,
      'thread_ts', m.thread_ts, 'template', jsonb_build_object('code', m.template_code),
      'priority', m.priority) else '{}' end
    from dispatch.message_requests m
   where m.tenant_id = p_tenant and m.id = p_id
$$;

-- Ends a request that waits, without an attempt.
create function dispatch.finish_waiting(m dispatch.message_requests, p_status text, p_error text)
returns void language plpgsql as $$
begin
  update dispatch.message_requests
     set status = p_status, finished_at = now(), updated_at = now(), version = version + 1,
         last_error = coalesce(p_error, last_error)
   where tenant_id = m.tenant_id and id = m.id
  returning * into m;
  perform dispatch.thread_ended(m);
  perform dispatch.announce(m, p_status);
end
$$;

-- A message of a thread has ended: its root's ts is noted, and the next one need not wait.
create function dispatch.thread_ended(m dispatch.message_requests) returns void
language plpgsql as $$
begin
  if m.thread_key is null then return; end if;
  if m.status = 'sent' then
    update dispatch.threads set root_ts = m.provider_ts, updated_at = now()
     where tenant_id = m.tenant_id and channel_code = m.channel_code
       and thread_key = m.thread_key and root_id = m.id and root_ts is null;
  end if;
  update dispatch.message_requests n
     set next_attempt_at = greatest(now(), n.send_at)
   where n.tenant_id = m.tenant_id and n.id = (
     select e.id from dispatch.message_requests e
      where e.tenant_id = m.tenant_id and e.channel_code = m.channel_code
        and e.thread_key = m.thread_key and e.thread_pos > m.thread_pos
        and e.status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown')
      order by e.thread_pos limit 1)
     and n.status in ('accepted', 'dispatched') and n.next_attempt_at > now();
end
$$;

-- Puts a request off that cannot be sent now: no slot, no lock, a pause. No attempt is spent. Returns
-- for how many ms; null when it is not waiting any more.
--
-- p_is_paused: the reason is a pause that was seen a moment ago. It may have ended since, and whoever
-- ended it has let go what it held then: the row's lock settles who comes first.
create function dispatch.postpone(
  p_tenant uuid, p_id uuid, p_generation int, p_wait interval, p_reason text, p_is_paused boolean
) returns bigint language plpgsql as $$
declare
  m dispatch.message_requests;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id and generation = p_generation
     and status in ('accepted', 'dispatched', 'retry_wait') for update;
  if not found then return null; end if;
  if p_is_paused
    and not exists (select 1 from dispatch.pause_of(p_tenant, m.channel_code, m.template_code))
  then
    p_wait := interval '1 ms';
    p_reason := null;
  end if;
  update dispatch.message_requests
     set next_attempt_at = now() + p_wait, job_due_at = now() + p_wait,
         last_error = coalesce(p_reason, last_error), updated_at = now()
   where tenant_id = p_tenant and id = p_id;
  return ceil(extract(epoch from p_wait) * 1000)::bigint;
end
$$;

-- The one commit before the first byte: whoever gets `begun` may send, nobody else. The rate slot
-- was reserved before. Returns {begun: bool, status, attempts, thread_ts?, wait_ms?}; `wait_ms` says
-- when asking again makes sense.
create function dispatch.begin_send(
  p_tenant uuid, p_id uuid, p_generation int, p_token uuid, p_lease interval
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  t dispatch.threads;
  thread text;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id for update;
  if not found then return '{"begun": false, "status": "", "attempts": 0}'; end if;
  if m.status not in ('accepted', 'dispatched', 'retry_wait') or m.generation <> p_generation
    or m.next_attempt_at > now() or m.cancel_requested or m.deadline_at <= now()
  then
    return jsonb_build_object('begun', false, 'status', m.status, 'attempts', m.attempts,
      'wait_ms', case
        when m.generation <> p_generation or m.cancel_requested then null
        when m.status = 'sending'
          then greatest(100, extract(epoch from m.lease_until - now()) * 1000)::bigint
        when m.status in ('accepted', 'dispatched', 'retry_wait') and m.next_attempt_at > now()
          then ceil(extract(epoch from m.next_attempt_at - now()) * 1000)::bigint end);
  end if;
  if dispatch.waits_for_thread(m) then
    return jsonb_build_object('begun', false, 'status', m.status, 'attempts', m.attempts,
      'wait_ms', 1000);
  end if;
  thread := m.thread_ts;
  if m.thread_key is not null and thread is null then
    select * into t from dispatch.threads where tenant_id = p_tenant
      and channel_code = m.channel_code and thread_key = m.thread_key for update;
    if found and t.root_id <> m.id then
      thread := t.root_ts;
      if thread is null and m.on_root_failed = 'fail' then
        perform dispatch.finish_waiting(m, 'failed', 'root_failed');
        return jsonb_build_object('begun', false, 'status', 'failed', 'attempts', m.attempts);
      elsif thread is null then
        update dispatch.threads set root_id = m.id where tenant_id = p_tenant
          and channel_code = m.channel_code and thread_key = m.thread_key;
      end if;
    end if;
  end if;
  update dispatch.message_requests
     set status = 'sending', attempt_token = p_token, lease_until = now() + p_lease,
         bytes_out = true, attempts = attempts + 1, begun_at = coalesce(begun_at, now()),
         thread_ts = thread, updated_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id;
  return jsonb_build_object('begun', true, 'status', 'sending', 'attempts', m.attempts + 1,
    'thread_ts', thread);
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
         job_due_at = case when final = 'retry_wait' then now() + p_wait else job_due_at end,
         unknown_since = case when final = 'unknown' then now() else unknown_since end,
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
  perform dispatch.thread_ended(m) where m.finished_at is not null;
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
     where status in ('accepted', 'dispatched', 'retry_wait') and deadline_at <= now()
       and paused_since is null
     order by deadline_at limit p_limit for update skip locked
  loop
    perform dispatch.finish_waiting(m, 'expired', 'the deadline passed before it could be sent');
    count := count + 1;
  end loop;
  return count;
end
$$;

-- Settles what is unknown: by looking at the provider, by the channel's policy, or by a person.
-- p_to: sent (it was there, with its ts) | retry_wait (surely absent, or the policy says resend) |
--   failed. `p_fence` is the attempt that was looked for: a look that another attempt has overtaken
--   decides nothing; null for a person. Nothing happens to a request that is not unknown. A retry ends as cancelled when that
--   was asked for meanwhile, and as failed when no attempt is left.
-- Returns the request, or null when it is not there or not unknown.
create function dispatch.settle_unknown(
  p_tenant uuid, p_id uuid, p_generation int, p_to text, p_provider_ts text, p_error text,
  p_fence uuid, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  before jsonb;
  final text := p_to;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id and generation = p_generation and status = 'unknown'
     and (p_fence is null or attempt_token = p_fence)
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
         bytes_out = (final = 'sent'), attempt_token = null, verified_at = now(),
         next_attempt_at = now(), job_due_at = null, updated_at = now(), version = version + 1,
         finished_at = case when final in ('sent', 'failed', 'cancelled') then now() end
   where tenant_id = p_tenant and id = p_id
  returning * into m;
  if p_actor is not null then
    perform platform.note_audit(p_tenant, p_actor, 'message_request.settle', p_id::text, before,
      dispatch.request_json(m, false), p_reason, p_request);
  end if;
  perform dispatch.thread_ended(m) where m.finished_at is not null;
  perform dispatch.announce(m, case final when 'retry_wait' then 'retrying' else final end);
  return dispatch.request_json(m, true);
end
$$;

-- Stops a request. Returns {result: cancelled|requested|already|too_late, request}, or null when
-- there is none. While it is being sent, or nobody knows whether it was, the wish is noted: should it
-- turn out not to have been sent, it ends cancelled.
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
  case
    when m.status in ('accepted', 'dispatched', 'retry_wait') then
      perform dispatch.finish_waiting(m, 'cancelled', null);
      outcome := 'cancelled';
    when m.status in ('sending', 'unknown') then
      update dispatch.message_requests
         set cancel_requested = true, updated_at = now(), version = version + 1
       where tenant_id = p_tenant and id = p_id;
      outcome := 'requested';
    when m.status = 'cancelled' then outcome := 'already';
    else outcome := 'too_late';
  end case;
  select * into m from dispatch.message_requests where tenant_id = p_tenant and id = p_id;
  if outcome in ('cancelled', 'requested') then
    perform platform.note_audit(p_tenant, p_actor, 'message_request.cancel', p_id::text, before,
      dispatch.request_json(m, false), p_reason, p_request);
  end if;
  return jsonb_build_object('result', outcome, 'request', dispatch.request_json(m, true));
end
$$;

-- Stops all requests of a cancellation key that have not ended, `p_limit` at most.
-- Returns {cancelled, requested, too_late}: how many of each.
create function dispatch.cancel_key(
  p_tenant uuid, p_key text, p_limit int, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  target uuid;
  outcome text;
  counts jsonb := '{"cancelled": 0, "requested": 0, "too_late": 0}';
begin
  for target in
    select id from dispatch.message_requests
     where tenant_id = p_tenant and cancellation_key = p_key and status <> 'cancelled'
       and not cancel_requested
     order by id limit p_limit
  loop
    outcome := dispatch.cancel(p_tenant, target, p_actor, p_reason, p_request)->>'result';
    if counts ? outcome then
      counts := jsonb_set(counts, array[outcome], to_jsonb((counts->>outcome)::int + 1));
    end if;
  end loop;
  return counts;
end
$$;

-- Begins a new generation of a request that has ended; what was sent before stays in its attempts.
create function dispatch.renew(m dispatch.message_requests, p_at timestamptz)
returns dispatch.message_requests language plpgsql as $$
begin
  update dispatch.message_requests
     set status = 'accepted', generation = generation + 1, attempts = 0, attempt_token = null,
         lease_until = null, bytes_out = false, cancel_requested = false, begun_at = null,
         unknown_since = null, verified_at = null, provider_ts = null, finished_at = null,
         deadline_at = null, paused_since = null, next_attempt_at = p_at, job_due_at = null,
         last_error = null,
         sort_key = dispatch.sort_key(priority, p_at, null), updated_at = now(),
         version = version + 1
   where tenant_id = m.tenant_id and id = m.id
  returning * into m;
  perform dispatch.announce_accepted(m);
  return m;
end
$$;

-- Sends once more what has ended, as a new generation. What was sent or may have been needs
-- `p_force`. Returns {result: renewed|needs_force|not_ended, request}, or null.
create function dispatch.resend(
  p_tenant uuid, p_id uuid, p_force boolean, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  before jsonb;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id for update;
  if not found then return null; end if;
  before := dispatch.request_json(m, false);
  if m.status not in ('failed', 'cancelled', 'expired', 'sent', 'unknown') then
    return jsonb_build_object('result', 'not_ended', 'request', before);
  elsif m.status in ('sent', 'unknown') and not p_force then
    return jsonb_build_object('result', 'needs_force', 'request', before);
  end if;
  m := dispatch.renew(m, now());
  perform platform.note_audit(p_tenant, p_actor, 'message_request.resend', p_id::text, before,
    dispatch.request_json(m, false), p_reason, p_request);
  return jsonb_build_object('result', 'renewed', 'request', dispatch.request_json(m, true));
end
$$;

-- Has a request tried at once: one that waits, or one that failed (as a new generation).
-- Returns {result: due|renewed|not_waiting, request}, or null.
create function dispatch.retry(
  p_tenant uuid, p_id uuid, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  before jsonb;
  outcome text := 'due';
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id for update;
  if not found then return null; end if;
  before := dispatch.request_json(m, false);
  if m.status = 'failed' then
    m := dispatch.renew(m, now());
    outcome := 'renewed';
  elsif m.status in ('accepted', 'dispatched', 'retry_wait') then
    update dispatch.message_requests
       set next_attempt_at = now(), updated_at = now(), version = version + 1
     where tenant_id = p_tenant and id = p_id
    returning * into m;
  else
    return jsonb_build_object('result', 'not_waiting', 'request', before);
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'message_request.retry', p_id::text, before,
    dispatch.request_json(m, false), p_reason, p_request);
  return jsonb_build_object('result', outcome, 'request', dispatch.request_json(m, true));
end
$$;

-- The requests that a filter {status, error, channel_code, template_code, from, to} names.
create function dispatch.replayable(p_tenant uuid, p jsonb)
returns setof dispatch.message_requests language sql stable as $$
  select * from dispatch.message_requests m
   where m.tenant_id = p_tenant and m.status = coalesce(p->>'status', 'failed')
     and m.status in ('failed', 'cancelled', 'expired')
     and (p->>'error' is null or m.last_error = p->>'error')
     and (p->>'channel_code' is null or m.channel_code = p->>'channel_code')
     and (p->>'template_code' is null or m.template_code = p->>'template_code')
     and (p->>'from' is null or m.created_at >= (p->>'from')::timestamptz)
     and (p->>'to' is null or m.created_at < (p->>'to')::timestamptz)
$$;

-- What failed, by cause: {items: [{status, error, channel_code, count, oldest_at, newest_at,
-- sample}]}, the most frequent first.
create function dispatch.causes(p_tenant uuid, p jsonb) returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(to_jsonb(g) order by g.count desc, g.error), '[]')
    from (select m.status, m.last_error as error, m.channel_code, count(*) as count,
                 platform.rfc3339(min(m.finished_at)) as oldest_at,
                 platform.rfc3339(max(m.finished_at)) as newest_at,
                 min(m.id::text) as sample
            from dispatch.replayable(p_tenant, p) m
           group by m.status, m.last_error, m.channel_code
           order by count(*) desc limit 200) g
$$;

-- Sends once more all that a filter names, `p_limit` at most, spread to `p_per_second`; what is
-- asked for later queues behind it. Returns {replayed, last_at}.
create function dispatch.replay(
  p_tenant uuid, p jsonb, p_per_second float8, p_limit int, p_actor text, p_reason text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  at timestamptz;
  count int := 0;
begin
  insert into dispatch.policies (tenant_id) values (p_tenant) on conflict do nothing;
  select greatest(now(), replay_until) into at
    from dispatch.policies where tenant_id = p_tenant for update;
  for m in select r.* from dispatch.message_requests r
    where (r.tenant_id, r.id) in (select x.tenant_id, x.id from dispatch.replayable(p_tenant, p) x
                                   order by x.id limit p_limit)
    order by r.id for update skip locked
  loop
    continue when m.status not in ('failed', 'cancelled', 'expired');
    perform dispatch.renew(m, at);
    at := at + interval '1 second' / p_per_second;
    count := count + 1;
  end loop;
  update dispatch.policies set replay_until = at where tenant_id = p_tenant;
  perform platform.note_audit(p_tenant, p_actor, 'message_request.replay', 'filter', p,
    jsonb_build_object('replayed', count, 'per_second', p_per_second), p_reason, p_request);
  return jsonb_build_object('replayed', count,
    'last_at', case when count > 0
      then platform.rfc3339(at - interval '1 second' / p_per_second) end);
end
$$;

-- The waiting requests that a pause holds.
create function dispatch.held_by(x dispatch.pauses)
returns setof dispatch.message_requests language sql stable as $$
  select m.* from dispatch.message_requests m
   where m.status in ('accepted', 'dispatched', 'retry_wait')
     and (x.scope = 'all' or m.tenant_id = x.tenant_id)
     and case x.scope when 'channel' then m.channel_code = x.code
                      when 'template' then m.template_code = x.code
                      when 'workspace' then m.channel_code in (
                        select c.code from dispatch.channels c
                         where c.tenant_id = x.tenant_id and c.workspace_code = x.code)
                      else true end
$$;

create function dispatch.pause_json(x dispatch.pauses) returns jsonb language sql stable as $$
  select jsonb_build_object('id', x.id,
    'scope', jsonb_build_object('kind', x.scope, 'code', x.code), 'reason', x.reason,
    'author', x.author, 'uses_deadlines', x.uses_deadlines,
    'created_at', platform.rfc3339(x.created_at), 'expires_at', platform.rfc3339(x.expires_at),
    'ended_at', platform.rfc3339(x.ended_at))
$$;

-- Stops sending in a scope; the deadlines of what waits in it stand still. Returns the pause.
create function dispatch.pause(
  p_tenant uuid, p_scope text, p_code text, p_reason text, p_uses_deadlines boolean,
  p_expires timestamptz, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  x dispatch.pauses;
begin
  insert into dispatch.pauses
    (tenant_id, scope, code, reason, author, uses_deadlines, expires_at)
  values (case when p_scope = 'all' then '00000000-0000-0000-0000-000000000000' else p_tenant end,
    p_scope, p_code, p_reason, p_actor, p_uses_deadlines, p_expires)
  returning * into x;
  if not p_uses_deadlines then
    update dispatch.message_requests m set paused_since = now()
      from dispatch.held_by(x) h
     where m.tenant_id = h.tenant_id and m.id = h.id and m.deadline_at is not null
       and m.paused_since is null;
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'pause', x.id::text, null,
    dispatch.pause_json(x), p_reason, p_request);
  return dispatch.pause_json(x);
end
$$;

-- Ends a pause: what it held can go at once, and gets its time back. Returns the pause, or null.
create function dispatch.end_pause(p_tenant uuid, p_id uuid, p_actor text, p_request text)
returns jsonb language plpgsql as $$
declare
  x dispatch.pauses;
begin
  update dispatch.pauses set ended_at = now(), ended_by = p_actor
   where tenant_id = p_tenant and id = p_id and ended_at is null
  returning * into x;
  if not found then return null; end if;
  if x.scope = 'workspace' then
    update dispatch.workspaces set paused_reason = null, updated_at = now()
     where tenant_id = p_tenant and code = x.code and paused_reason is not null
       and not exists (select 1 from dispatch.pauses y where y.tenant_id = p_tenant
                        and y.scope = 'workspace' and y.code = x.code and y.ended_at is null);
  end if;
  update dispatch.message_requests m
     set deadline_at = m.deadline_at + coalesce(now() - m.paused_since, interval '0'),
         paused_since = null,
         next_attempt_at = least(m.next_attempt_at, greatest(now(), m.send_at)),
         updated_at = now()
    from dispatch.held_by(x) h
   where m.tenant_id = h.tenant_id and m.id = h.id
     and not exists (select 1 from dispatch.pause_of(m.tenant_id, m.channel_code, m.template_code));
  perform platform.note_audit(p_tenant, p_actor, 'pause.end', x.id::text, null,
    dispatch.pause_json(x), null, p_request);
  return dispatch.pause_json(x);
end
$$;

-- Ends pauses whose time is over. Returns how many.
create function dispatch.end_expired_pauses() returns int language plpgsql as $$
declare
  x dispatch.pauses;
  count int := 0;
begin
  for x in select * from dispatch.pauses
    where ended_at is null and expires_at <= now() for update skip locked
  loop
    perform dispatch.end_pause(x.tenant_id, x.id, 'dispatch-worker', '');
    count := count + 1;
  end loop;
  return count;
end
$$;

-- What a tenant keeps and how it is served.
create function dispatch.policy_json(p_tenant uuid) returns jsonb language sql stable as $$
  select jsonb_build_object('retention_days', coalesce(p.retention_days, 90),
    'weight', coalesce(p.weight, 1), 'max_in_flight', coalesce(p.max_in_flight, 8),
    'max_queued', coalesce(p.max_queued, 1000000))
    from (select 1) one left join dispatch.policies p on p.tenant_id = p_tenant
$$;

-- Changes what `p` names of a tenant's policy.
create function dispatch.put_policy(p_tenant uuid, p jsonb, p_actor text, p_request text)
returns jsonb language plpgsql as $$
declare
  before jsonb := dispatch.policy_json(p_tenant);
  wanted jsonb := before || p;
begin
  insert into dispatch.policies (tenant_id, retention_days, weight, max_in_flight, max_queued)
  values (p_tenant, (wanted->>'retention_days')::int, (wanted->>'weight')::int,
    (wanted->>'max_in_flight')::int, (wanted->>'max_queued')::int)
  on conflict (tenant_id) do update set retention_days = excluded.retention_days,
    weight = excluded.weight, max_in_flight = excluded.max_in_flight,
    max_queued = excluded.max_queued;
  perform platform.note_audit(p_tenant, p_actor, 'policy.put', 'dispatch', before,
    dispatch.policy_json(p_tenant), null, p_request);
  return dispatch.policy_json(p_tenant);
end
$$;

-- How many requests of a tenant are in each state; ended ones of the last day.
create function dispatch.queue_json(p_tenant uuid, p_code text) returns jsonb
language sql stable as $$
  select jsonb_build_object('tenant', p_code,
    'waiting', count(*) filter (where s in ('accepted', 'dispatched') and due),
    'delayed', count(*) filter (where s = 'retry_wait'
                                   or s in ('accepted', 'dispatched') and not due),
    'active', count(*) filter (where s = 'sending'),
    'unknown', count(*) filter (where s = 'unknown'),
    'failed', (select count(*) from dispatch.message_requests f where f.tenant_id = p_tenant
                and f.status = 'failed' and f.finished_at > now() - interval '1 day'),
    'completed', (select count(*) from dispatch.message_requests f where f.tenant_id = p_tenant
                and f.status = 'sent' and f.finished_at > now() - interval '1 day'),
    'oldest_age_ms', (extract(epoch from now() - min(at) filter (where due)) * 1000)::bigint)
    from (select m.status as s, m.next_attempt_at <= now() as due,
                 greatest(m.created_at, m.send_at) as at
            from dispatch.message_requests m
           where m.tenant_id = p_tenant
             and m.status not in ('sent', 'failed', 'cancelled', 'expired')) q
$$;

-- Deletes what ended longer ago than its tenant keeps it, `p_limit` at most. Returns how many.
create function dispatch.clean_up(p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  with old as (
    select m.tenant_id, m.id from dispatch.message_requests m
      left join dispatch.policies p on p.tenant_id = m.tenant_id
     where m.finished_at < now() - interval '1 day'
       and m.finished_at < now() - make_interval(days => coalesce(p.retention_days, 90))
     order by m.finished_at limit p_limit for update of m skip locked),
  outbox as (
    delete from dispatch.local_outbox o using old
     where o.tenant_id = old.tenant_id and o.message_request_id = old.id),
  deleted as (
    delete from dispatch.message_requests m using old
     where m.tenant_id = old.tenant_id and m.id = old.id
    returning 1)
  select count(*) into gone from deleted;
  delete from dispatch.threads t
   where (t.tenant_id, t.channel_code, t.thread_key) in (
     select o.tenant_id, o.channel_code, o.thread_key from dispatch.threads o
      where o.updated_at < now() - interval '90 days'
        and not exists (select 1 from dispatch.message_requests m where m.tenant_id = o.tenant_id
              and m.channel_code = o.channel_code and m.thread_key = o.thread_key
              and m.status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown'))
      order by o.updated_at limit p_limit);
  delete from dispatch.webhook_deliveries d where (d.tenant_id, d.id) in (
    select o.tenant_id, o.id from dispatch.webhook_deliveries o
     where o.finished_at < now() - interval '7 days' order by o.finished_at limit p_limit);
  delete from dispatch.workers where seen_at < now() - interval '1 minute';
  return gone;
end
$$;

create function dispatch.webhook_json(w dispatch.webhooks) returns jsonb
language sql stable as $$
  select jsonb_build_object('code', w.code, 'url', w.url, 'events', to_jsonb(w.events),
    'secret', '***', 'failing_since', platform.rfc3339(w.failing_since),
    'disabled_at', platform.rfc3339(w.disabled_at), 'disabled_reason', w.disabled_reason,
    'created_at', platform.rfc3339(w.created_at), 'updated_at', platform.rfc3339(w.updated_at))
$$;

-- Makes or changes a webhook; one that was disabled works again. `p_secret` {key_id, sealed} is
-- sealed already; null keeps the one that is there. Returns {created, webhook}, or {missing: secret}.
create function dispatch.put_webhook(
  p_tenant uuid, p_code text, p_url text, p_events text[], p_secret jsonb, p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  old dispatch.webhooks;
  w dispatch.webhooks;
begin
  select * into old from dispatch.webhooks where tenant_id = p_tenant and code = p_code for update;
  if p_secret is null and old.code is null then return '{"missing": "secret"}'; end if;
  if p_secret is not null then
    insert into platform.secrets (tenant_id, kind, ref, key_id, sealed)
    values (p_tenant, 'webhook', p_code, p_secret->>'key_id',
      decode(p_secret->>'sealed', 'base64'))
    on conflict (tenant_id, kind, ref) do update
      set key_id = excluded.key_id, sealed = excluded.sealed, updated_at = now();
  end if;
  insert into dispatch.webhooks (tenant_id, code, url, events)
  values (p_tenant, p_code, p_url, p_events)
  on conflict (tenant_id, code) do update
    set url = excluded.url, events = excluded.events, failing_since = null, disabled_at = null,
        disabled_reason = null, updated_at = now()
  returning * into w;
  perform platform.note_audit(p_tenant, p_actor, 'webhook.put', p_code,
    case when old.code is null then null else dispatch.webhook_json(old) end,
    dispatch.webhook_json(w), null, p_request);
  return jsonb_build_object('created', old.code is null, 'webhook', dispatch.webhook_json(w));
end
$$;

-- Takes due deliveries for `p_lease`, each with where it goes and what signs it.
create function dispatch.take_webhooks(p_limit int, p_lease interval)
returns table (tenant_id uuid, tenant text, id uuid, webhook_code text, event text, body text,
               attempts int, url text, key_id text, sealed bytea)
language sql as $$
  with due as (
    select d.tenant_id, d.id from dispatch.webhook_deliveries d
     where d.status = 'pending' and d.next_attempt_at <= now()
       and (d.lease_until is null or d.lease_until < now())
     order by d.next_attempt_at limit p_limit for update skip locked),
  taken as (
    update dispatch.webhook_deliveries d
       set lease_until = now() + p_lease, attempts = d.attempts + 1
      from due where d.tenant_id = due.tenant_id and d.id = due.id
    returning d.*)
  select t.tenant_id, n.code, t.id, t.webhook_code, t.event,
         jsonb_build_object('id', t.id, 'type', t.event,
           'timestamp', platform.rfc3339(t.created_at), 'data', t.body)::text,
         t.attempts, w.url, s.key_id, s.sealed
    from taken t
    join dispatch.webhooks w on w.tenant_id = t.tenant_id and w.code = t.webhook_code
    join platform.tenants n on n.id = t.tenant_id
    join platform.secrets s
      on s.tenant_id = t.tenant_id and s.kind = 'webhook' and s.ref = t.webhook_code
$$;

-- Records how a delivery ended. One that failed comes again after `p_wait` until it is `p_give_up`
-- old; an endpoint that took nothing for so long is disabled, which is an event of its own.
create function dispatch.finish_webhook(
  p_tenant uuid, p_id uuid, p_delivered boolean, p_http int, p_error text, p_wait interval,
  p_give_up interval
) returns text language plpgsql as $$
declare
  d dispatch.webhook_deliveries;
  w dispatch.webhooks;
begin
  update dispatch.webhook_deliveries x
     set status = case when p_delivered then 'delivered'
                       when x.created_at < now() - p_give_up then 'failed' else 'pending' end,
         finished_at = case when p_delivered or x.created_at < now() - p_give_up then now() end,
         next_attempt_at = now() + p_wait, lease_until = null, http_status = p_http,
         last_error = p_error
   where tenant_id = p_tenant and id = p_id and status = 'pending'
  returning * into d;
  if not found then return 'gone'; end if;
  update dispatch.webhooks x
     set failing_since = case when p_delivered then null else coalesce(x.failing_since, now()) end,
         disabled_at = case when not p_delivered and x.failing_since < now() - p_give_up
                            then coalesce(x.disabled_at, now()) else x.disabled_at end,
         disabled_reason = case when not p_delivered and x.failing_since < now() - p_give_up
                                then coalesce(x.disabled_reason, p_error)
                                else x.disabled_reason end
   where tenant_id = p_tenant and code = d.webhook_code
     and (not p_delivered or x.failing_since is not null)
  returning * into w;
  if w.disabled_at = now() then
    perform platform.emit('dispatch-worker', p_tenant,
      (select code from platform.tenants where id = p_tenant), 'webhook.disabled', w.code, 0,
      dispatch.webhook_json(w));
    update dispatch.webhook_deliveries set status = 'failed', finished_at = now()
     where tenant_id = p_tenant and webhook_code = w.code and status = 'pending';
    return 'disabled';
  end if;
  return d.status;
end
$$;

-- Makes the next version of a template. Returns {created, template}.
create function dispatch.put_template(
  p_tenant uuid, p_code text, p_text text, p_blocks jsonb, p_variables text[], p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  t dispatch.templates;
begin
  perform pg_advisory_xact_lock(hashtextextended('dispatch.templates|' || p_tenant || p_code, 7));
  insert into dispatch.templates
    (tenant_id, code, version, text, blocks, variables, created_by)
  values (p_tenant, p_code, coalesce((select max(version) from dispatch.templates
      where tenant_id = p_tenant and code = p_code), 0) + 1, p_text, p_blocks, p_variables, p_actor)
  returning * into t;
  perform platform.note_audit(p_tenant, p_actor, 'template.put', p_code, null,
    dispatch.template_json(t), null, p_request);
  return jsonb_build_object('created', t.version = 1, 'template', dispatch.template_json(t));
end
$$;

create function dispatch.template_json(t dispatch.templates) returns jsonb
language sql stable as $$
  select jsonb_build_object('code', t.code, 'version', t.version, 'text', t.text,
    'blocks', t.blocks, 'variables', to_jsonb(t.variables),
    'created_at', platform.rfc3339(t.created_at))
$$;

-- A process that sends says that it lives.
create function dispatch.worker_seen(
  p_id text, p_state text, p_concurrency int, p_in_flight int, p_sent bigint, p_failed bigint
) returns void language sql as $$
  insert into dispatch.workers (id, state, concurrency, in_flight, sent, failed)
  values (p_id, p_state, p_concurrency, p_in_flight, p_sent, p_failed)
  on conflict (id) do update set seen_at = now(), state = excluded.state,
    concurrency = excluded.concurrency, in_flight = excluded.in_flight, sent = excluded.sent,
    failed = excluded.failed
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

-- Stops sending for a workspace whose token no longer works, until it is configured again, a probe
-- finds it well, or a person ends the pause. True when it was not stopped before.
create function dispatch.pause_workspace(
  p_tenant uuid, p_tenant_code text, p_code text, p_reason text, p_probe interval
) returns boolean language plpgsql as $$
declare
  pause uuid;
begin
  update dispatch.workspaces
     set paused_reason = p_reason, updated_at = now(), version = version + 1
   where tenant_id = p_tenant and code = p_code and paused_reason is null;
  if not found then return false; end if;
  pause := (dispatch.pause(p_tenant, 'workspace', p_code, p_reason, false, null,
    'dispatch-worker', '')->>'id')::uuid;
  perform platform.set_timer('dispatch-worker', p_tenant, p_tenant_code, 'workspace_probe', pause,
    0, now() + p_probe, '{}');
  return true;
end
$$;

create function dispatch.channel_json(c dispatch.channels) returns jsonb language sql stable as $$
  select jsonb_build_object('code', c.code, 'workspace_code', c.workspace_code,
    'provider_channel_id', c.provider_channel_id, 'unknown_policy', c.unknown_policy,
    'rate', jsonb_build_object('per_second', c.rate_per_second, 'burst', c.rate_burst),
    'quiet_hours', case when c.quiet_tz is not null then jsonb_build_object('tz', c.quiet_tz,
      'from', to_char(c.quiet_from, 'HH24:MI'), 'to', to_char(c.quiet_to, 'HH24:MI')) end,
    'created_at', platform.rfc3339(c.created_at), 'updated_at', platform.rfc3339(c.updated_at))
$$;

-- Makes or changes a channel, and tells messaging of it. `p_quiet` {tz, from, to} sets its quiet
-- hours, {} ends them, null keeps them. Returns {created, channel}, {missing: workspace} or
-- {missing: tz}.
create function dispatch.put_channel(
  p_tenant uuid, p_tenant_code text, p_code text, p_workspace text, p_provider_channel text,
  p_policy text, p_per_second float8, p_burst int, p_quiet jsonb, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old dispatch.channels;
  c dispatch.channels;
  w dispatch.workspaces;
  data jsonb;
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
           quiet_to = (p_quiet->>'to')::time
     where tenant_id = p_tenant and code = p_code
    returning * into c;
    update dispatch.message_requests
       set next_attempt_at = least(next_attempt_at, greatest(now(), send_at)), updated_at = now()
     where tenant_id = p_tenant and channel_code = p_code and last_error = 'quiet_hours'
       and status in ('accepted', 'dispatched', 'retry_wait');
  end if;
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
