-- Sending at a higher rate: one commit for whatever of many attempts is to be recorded at the same
-- moment, and no wait for the disk where a crash of the database costs nothing but a second look.

-- What is told of a request.
create function dispatch.news(m dispatch.message_requests) returns jsonb
language sql immutable as $$
  select jsonb_build_object('id', m.id, 'status', m.status, 'generation', m.generation,
    'channel_code', m.channel_code, 'provider_ts', m.provider_ts, 'error', m.last_error,
    'metadata', m.metadata, 'version', m.version)
$$;

-- Tells everybody who wants to know what happened to message requests. Who asked for one is told of
-- all but its first way to the queue: to them it is still on its way, as it was.
create function dispatch.announce_many(p_requests dispatch.message_requests[], p_event text)
returns void language plpgsql as $$
declare
  name text := 'message_request.' || p_event;
begin
  insert into platform.outbox (source, tenant_id, tenant, kind, target, key, key_version, payload)
  select 'dispatch-worker', m.tenant_id, m.tenant, 'event', name, m.id::text, m.version,
         dispatch.news(m)
    from unnest(p_requests) m;
  insert into dispatch.webhook_deliveries (tenant_id, webhook_code, event, body)
  select m.tenant_id, w.code, name, dispatch.news(m)
    from unnest(p_requests) m join dispatch.webhooks w on w.tenant_id = m.tenant_id
   where w.disabled_at is null and name = any (w.events);
  perform platform.enqueue_call('dispatch-worker', m.tenant_id, m.tenant, m.report_to,
      '/v1/internal/delivery', m.id::text, m.version, jsonb_build_object(
        'message_request_id', m.id, 'generation', m.generation, 'version', m.version,
        'status', m.status, 'provider_ts', m.provider_ts, 'error', m.last_error),
      gen_random_uuid())
    from unnest(p_requests) m
   where m.report_to is not null and (p_event <> 'dispatched' or m.generation > 1);
end
$$;

create or replace function dispatch.announce(m dispatch.message_requests, p_event text)
returns void language plpgsql as $$
begin
  perform dispatch.announce_many(array[m], p_event);
end
$$;

-- The steps in what `step_sends` is given, each with its place (from 1) and whether it is the only one
-- of its request.
create function dispatch.steps(p_steps jsonb)
returns table (tenant_id uuid, id uuid, token uuid, generation int, status text, provider_ts text,
               error text, http_status int, retry_after_ms bigint, wait_ms bigint, counts boolean,
               took_ms float8, place int, is_single boolean)
language sql immutable as $$
  select u.tenant_id, u.id, u.token, u.generation, u.status, u.provider_ts, u.error, u.http_status,
         u.retry_after_ms, u.wait_ms, u.counts, u.took_ms, u.place::int,
         count(*) over (partition by u.tenant_id, u.id) = 1
    from rows from (jsonb_to_recordset(p_steps) as (tenant_id uuid, id uuid, token uuid,
        generation int, status text, provider_ts text, error text, http_status int,
        retry_after_ms bigint, wait_ms bigint, counts boolean, took_ms float8)) with ordinality
      as u (tenant_id, id, token, generation, status, provider_ts, error, http_status,
            retry_after_ms, wait_ms, counts, took_ms, place)
$$;

-- Records steps of many attempts in one commit, each an object with the tenant's and the request's id
-- and the attempt's token. One without a status is to begin: what `begin_send` is given; one with a
-- status has ended: what `finish_send` is given. Returns a row for each, with its `place`.
--
-- Most are beginnings and messages that were sent, outside of threads: all of these are one statement
-- each, for to start a statement costs more than a row of it. The settings keep its plan one by the
-- keys even when it is made while the table is empty.
create function dispatch.step_sends(p_steps jsonb, p_lease interval)
returns table (place int, answer jsonb) language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  asked record;
  starts int[] := '{}';
  ends int[] := '{}';
  seen int[] := '{}';
  sent dispatch.message_requests[];
begin
  -- Locked in the order of the keys: two callers never wait for each other.
  for asked in
    select u.*, m.status as has, m.generation as current, m.attempt_token as owner,
           u.is_single and m.thread_key is null as is_alone,
           m.next_attempt_at <= now() and not m.cancel_requested
             and (m.deadline_at is null or m.deadline_at > now()) as is_due
      from dispatch.steps(p_steps) u
      join dispatch.message_requests m on m.tenant_id = u.tenant_id and m.id = u.id
     order by u.tenant_id, u.id, u.place for update of m
  loop
    seen := seen || asked.place;
    if asked.status is null and asked.is_alone and asked.is_due
      and asked.current = asked.generation and asked.has in ('accepted', 'dispatched', 'retry_wait')
    then
      starts := starts || asked.place;
    elsif asked.status = 'sent' and asked.is_alone and asked.counts and asked.owner = asked.token
      and asked.has in ('sending', 'unknown')
    then
      ends := ends || asked.place;
    else
      return query select asked.place, case when asked.status is null
        then dispatch.begin_send(asked.tenant_id, asked.id, asked.generation, asked.token, p_lease)
        else dispatch.finish_send(asked.tenant_id, asked.id, asked.token, asked.status,
          asked.provider_ts, asked.error, asked.http_status, asked.retry_after_ms,
          asked.wait_ms * interval '1 ms', asked.counts, asked.took_ms) end;
    end if;
  end loop;
  -- Requests that are not there.
  return query select u.place, case when u.status is null
      then '{"begun": false, "status": "", "attempts": 0}'::jsonb
      else '{"recorded": false, "status": null}' end
    from dispatch.steps(p_steps) u where u.place <> all (seen);
  if starts <> '{}' then
    return query update dispatch.message_requests m
         set status = 'sending', attempt_token = u.token, lease_until = now() + p_lease,
             bytes_out = true, attempts = attempts + 1, begun_at = coalesce(begun_at, now()),
             parked_at = null, updated_at = now(), version = version + 1
        from dispatch.steps(p_steps) u
       where u.place = any (starts) and m.tenant_id = u.tenant_id and m.id = u.id
      returning u.place, jsonb_build_object('begun', true, 'status', 'sending', 'attempts',
        m.attempts, 'thread_ts', m.thread_ts);
  end if;
  if ends <> '{}' then
    with ended as (
      update dispatch.message_requests m
         set status = 'sent', provider_ts = coalesce(u.provider_ts, m.provider_ts),
             last_error = u.error, bytes_out = true, lease_until = null, attempt_token = null,
             finished_at = now(), updated_at = now(), version = version + 1
        from dispatch.steps(p_steps) u
       where u.place = any (ends) and m.tenant_id = u.tenant_id and m.id = u.id
      returning m as request, u.token, u.error, u.http_status, u.retry_after_ms, u.took_ms),
    noted as (
      insert into dispatch.attempts
        (tenant_id, message_request_id, generation, n, token, status, error, http_status,
         retry_after_ms, took_ms)
      select (e.request).tenant_id, (e.request).id, (e.request).generation, (e.request).attempts,
             e.token, 'sent', e.error, e.http_status, e.retry_after_ms, e.took_ms from ended e)
    select array_agg(e.request) into sent from ended e;
    perform dispatch.announce_many(sent, 'sent');
    return query select unnest(ends), '{"recorded": true, "status": "sent"}'::jsonb;
  end if;
end
$$;

drop function dispatch.begin_sends(uuid[], uuid[], int[], uuid[], interval);
drop function dispatch.finish_sends(jsonb);

-- `postpone` of many in one commit, each an object of its arguments but the last; returns for how many
-- ms, in their order.
--
-- What a crash of the database loses of it is only that the request was not due before its job comes,
-- so nobody waits for the disk; unless it rests for long, when something else may bring it forward.
create function dispatch.postpone_many(p_requests jsonb, p_parked_wait interval)
returns table (place int, wait_ms bigint) language plpgsql as $$
declare
  asked record;
  is_short boolean := true;
begin
  for asked in
    select * from rows from (jsonb_to_recordset(p_requests) as (tenant_id uuid, id uuid,
        generation int, wait_ms bigint, reason text, kind text)) with ordinality
      as u (tenant_id, id, generation, wait_ms, reason, kind, n) order by u.tenant_id, u.id
  loop
    place := asked.n;
    wait_ms := dispatch.postpone(asked.tenant_id, asked.id, asked.generation,
      asked.wait_ms * interval '1 ms', asked.reason, asked.kind, p_parked_wait);
    is_short := is_short and coalesce(wait_ms, 0) <= 60000;
    return next;
  end loop;
  if is_short then perform set_config('synchronous_commit', 'off', true); end if;
end
$$;

-- Dispatch once: accepted -> dispatched, many in one commit; see 0004. Its job is due when the request
-- is: one that is due later is looked for by `unqueued`, and brought forward. Nobody waits for the disk: what
-- is sent is on it before the first byte, with all that was committed before, and what is not is found
-- `accepted` after a crash and dispatched again, as the same job.
create or replace function dispatch.mark_dispatched(p_tenants uuid[], p_ids uuid[], p_generations int[])
returns table (place int, dispatched boolean, waiting boolean, due_ms bigint, rank bigint,
               answer jsonb)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  asked record;
  firsts bigint[] := '{}';
  news dispatch.message_requests[];
begin
  perform set_config('synchronous_commit', 'off', true);
  -- Locked in the order of the keys: two callers never wait for each other.
  for asked in
    select u.n, u.is_first and m.status = 'accepted' and m.generation = u.generation as is_due
      from (select x.*, row_number() over (partition by x.tenant_id, x.id order by x.n) = 1
                     as is_first
              from unnest(p_tenants, p_ids, p_generations) with ordinality
                     as x (tenant_id, id, generation, n)) u
      join dispatch.message_requests m on m.tenant_id = u.tenant_id and m.id = u.id
     order by u.tenant_id, u.id for update of m
  loop
    if asked.is_due then firsts := firsts || asked.n; end if;
  end loop;
  if firsts <> '{}' then
    with done as (
      update dispatch.message_requests m
         set status = 'dispatched', dispatched_at = now(),
             job_due_at = next_attempt_at, updated_at = now(), version = version + 1
        from unnest(p_tenants, p_ids) with ordinality as u (tenant_id, id, n)
       where u.n = any (firsts) and m.tenant_id = u.tenant_id and m.id = u.id
      returning m as request)
    select array_agg(d.request) into news from done d;
    perform dispatch.announce_many(news, 'dispatched');
  end if;
  return query select u.n::int, u.n = any (firsts),
      m.generation = u.generation and m.status in ('accepted', 'dispatched', 'retry_wait'),
      greatest(0, extract(epoch from m.next_attempt_at - now()) * 1000)::bigint,
      extract(epoch from m.sort_key)::bigint, dispatch.request_json(m, false)
    from unnest(p_tenants, p_ids, p_generations) with ordinality
           as u (tenant_id, id, generation, n)
    join dispatch.message_requests m on m.tenant_id = u.tenant_id and m.id = u.id;
end
$$;

-- These have a job now that is ready: it comes no later than they are due.
create or replace function dispatch.note_queued(p_tenants uuid[], p_ids uuid[], p_generations int[])
returns void language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  with waiting as (
    select m.tenant_id, m.id
      from unnest(p_tenants, p_ids, p_generations) as u (tenant_id, id, generation)
      join dispatch.message_requests m on m.tenant_id = u.tenant_id and m.id = u.id
     where m.generation = u.generation and m.status in ('accepted', 'dispatched', 'retry_wait')
       and m.next_attempt_at <= now()
     order by m.tenant_id, m.id for update of m skip locked)
  update dispatch.message_requests m set job_due_at = m.next_attempt_at
    from waiting w where m.tenant_id = w.tenant_id and m.id = w.id;
end
$$;

-- What sending needs of many requests: the request and how its channel is configured now. `due_ms`
-- until it is due, `thread_ms` that it should wait for its thread; `configuration` null when there is
-- no such channel. Its content only when asked for. A row for each that was asked for, in that order;
-- null where there is no such request.
create or replace function dispatch.resolve_many(p_tenants uuid[], p_ids uuid[], p_contents boolean[])
returns table (answer jsonb) language plpgsql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return query select case when m.id is not null then jsonb_build_object(
    'id', m.id, 'tenant', m.tenant, 'generation', m.generation, 'status', m.status,
    'channel_code', m.channel_code, 'attempts', m.attempts, 'attempt_token', m.attempt_token,
    'due_ms', ceil(extract(epoch from m.next_attempt_at - now()) * 1000)::bigint,
    'thread_ms', case when m.thread_key is null then 0 else dispatch.thread_wait_ms(m) end,
    'has_thread', m.thread_key is not null,
    'begun_s', extract(epoch from m.begun_at)::bigint, 'traceparent', m.traceparent,
    'unknown_ms', (extract(epoch from now() - m.unknown_since) * 1000)::bigint,
    'configuration', case when c.code is not null then jsonb_build_object(
      'workspace_code', c.workspace_code, 'provider', w.provider, 'api_base_url', w.api_base_url,
      'provider_channel_id', c.provider_channel_id, 'unknown_policy', c.unknown_policy,
      'rate_per_second', c.rate_per_second, 'rate_burst', c.rate_burst,
      'quiet_ms', case when c.quiet_tz is not null then dispatch.quiet_ms(c, now()) end,
      'pause', case when x.id is not null
        then jsonb_build_object('scope', x.scope, 'reason', x.reason) end,
      'token_key_id', s.key_id, 'token_sealed', encode(s.sealed, 'base64')) end)
    || case when u.content then jsonb_build_object('text', m.text, 'blocks', m.blocks,
      'thread_ts', m.thread_ts, 'template', jsonb_build_object('code', m.template_code),
      'priority', m.priority) else '{}' end end
    from unnest(p_tenants, p_ids, p_contents) with ordinality as u (tenant_id, id, content, n)
    left join dispatch.message_requests m on m.tenant_id = u.tenant_id and m.id = u.id
    left join dispatch.channels c on c.tenant_id = m.tenant_id and c.code = m.channel_code
    left join dispatch.workspaces w on w.tenant_id = c.tenant_id and w.code = c.workspace_code
    left join platform.secrets s
      on s.tenant_id = w.tenant_id and s.kind = 'slack_token' and s.ref = w.code
    left join lateral dispatch.pause_of(m.tenant_id, m.channel_code, m.template_code) x on true
   order by u.n;
end
$$;
drop function dispatch.resolve(uuid, uuid, boolean);
drop function dispatch.configuration(uuid, text, text);

-- Locks what a pause holds, or of it what has a deadline, in the order of the keys: so do all who lock
-- many, and never wait for each other in a circle.
create function dispatch.lock_held(x dispatch.pauses, p_deadlines boolean) returns void
language plpgsql as $$
begin
  perform m.id from dispatch.message_requests m
   where (m.tenant_id, m.id) in (select h.tenant_id, h.id from dispatch.held_by(x) h)
     and (m.deadline_at is not null or not p_deadlines)
   order by m.tenant_id, m.id for update;
end
$$;

-- Stops sending in a scope; the deadlines of what waits in it stand still. Returns the pause.
create or replace function dispatch.pause(
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
    perform dispatch.lock_held(x, true);
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

-- What is laid aside stays so when a pause ends: its turn comes as it would have.
create or replace function dispatch.end_pause(p_tenant uuid, p_id uuid, p_actor text, p_request text)
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
  perform dispatch.lock_held(x, false);
  update dispatch.message_requests m
     set deadline_at = m.deadline_at + coalesce(now() - m.paused_since, interval '0'),
         paused_since = null,
         next_attempt_at = case when m.parked_at is null
           then least(m.next_attempt_at, greatest(now(), m.send_at)) else m.next_attempt_at end,
         updated_at = now()
    from dispatch.held_by(x) h
   where m.tenant_id = h.tenant_id and m.id = h.id
     and not exists (select 1 from dispatch.pause_of(m.tenant_id, m.channel_code, m.template_code));
  perform platform.note_audit(p_tenant, p_actor, 'pause.end', x.id::text, null,
    dispatch.pause_json(x), null, p_request);
  return dispatch.pause_json(x);
end
$$;

-- Has what waits in a channel for a reason (of `like`) come up at once.
create function dispatch.bring_forward(p_tenant uuid, p_channel text, p_reason text) returns void
language plpgsql as $$
begin
  with held as (
    select m.id from dispatch.message_requests m
     where m.tenant_id = p_tenant and m.channel_code = p_channel and m.last_error like p_reason
       and m.status in ('accepted', 'dispatched', 'retry_wait') and m.parked_at is null
     order by m.id for update)
  update dispatch.message_requests m
     set next_attempt_at = least(m.next_attempt_at, greatest(now(), m.send_at)), updated_at = now()
    from held where m.tenant_id = p_tenant and m.id = held.id;
end
$$;

-- Makes or changes a channel, and tells messaging of it. `p_quiet` {tz, from, to} sets its quiet
-- hours, {} ends them, null keeps them. Returns {created, channel}, {missing: workspace} or
-- {missing: tz}.
create or replace function dispatch.put_channel(
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
    perform dispatch.bring_forward(p_tenant, p_code, 'quiet_hours');
  end if;
  -- What a pause of its workspace holds, and only that one's end would bring forward.
  if old.workspace_code <> c.workspace_code then
    perform dispatch.bring_forward(p_tenant, p_code, 'workspace_paused: %');
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

-- Accepts a message request; see 0004.
create or replace function dispatch.accept(
  p_tenant uuid, p_tenant_code text, p_id uuid, p jsonb, p_report_to text, p_traceparent text,
  p_key text, p_path text, p_hash bytea, p_actor text, p_request_id text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  known record;
  provider text;
  place bigint;
  -- A new request has no attempts: nobody looks for them in all their partitions.
  document jsonb;
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
  document := dispatch.request_json(m, false) || '{"attempts": []}';
  perform dispatch.announce_accepted(m);
  perform platform.note_audit(p_tenant, p_actor, 'message_request.accept', m.id::text, null,
    jsonb_build_object('channel_code', m.channel_code), null, p_request_id);
  if p_key is not null then
    perform platform.idempotency_finish(p_tenant, p_key, 'POST', p_path,
      document, 202, null, null);
  end if;
  return jsonb_build_object('result', 'created', 'request', document);
end
$$;

-- `accept` of many in one commit, each an object of its arguments, with the step (`trace`) that its
-- event is told to come from; a row for each, with its `place` (from 1).
create function dispatch.accept_many(p_requests jsonb)
returns table (place int, answer jsonb) language plpgsql as $$
declare
  asked record;
begin
  -- Threads are locked in the order of their keys, so two callers never wait for each other; messages
  -- of one keep the order in which they came.
  for asked in
    select * from rows from (jsonb_to_recordset(p_requests) as (tenant_id uuid, tenant text, id uuid,
        fields jsonb, report_to text, traceparent text, key text, path text, hash text, actor text,
        request_id text, trace text)) with ordinality
      as u (tenant_id, tenant, id, fields, report_to, traceparent, key, path, hash, actor,
            request_id, trace, n)
     order by u.tenant_id, u.fields->>'channel_code', u.fields->>'thread_key', u.n
  loop
    perform set_config('switchboard.traceparent', coalesce(asked.trace, ''), true);
    place := asked.n;
    answer := dispatch.accept(asked.tenant_id, asked.tenant,
      coalesce(asked.id, platform.uuid_v7()), asked.fields, asked.report_to, asked.traceparent,
      asked.key, asked.path, decode(asked.hash, 'base64'), asked.actor, asked.request_id);
    return next;
  end loop;
end
$$;
