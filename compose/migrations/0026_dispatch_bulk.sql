-- What concerns very many messages at once is done in batches, each a short statement of its own: the
-- end of a pause, retention, cancelling by key, replays. Beside that quiet hours may differ by the day,
-- and a process that sends can be told to take nothing more.

-- The open requests of a tenant, in the order of their keys: batches go through them by it.
create index message_requests_open_keys on dispatch.message_requests (tenant_id, id)
  where status not in ('sent', 'failed', 'cancelled', 'expired');
drop index dispatch.message_requests_open;

-- A deadline that stands still is not looked at again until its pause has let go.
drop index dispatch.message_requests_deadlines;
create index message_requests_deadlines on dispatch.message_requests (deadline_at)
  where status in ('accepted', 'dispatched', 'retry_wait') and deadline_at is not null
    and paused_since is null;

-- What has been held and may go: `release_held` goes through the waiting requests of its scope, in the
-- order of their keys, and takes it away when it is through.
create table dispatch.ended_holds (
  id uuid primary key default platform.uuid_v7(),
  -- Tenant 0 stands for all of them.
  tenant_id uuid not null,
  scope text not null,
  code text,
  -- Only those whose reason for waiting is like this; null: all.
  reason text,
  -- Since when it had deadlines stand still; null: it had not.
  since timestamptz,
  ended_at timestamptz not null default now(),
  -- Behind this request it goes on.
  at_tenant uuid not null,
  at_id uuid not null default '00000000-0000-0000-0000-000000000000',
  last_tenant uuid not null,
  looked_at timestamptz not null default now()
);

-- Notes that what a scope held may go.
create function dispatch.end_hold(
  p_tenant uuid, p_scope text, p_code text, p_reason text, p_since timestamptz
) returns void language plpgsql as $$
begin
  insert into dispatch.ended_holds (tenant_id, scope, code, reason, since, at_tenant, last_tenant)
  values (p_tenant, p_scope, p_code, p_reason, p_since, p_tenant,
    case when p_scope = 'all' then 'ffffffff-ffff-ffff-ffff-ffffffffffff' else p_tenant end);
end
$$;

-- Since when a message's deadline stands still: by the earliest pause that holds it, or has ended and
-- not let it go yet (but for the hold `p_except`). Null when none does.
create function dispatch.stopped_since(m dispatch.message_requests, p_except uuid)
returns timestamptz language plpgsql stable as $$
declare
  workspace text;
begin
  select c.workspace_code into workspace from dispatch.channels c
   where c.tenant_id = m.tenant_id and c.code = m.channel_code;
  return (select min(greatest(x.since, m.created_at)) from (
      select p.scope, p.code, p.created_at as since from dispatch.pauses p
       where p.tenant_id in (m.tenant_id, '00000000-0000-0000-0000-000000000000')
         and p.ended_at is null and not p.uses_deadlines
      union all
      select e.scope, e.code, e.since from dispatch.ended_holds e
       where e.tenant_id in (m.tenant_id, '00000000-0000-0000-0000-000000000000')
         and e.id is distinct from p_except and e.since is not null
         and m.created_at < e.ended_at and (m.tenant_id, m.id) > (e.at_tenant, e.at_id)) x
     where x.scope in ('tenant', 'all')
       or (x.scope = 'channel' and x.code = m.channel_code)
       or (x.scope = 'template' and x.code = m.template_code)
       or (x.scope = 'workspace' and x.code = workspace));
end
$$;

-- Lets a message go that a hold held: it is due at once, and gets its time back, unless another pause
-- holds it. What is laid aside stays so: its turn comes as it would have.
create function dispatch.let_go(m dispatch.message_requests, e dispatch.ended_holds)
returns void language plpgsql as $$
declare
  due timestamptz := m.next_attempt_at;
  since timestamptz := least(m.paused_since,
    case when e.since is not null and m.created_at < e.ended_at
      then greatest(e.since, m.created_at) end);
  is_stopped boolean := false;
begin
  if m.parked_at is null and due > now()
    and not exists (select 1 from dispatch.pause_of(m.tenant_id, m.channel_code, m.template_code))
  then
    due := least(due, greatest(now(), m.send_at));
  end if;
  if m.deadline_at is null then
    since := null;
  elsif since is not null then
    is_stopped := dispatch.stopped_since(m, e.id) is not null;
  end if;
  if due <> m.next_attempt_at or since is not null then
    update dispatch.message_requests
       set next_attempt_at = due, updated_at = now(),
           deadline_at = case when since is null or is_stopped then deadline_at
                              else deadline_at + (now() - since) end,
           paused_since = case when is_stopped then since end
     where tenant_id = m.tenant_id and id = m.id;
  end if;
end
$$;

-- Goes through the next `p_limit` waiting requests behind an ended pause, and lets go what it held.
-- Returns how many it looked at; null when there is nothing to let go, or others are at it.
--
-- It begins after the pause's end is committed: whoever puts a request off for a pause holds its row's
-- lock while looking for the pause (`postpone`), so each is either seen here or has seen the end.
create function dispatch.release_held(p_limit int) returns int language plpgsql as $$
declare
  e dispatch.ended_holds;
  m dispatch.message_requests;
  tenants uuid[];
  ids uuid[];
  count int;
begin
  select * into e from dispatch.ended_holds order by looked_at, id limit 1 for update skip locked;
  if not found then return null; end if;
  select array_agg(p.tenant_id), array_agg(p.id) into tenants, ids from (
    select r.tenant_id, r.id from dispatch.message_requests r
     where (r.tenant_id, r.id) > (e.at_tenant, e.at_id) and r.tenant_id <= e.last_tenant
       and r.status not in ('sent', 'failed', 'cancelled', 'expired')
     order by r.tenant_id, r.id limit p_limit) p;
  count := coalesce(cardinality(ids), 0);
  -- Locked in the order of the keys: two callers never wait for each other.
  for m in
    select r.* from unnest(tenants, ids) as u (tenant_id, id)
      join dispatch.message_requests r on r.tenant_id = u.tenant_id and r.id = u.id
     where r.status in ('accepted', 'dispatched', 'retry_wait')
       and (e.reason is null or r.last_error like e.reason or r.paused_since is not null)
       and case e.scope when 'channel' then r.channel_code = e.code
                        when 'template' then r.template_code = e.code
                        when 'workspace' then r.channel_code in (
                          select c.code from dispatch.channels c
                           where c.tenant_id = e.tenant_id and c.workspace_code = e.code)
                        else true end
     order by r.tenant_id, r.id for update of r
  loop
    perform dispatch.let_go(m, e);
  end loop;
  if count < p_limit then
    delete from dispatch.ended_holds where id = e.id;
  else
    update dispatch.ended_holds
       set at_tenant = tenants[count], at_id = ids[count], looked_at = clock_timestamp()
     where id = e.id;
  end if;
  return count;
end
$$;

-- Stops sending in a scope; the deadlines of what waits in it stand still. Returns the pause. Nothing
-- is noted at the messages: `stopped_since` says from when, however many there are.
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
  perform platform.note_audit(p_tenant, p_actor, 'pause', x.id::text, null,
    dispatch.pause_json(x), p_reason, p_request);
  return dispatch.pause_json(x);
end
$$;

-- Ends a pause: no message is held by it any more, and `release_held` lets go what it held. Returns
-- the pause, or null.
create or replace function dispatch.end_pause(p_tenant uuid, p_id uuid, p_actor text, p_request text)
returns jsonb language plpgsql as $$
declare
  x dispatch.pauses;
  old jsonb;
begin
  select dispatch.pause_json(p) into old from dispatch.pauses p
   where tenant_id = p_tenant and id = p_id for update;
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
  perform dispatch.end_hold(x.tenant_id, x.scope, x.code, null,
    case when not x.uses_deadlines then x.created_at end);
  perform platform.note_audit(p_tenant, p_actor, 'pause.end', x.id::text, old,
    dispatch.pause_json(x), null, p_request);
  return dispatch.pause_json(x);
end
$$;
drop function dispatch.lock_held(dispatch.pauses, boolean);
drop function dispatch.held_by(dispatch.pauses);

-- Requests whose deadline passed before they were sent; of one whose deadline stands still that is
-- noted. Returns how many it looked at.
create or replace function dispatch.expire_deadlines(p_limit int) returns int language plpgsql as $$
declare
  m dispatch.message_requests;
  since timestamptz;
  count int := 0;
begin
  for m in
    select * from dispatch.message_requests
     where status in ('accepted', 'dispatched', 'retry_wait') and deadline_at <= now()
       and paused_since is null
     order by deadline_at limit p_limit for update skip locked
  loop
    since := dispatch.stopped_since(m, null);
    if since is null then
      perform dispatch.finish_waiting(m, 'expired', 'the deadline passed before it could be sent');
    else
      update dispatch.message_requests set paused_since = since
       where tenant_id = m.tenant_id and id = m.id;
    end if;
    count := count + 1;
  end loop;
  return count;
end
$$;

alter table dispatch.channels
  -- Beside a daily window from quiet_from to quiet_to, or in its place: [{day: mon…sun, from, to}].
  add column quiet_windows jsonb,
  -- [{date, windows: [{from, to}]}]: what holds on that day and nothing else.
  add column quiet_exceptions jsonb;

-- Milliseconds until the quiet hours of a channel end, however many windows follow each other; null
-- outside of them. A window whose end is not after its beginning goes on into the next day and belongs
-- to the one on which it begins. Where all is quiet for more than a week this is looked at again then.
create or replace function dispatch.quiet_ms(c dispatch.channels, p_at timestamptz) returns bigint
language plpgsql stable as $$
declare
  w record;
  quiet_until timestamptz := p_at;
begin
  for w in
    select (d.day + x."from") at time zone c.quiet_tz as begins,
           (d.day + x."to" + case when x."to" <= x."from" then interval '1 day' else interval '0' end)
             at time zone c.quiet_tz as ends
      from (select (p_at at time zone c.quiet_tz)::date + n as day from generate_series(-1, 8) n) d
     cross join lateral jsonb_to_recordset(coalesce(
       (select e->'windows' from jsonb_array_elements(c.quiet_exceptions) e
         where e->>'date' = d.day::text limit 1),
       case when c.quiet_from is not null
         then jsonb_build_array(jsonb_build_object('from', c.quiet_from, 'to', c.quiet_to))
         else (select jsonb_agg(q) from jsonb_array_elements(c.quiet_windows) q
                where q->>'day' = to_char(d.day, 'dy')) end, '[]')) as x ("from" time, "to" time)
     order by begins
  loop
    exit when w.begins > quiet_until;
    quiet_until := greatest(quiet_until, w.ends);
  end loop;
  return case when quiet_until > p_at
    then ceil(extract(epoch from quiet_until - p_at) * 1000)::bigint end;
end
$$;

create or replace function dispatch.channel_json(c dispatch.channels) returns jsonb
language sql stable as $$
  select jsonb_build_object('code', c.code, 'workspace_code', c.workspace_code,
    'provider_channel_id', c.provider_channel_id, 'unknown_policy', c.unknown_policy,
    'rate', jsonb_build_object('per_second', c.rate_per_second, 'burst', c.rate_burst),
    'quiet_hours', case when c.quiet_tz is not null then jsonb_strip_nulls(jsonb_build_object(
      'tz', c.quiet_tz, 'from', to_char(c.quiet_from, 'HH24:MI'),
      'to', to_char(c.quiet_to, 'HH24:MI'), 'windows', c.quiet_windows,
      'exceptions', c.quiet_exceptions)) end,
    'created_at', platform.rfc3339(c.created_at), 'updated_at', platform.rfc3339(c.updated_at))
$$;

-- Makes or changes a channel, and tells messaging of it. `p_quiet` {tz, from, to} or {tz, windows,
-- exceptions} sets its quiet hours, {} ends them, null keeps them. Returns {created, channel},
-- {missing: workspace} or {missing: tz}.
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
drop function dispatch.bring_forward(uuid, text, text);

-- Accepts a message request; see 0004. That its deadline stands still is found when it has passed.
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

-- What ended, of a tenant, in the order in which it did.
create index message_requests_ended on dispatch.message_requests (tenant_id, finished_at)
  where finished_at is not null;
drop index dispatch.message_requests_finished;

-- A request that took a week still has all its attempts when it is deleted: policies keep it for 90
-- days at most.
update platform.partitioned set keep = '97 days' where table_name = 'dispatch.attempts';

-- Deletes what ended longer ago than its tenant keeps it, `p_limit` at most, of the tenants from
-- `p_from` on (null: of all). Returns how many, and the tenant to go on with; null when all are
-- through. It costs what it deletes and one look for each tenant, whatever stays.
create function dispatch.clean_requests(p_from uuid, p_limit int, out next uuid, out gone int)
language plpgsql set enable_seqscan = off as $$
declare
  t record;
  deleted int;
begin
  gone := 0;
  for t in
    select n.id, make_interval(days => coalesce(p.retention_days, 90)) as keeps
      from platform.tenants n left join dispatch.policies p on p.tenant_id = n.id
     where n.id >= coalesce(p_from, '00000000-0000-0000-0000-000000000000')
     order by n.id limit 200
  loop
    with old as (
      select m.id from dispatch.message_requests m
       where m.tenant_id = t.id and m.finished_at < now() - t.keeps
       order by m.finished_at limit p_limit - gone for update skip locked),
    outbox as (
      delete from dispatch.local_outbox o using old
       where o.tenant_id = t.id and o.message_request_id = old.id),
    ended as (
      delete from dispatch.message_requests m using old
       where m.tenant_id = t.id and m.id = old.id
      returning 1)
    select count(*) into deleted from ended;
    gone := gone + deleted;
    next := t.id;
    if gone >= p_limit then return; end if;
  end loop;
  select n.id into next from platform.tenants n where n.id > next order by n.id limit 1;
end
$$;

-- Deletes threads to which nothing came for long, `p_limit` at most. Returns how many.
create function dispatch.clean_threads(p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from dispatch.threads t
   where (t.tenant_id, t.channel_code, t.thread_key) in (
     select o.tenant_id, o.channel_code, o.thread_key from dispatch.threads o
      where o.updated_at < now() - interval '90 days'
        and not exists (select 1 from dispatch.message_requests m where m.tenant_id = o.tenant_id
              and m.channel_code = o.channel_code and m.thread_key = o.thread_key
              and m.status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown'))
      order by o.updated_at limit p_limit for update of o skip locked);
  get diagnostics gone = row_count;
  return gone;
end
$$;

-- Deletes deliveries to webhooks that ended a week ago, `p_limit` at most, and processes that are gone.
-- Returns how many deliveries.
create function dispatch.clean_deliveries(p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from dispatch.workers where seen_at < now() - interval '1 minute';
  delete from dispatch.webhook_deliveries d where (d.tenant_id, d.id) in (
    select o.tenant_id, o.id from dispatch.webhook_deliveries o
     where o.finished_at < now() - interval '7 days'
     order by o.finished_at limit p_limit for update skip locked);
  get diagnostics gone = row_count;
  return gone;
end
$$;
drop function dispatch.clean_up(int);

-- What is due for each endpoint.
create index webhook_deliveries_waiting
  on dispatch.webhook_deliveries (tenant_id, webhook_code, next_attempt_at) where status = 'pending';
drop index dispatch.webhook_deliveries_due;
drop function dispatch.take_webhooks(int, interval);

-- Takes due deliveries for `p_lease`, each with where it goes and what signs it: `p_limit` at most, and
-- no more than brings what is under way here to `p_endpoint_max` of one endpoint and `p_tenant_max` of
-- one tenant. `p_tenants` and `p_codes` name the endpoint of each delivery that is under way.
--
-- It costs one look for each endpoint for which something waits, however much that is.
create function dispatch.take_webhooks(
  p_limit int, p_endpoint_max int, p_tenant_max int, p_tenants uuid[], p_codes text[],
  p_lease interval
) returns table (tenant_id uuid, tenant text, id uuid, webhook_code text, event text, body text,
                 attempts int, url text, key_id text, sealed bytea)
language plpgsql set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query with recursive endpoints as (
    (select d.tenant_id, d.webhook_code from dispatch.webhook_deliveries d
      where d.status = 'pending' order by d.tenant_id, d.webhook_code limit 1)
    union all
    select n.tenant_id, n.webhook_code from endpoints e cross join lateral (
      select d.tenant_id, d.webhook_code from dispatch.webhook_deliveries d
       where d.status = 'pending' and (d.tenant_id, d.webhook_code) > (e.tenant_id, e.webhook_code)
       order by d.tenant_id, d.webhook_code limit 1) n),
  candidates as (
    select d.tenant_id, d.id, d.next_attempt_at,
           row_number() over (partition by d.tenant_id order by d.next_attempt_at)
             + (select count(*) from unnest(p_tenants) u (id) where u.id = d.tenant_id) as n
      from endpoints e cross join lateral (
        select x.tenant_id, x.id, x.next_attempt_at from dispatch.webhook_deliveries x
         where x.status = 'pending' and x.tenant_id = e.tenant_id
           and x.webhook_code = e.webhook_code and x.next_attempt_at <= now()
           and (x.lease_until is null or x.lease_until < now())
         order by x.next_attempt_at limit greatest(0, p_endpoint_max - (
           select count(*) from unnest(p_tenants, p_codes) u (id, code)
            where u.id = e.tenant_id and u.code = e.webhook_code))) d),
  due as (
    select d.tenant_id, d.id from candidates c
      join dispatch.webhook_deliveries d on d.tenant_id = c.tenant_id and d.id = c.id
     where c.n <= p_tenant_max and d.status = 'pending'
       and (d.lease_until is null or d.lease_until < now())
     order by c.next_attempt_at limit p_limit for update of d skip locked),
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
      on s.tenant_id = t.tenant_id and s.kind = 'webhook' and s.ref = t.webhook_code;
end
$$;

-- What can still be stopped by its key.
drop index dispatch.message_requests_cancellation;
create index message_requests_cancellation
  on dispatch.message_requests (tenant_id, cancellation_key, id)
  where cancellation_key is not null
    and status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown');
drop function dispatch.cancel_key(uuid, text, int, text, text, text);

-- Stops requests of a cancellation key that have not ended, `p_limit` at most, behind the one named.
-- Returns {cancelled, requested, too_late, last}: how many of each (too late: ended at this moment), and
-- the last one of them; null when there are no more.
create function dispatch.cancel_key(
  p_tenant uuid, p_key text, p_after uuid, p_limit int, p_actor text, p_reason text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  target uuid;
  outcome text;
  looked int := 0;
  counts jsonb := '{"cancelled": 0, "requested": 0, "too_late": 0}';
begin
  for target in
    select id from dispatch.message_requests
     where tenant_id = p_tenant and cancellation_key = p_key
       and status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown')
       and not cancel_requested
       and id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
     order by id limit p_limit
  loop
    outcome := dispatch.cancel(p_tenant, target, p_actor, p_reason, p_request)->>'result';
    if counts ? outcome then
      counts := jsonb_set(counts, array[outcome], to_jsonb((counts->>outcome)::int + 1));
    end if;
    looked := looked + 1;
  end loop;
  return counts || jsonb_build_object('last', case when looked = p_limit then target end);
end
$$;
drop function dispatch.replay(uuid, jsonb, float8, int, text, text, text);

-- Sends once more what a filter names, `p_limit` at most, behind the request named, spread to
-- `p_per_second`; what is asked for later queues behind it. Returns {replayed, last_at, last}: when the
-- last one leaves, and which one it is; null when there are no more.
create function dispatch.replay(
  p_tenant uuid, p jsonb, p_per_second float8, p_after uuid, p_limit int, p_actor text,
  p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  m dispatch.message_requests;
  at timestamptz;
  ids uuid[];
  count int := 0;
begin
  insert into dispatch.policies (tenant_id) values (p_tenant) on conflict do nothing;
  select greatest(now(), replay_until) into at
    from dispatch.policies where tenant_id = p_tenant for update;
  select array_agg(f.id) into ids from (
    select x.id from dispatch.replayable(p_tenant, p) x
     where x.id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
     order by x.id limit p_limit) f;
  for m in
    select r.* from dispatch.message_requests r
     where r.tenant_id = p_tenant and r.id = any (ids)
       and r.status in ('failed', 'cancelled', 'expired')
     order by r.id for update
  loop
    perform dispatch.renew(m, at);
    at := at + interval '1 second' / p_per_second;
    count := count + 1;
  end loop;
  update dispatch.policies set replay_until = at where tenant_id = p_tenant;
  if count > 0 then
    perform platform.note_audit(p_tenant, p_actor, 'message_request.replay', 'filter', p,
      jsonb_build_object('replayed', count, 'per_second', p_per_second), p_reason, p_request);
  end if;
  return jsonb_build_object('replayed', count, 'last', ids[p_limit],
    'last_at', case when count > 0
      then platform.rfc3339(at - interval '1 second' / p_per_second) end);
end
$$;

-- What failed, by cause: {count, causes: [{status, error, channel_code, count, oldest_at, newest_at,
-- sample}]}, the most frequent `p_limit` causes first; `count` is that of all.
drop function dispatch.causes(uuid, jsonb);
create function dispatch.causes(p_tenant uuid, p jsonb, p_limit int) returns jsonb
language sql stable as $$
  with grouped as (
    select m.status, m.last_error as error, m.channel_code, count(*) as count,
           min(m.finished_at) as oldest, max(m.finished_at) as newest, min(m.id::text) as sample
      from dispatch.replayable(p_tenant, p) m
     group by m.status, m.last_error, m.channel_code)
  select jsonb_build_object(
    'count', (select coalesce(sum(g.count), 0) from grouped g),
    'causes', (select coalesce(jsonb_agg(jsonb_build_object('status', f.status, 'error', f.error,
        'channel_code', f.channel_code, 'count', f.count,
        'oldest_at', platform.rfc3339(f.oldest), 'newest_at', platform.rfc3339(f.newest),
        'sample', f.sample) order by f.count desc, f.error), '[]')
      from (select * from grouped g order by g.count desc limit p_limit) f))
$$;

-- What a process that sends is told: to take nothing more, until it is told otherwise.
alter table dispatch.workers add column is_paused boolean not null default false;

-- A process that sends says that it lives; returns whether it is to pause.
drop function dispatch.worker_seen(text, text, int, int, bigint, bigint);
create function dispatch.worker_seen(
  p_id text, p_state text, p_concurrency int, p_in_flight int, p_sent bigint, p_failed bigint
) returns boolean language sql as $$
  insert into dispatch.workers (id, state, concurrency, in_flight, sent, failed)
  values (p_id, p_state, p_concurrency, p_in_flight, p_sent, p_failed)
  on conflict (id) do update set seen_at = now(), state = excluded.state,
    concurrency = excluded.concurrency, in_flight = excluded.in_flight, sent = excluded.sent,
    failed = excluded.failed
  returning is_paused
$$;

create function dispatch.worker_json(w dispatch.workers) returns jsonb language sql stable as $$
  select jsonb_build_object('id', w.id, 'state', w.state, 'is_paused', w.is_paused,
    'concurrency', w.concurrency, 'in_flight', w.in_flight, 'sent', w.sent, 'failed', w.failed,
    'started_at', platform.rfc3339(w.started_at), 'seen_at', platform.rfc3339(w.seen_at),
    'heartbeat_age_ms', (extract(epoch from now() - w.seen_at) * 1000)::bigint)
$$;

-- Tells a process to take nothing more, or to go on. Returns the process, or null.
create function dispatch.set_worker(
  p_tenant uuid, p_id text, p_paused boolean, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  w dispatch.workers;
  old jsonb;
begin
  select dispatch.worker_json(x) into old from dispatch.workers x where id = p_id for update;
  update dispatch.workers set is_paused = p_paused where id = p_id returning * into w;
  if not found then return null; end if;
  perform platform.note_audit(p_tenant, p_actor,
    case when p_paused then 'worker.pause' else 'worker.resume' end, p_id, old,
    dispatch.worker_json(w), p_reason, p_request);
  return dispatch.worker_json(w);
end
$$;
