-- Where an attempt goes is part of the commit before its first byte: what nobody knows the end of is
-- looked for there, whatever its channel has been changed to.

-- Where the last attempt went: {provider, workspace_code, team_id, api_base_url, provider_channel_id}.
-- Null: there was none, or it was begun before this was noted.
alter table dispatch.message_requests add column target jsonb;

-- As in 0014; what is unknown says where it went, for whoever looks there.
create or replace function dispatch.request_json(m dispatch.message_requests, p_attempts boolean)
returns jsonb language plpgsql stable as $$
declare
  policy text;
  attempts jsonb;
begin
  if m.unknown_since is not null then
    select c.unknown_policy into policy from dispatch.channels c
     where c.tenant_id = m.tenant_id and c.code = m.channel_code;
  end if;
  if p_attempts then
    select coalesce(jsonb_agg(jsonb_build_object('n', a.n, 'at', platform.rfc3339(a.at),
        'status', a.status, 'error', a.error, 'http_status', a.http_status,
        'retry_after_ms', a.retry_after_ms, 'took_ms', a.took_ms) order by a.created_at), '[]')
      into attempts from dispatch.attempts a
     where a.tenant_id = m.tenant_id and a.message_request_id = m.id
       and a.created_at >= m.created_at - interval '1 day';
  end if;
  return jsonb_build_object(
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
      'policy', policy, 'verified_at', platform.rfc3339(m.verified_at),
      'sent_to', m.target - 'api_base_url') end)
    || case when p_attempts then jsonb_build_object('attempts', attempts) else '{}' end;
end
$$;

drop function dispatch.begin_send(uuid, uuid, int, uuid, interval);

-- As in 0014; see 0004. `p_target` is where the attempt goes.
create function dispatch.begin_send(
  p_tenant uuid, p_id uuid, p_generation int, p_token uuid, p_lease interval, p_target jsonb
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
         thread_ts = thread, target = p_target, parked_at = null, updated_at = now(),
         version = version + 1
   where tenant_id = p_tenant and id = p_id;
  return jsonb_build_object('begun', true, 'status', 'sending', 'attempts', m.attempts + 1,
    'thread_ts', thread);
end
$$;

drop function dispatch.steps(jsonb);

-- As in 0019, with where a beginning goes.
create function dispatch.steps(p_steps jsonb)
returns table (tenant_id uuid, id uuid, token uuid, generation int, status text, provider_ts text,
               error text, http_status int, retry_after_ms bigint, wait_ms bigint, counts boolean,
               took_ms float8, target jsonb, place int, is_single boolean)
language sql immutable as $$
  select u.tenant_id, u.id, u.token, u.generation, u.status, u.provider_ts, u.error, u.http_status,
         u.retry_after_ms, u.wait_ms, u.counts, u.took_ms, u.target, u.place::int,
         count(*) over (partition by u.tenant_id, u.id) = 1
    from rows from (jsonb_to_recordset(p_steps) as (tenant_id uuid, id uuid, token uuid,
        generation int, status text, provider_ts text, error text, http_status int,
        retry_after_ms bigint, wait_ms bigint, counts boolean, took_ms float8,
        target jsonb)) with ordinality
      as u (tenant_id, id, token, generation, status, provider_ts, error, http_status,
            retry_after_ms, wait_ms, counts, took_ms, target, place)
$$;

-- As in 0019.
create or replace function dispatch.step_sends(p_steps jsonb, p_lease interval)
returns table (place int, answer jsonb) language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan as $$
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
        then dispatch.begin_send(asked.tenant_id, asked.id, asked.generation, asked.token, p_lease,
          asked.target)
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
             target = u.target, parked_at = null, updated_at = now(), version = version + 1
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

-- As in 0019, with the team.
create or replace function dispatch.resolve_many(p_tenants uuid[], p_ids uuid[], p_contents boolean[])
returns table (answer jsonb) language plpgsql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan as $$
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
      'team_id', w.team_id, 'provider_channel_id', c.provider_channel_id, 'unknown_policy', c.unknown_policy,
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

-- What a look for an unknown message needs: the request, and as its `configuration` where its attempt
-- went, with the token that is in force there now. `gone` says why nobody can look there any more.
-- Null when the request is not unknown.
create function dispatch.unknown_request(p_tenant uuid, p_id uuid) returns jsonb
language plpgsql stable as $$
declare
  m dispatch.message_requests;
  c dispatch.channels;
  w dispatch.workspaces;
  s record;
  target jsonb;
  gone text;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id and status = 'unknown';
  if not found then return null; end if;
  select * into c from dispatch.channels where tenant_id = p_tenant and code = m.channel_code;
  target := m.target;
  if target is null then
    -- Begun before this was noted: what has not been changed since is where it went.
    select jsonb_build_object('provider', x.provider, 'workspace_code', x.code,
        'team_id', x.team_id, 'api_base_url', x.api_base_url,
        'provider_channel_id', c.provider_channel_id) into target
      from dispatch.workspaces x
     where x.tenant_id = p_tenant and x.code = c.workspace_code
       and greatest(x.updated_at, c.updated_at) < m.begun_at;
  end if;
  select * into w from dispatch.workspaces
   where tenant_id = p_tenant and code = target->>'workspace_code';
  gone := case
    when target is null then 'not_noted_where_it_went'
    -- The outbox is here, whatever became of its workspace.
    when target->>'provider' = 'local' then null
    when w.code is null then 'workspace_gone'
    when w.provider <> target->>'provider' then 'provider_changed'
    when w.team_id <> target->>'team_id' then 'team_changed'
    when w.api_base_url is distinct from target->>'api_base_url' then 'address_changed' end;
  select key_id, sealed into s from platform.secrets
   where tenant_id = p_tenant and kind = 'slack_token' and ref = w.code;
  return jsonb_build_object(
    'generation', m.generation, 'channel_code', m.channel_code, 'attempt_token', m.attempt_token,
    'begun_s', extract(epoch from m.begun_at)::bigint, 'thread_ts', m.thread_ts,
    'unknown_ms', (extract(epoch from now() - m.unknown_since) * 1000)::bigint,
    'unknown_policy', coalesce(c.unknown_policy, 'verify'), 'gone', gone,
    'configuration', target || jsonb_build_object(
      'unknown_policy', coalesce(c.unknown_policy, 'verify'),
      'token_key_id', s.key_id, 'token_sealed', encode(s.sealed, 'base64')));
end
$$;

-- Notes why nobody but a person can settle an unknown message, and tells whoever listens; false when
-- it is not unknown any more, or another attempt's (`p_fence`).
create function dispatch.park_unknown(
  p_tenant uuid, p_id uuid, p_generation int, p_fence uuid, p_error text
) returns boolean language plpgsql as $$
declare
  m dispatch.message_requests;
begin
  update dispatch.message_requests
     set last_error = p_error, updated_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id and generation = p_generation and status = 'unknown'
     and (p_fence is null or attempt_token = p_fence)
  returning * into m;
  if not found then return false; end if;
  perform dispatch.announce(m, 'unknown');
  return true;
end
$$;

-- As in 0004, but below a first message that is itself a reply the others answer what it answers: a
-- reply begins no thread.
create or replace function dispatch.thread_ended(m dispatch.message_requests) returns void
language plpgsql as $$
begin
  if m.thread_key is null then return; end if;
  if m.status = 'sent' then
    update dispatch.threads set root_ts = coalesce(m.thread_ts, m.provider_ts), updated_at = now()
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

-- As in 0004; who says that the root of a thread was sent has to say under which id, for the others
-- are to be posted below it: {missing: provider_ts} when that is not told.
create or replace function dispatch.settle_unknown(
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
  if p_to = 'sent' and p_provider_ts is null and m.thread_key is not null and m.thread_ts is null
    and exists (select 1 from dispatch.threads t
      where t.tenant_id = p_tenant and t.channel_code = m.channel_code
        and t.thread_key = m.thread_key and t.root_id = m.id and t.root_ts is null)
  then
    return '{"missing": "provider_ts"}';
  end if;
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

-- As in 0004, but the deadline holds for the new generation, too: what has failed is not sent after it.
-- What had expired and is sent all the same has none any more.
create or replace function dispatch.renew(m dispatch.message_requests, p_at timestamptz)
returns dispatch.message_requests language plpgsql as $$
declare
  kept timestamptz := case when m.status <> 'expired' or m.deadline_at > now()
    then m.deadline_at end;
begin
  update dispatch.message_requests
     set status = 'accepted', generation = generation + 1, attempts = 0, attempt_token = null,
         lease_until = null, bytes_out = false, cancel_requested = false, begun_at = null,
         unknown_since = null, verified_at = null, provider_ts = null, finished_at = null,
         deadline_at = kept,
         paused_since = case when kept is not null and exists (
           select 1 from dispatch.pause_of(m.tenant_id, m.channel_code, m.template_code) x
            where not x.uses_deadlines) then now() end,
         next_attempt_at = p_at, job_due_at = null, last_error = null,
         sort_key = dispatch.sort_key(priority, p_at, kept), updated_at = now(),
         version = version + 1
   where tenant_id = m.tenant_id and id = m.id
  returning * into m;
  perform dispatch.announce_accepted(m);
  return m;
end
$$;

-- As in 0004; what is past its deadline needs `p_force` as well, and has none any more: the result is
-- deadline_passed without it.
create or replace function dispatch.resend(
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
  elsif m.deadline_at <= now() and not p_force then
    return jsonb_build_object('result', 'deadline_passed', 'request', before);
  end if;
  if m.deadline_at <= now() then m.deadline_at := null; end if;
  m := dispatch.renew(m, now());
  perform platform.note_audit(p_tenant, p_actor, 'message_request.resend', p_id::text, before,
    dispatch.request_json(m, false), p_reason, p_request);
  return jsonb_build_object('result', 'renewed', 'request', dispatch.request_json(m, true));
end
$$;

-- As in 0004; the result is deadline_passed for one that failed and is past its deadline.
create or replace function dispatch.retry(
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
  if m.status = 'failed' and m.deadline_at <= now() then
    return jsonb_build_object('result', 'deadline_passed', 'request', before);
  elsif m.status = 'failed' then
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

-- As in 0004, and whoever listens is told: nothing of the workspace is sent until somebody acts.
create or replace function dispatch.pause_workspace(
  p_tenant uuid, p_tenant_code text, p_code text, p_reason text, p_probe interval
) returns boolean language plpgsql as $$
declare
  pause uuid;
  w dispatch.workspaces;
  data jsonb;
begin
  update dispatch.workspaces
     set paused_reason = p_reason, updated_at = now(), version = version + 1
   where tenant_id = p_tenant and code = p_code and paused_reason is null
  returning * into w;
  if not found then return false; end if;
  pause := (dispatch.pause(p_tenant, 'workspace', p_code, p_reason, false, null,
    'dispatch-worker', '')->>'id')::uuid;
  perform platform.set_timer('dispatch-worker', p_tenant, p_tenant_code, 'workspace_probe', pause,
    0, now() + p_probe, '{}');
  data := jsonb_build_object('code', w.code, 'provider', w.provider, 'team_id', w.team_id,
    'reason', p_reason, 'pause_id', pause, 'version', w.version);
  perform platform.emit('dispatch-worker', p_tenant, p_tenant_code, 'workspace.paused', w.code,
    w.version, data);
  insert into dispatch.webhook_deliveries (tenant_id, webhook_code, event, body)
  select p_tenant, h.code, 'workspace.paused', data from dispatch.webhooks h
   where h.tenant_id = p_tenant and h.disabled_at is null and 'workspace.paused' = any (h.events);
  return true;
end
$$;

-- How often the embedded transport was given a message again that it had delivered.
alter table dispatch.local_outbox add column repeats int not null default 0;

-- As in 0004, but what is delivered again is counted: the tests can see it.
create or replace function dispatch.deliver_local(
  p_tenant uuid, p_id uuid, p_generation int, p_channel text, p_provider_channel text,
  p_thread_ts text, p_text text, p_blocks jsonb
) returns jsonb language plpgsql as $$
declare
  delivered dispatch.local_outbox;
begin
  insert into dispatch.local_outbox as o (tenant_id, ts, channel_code, provider_channel_id,
    message_request_id, generation, thread_ts, text, blocks)
  values (p_tenant,
    extract(epoch from now())::bigint || '.' || lpad((nextval('dispatch.local_ts') % 1000000)::text, 6, '0'),
    p_channel, p_provider_channel, p_id, p_generation, p_thread_ts, p_text, p_blocks)
  on conflict (tenant_id, message_request_id, generation) do update set repeats = o.repeats + 1
  returning * into delivered;
  return jsonb_build_object('ts', delivered.ts, 'repeated', delivered.repeats > 0);
end
$$;
