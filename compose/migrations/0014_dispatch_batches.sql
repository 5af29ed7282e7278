-- Sending many at once: what waits at the same moment is resolved, begun and recorded in one commit.
--
-- PostgreSQL plans the body of a function in the language sql anew for each statement that calls it,
-- unless it can put it into that statement; of plpgsql it keeps the plans. What each message calls is
-- plpgsql, therefore.

-- Since when a message is laid aside because its channel's slots are taken for longer than messages
-- are placed ahead; `release_parked` has it come up in time. Null: it is not.
alter table dispatch.message_requests add column parked_at timestamptz;
create index message_requests_parked
  on dispatch.message_requests (tenant_id, channel_code, sort_key, id)
  where parked_at is not null and status in ('accepted', 'dispatched', 'retry_wait');

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
      'policy', policy, 'verified_at', platform.rfc3339(m.verified_at)) end)
    || case when p_attempts then jsonb_build_object('attempts', attempts) else '{}' end;
end
$$;

create or replace function dispatch.announce_accepted(m dispatch.message_requests)
returns void language plpgsql as $$
begin
  perform platform.emit('dispatch-worker', m.tenant_id, m.tenant, 'message_request.accepted',
    m.id::text, m.version, jsonb_build_object('id', m.id, 'channel_code', m.channel_code,
      'generation', m.generation, 'priority', m.priority, 'status', m.status,
      'thread_ts', m.thread_ts, 'send_at', platform.rfc3339(m.send_at)));
end
$$;

create or replace function dispatch.waits_for_thread(m dispatch.message_requests) returns boolean
language plpgsql stable as $$
begin
  return m.thread_key is not null and exists (
    select 1 from dispatch.message_requests e
     where e.tenant_id = m.tenant_id and e.channel_code = m.channel_code
       and e.thread_key = m.thread_key and e.thread_pos < m.thread_pos
       and e.status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown'));
end
$$;

create or replace function dispatch.thread_wait_ms(m dispatch.message_requests) returns bigint
language plpgsql stable as $$
begin
  if m.thread_key is null then return 0; end if;
  return (select count(*) * 1000 from (
    select 1 from dispatch.message_requests e
     where e.tenant_id = m.tenant_id and e.channel_code = m.channel_code
       and e.thread_key = m.thread_key and e.thread_pos < m.thread_pos
       and e.status in ('accepted', 'dispatched', 'sending', 'retry_wait', 'unknown')
     limit 30) before);
end
$$;

create or replace function dispatch.configuration(p_tenant uuid, p_channel text, p_template text)
returns jsonb language plpgsql stable as $$
declare
  c dispatch.channels;
  w record;
  s record;
  pause jsonb;
begin
  select * into c from dispatch.channels where tenant_id = p_tenant and code = p_channel;
  if not found then return null; end if;
  select provider, api_base_url into w from dispatch.workspaces
   where tenant_id = p_tenant and code = c.workspace_code;
  select key_id, sealed into s from platform.secrets
   where tenant_id = p_tenant and kind = 'slack_token' and ref = c.workspace_code;
  select jsonb_build_object('scope', x.scope, 'reason', x.reason) into pause
    from dispatch.pause_of(p_tenant, p_channel, p_template) x;
  return jsonb_build_object(
    'workspace_code', c.workspace_code, 'provider', w.provider, 'api_base_url', w.api_base_url,
    'provider_channel_id', c.provider_channel_id,
    'unknown_policy', c.unknown_policy, 'rate_per_second', c.rate_per_second,
    'rate_burst', c.rate_burst,
    'quiet_ms', case when c.quiet_tz is not null then dispatch.quiet_ms(c, now()) end,
    'pause', pause, 'token_key_id', s.key_id, 'token_sealed', encode(s.sealed, 'base64'));
end
$$;

create or replace function dispatch.resolve(p_tenant uuid, p_id uuid, p_content boolean)
returns jsonb language plpgsql stable as $$
declare
  m dispatch.message_requests;
begin
  select * into m from dispatch.message_requests where tenant_id = p_tenant and id = p_id;
  if not found then return null; end if;
  return jsonb_build_object(
    'id', m.id, 'tenant', m.tenant, 'generation', m.generation, 'status', m.status,
    'channel_code', m.channel_code, 'attempts', m.attempts, 'attempt_token', m.attempt_token,
    'due_ms', ceil(extract(epoch from m.next_attempt_at - now()) * 1000)::bigint,
    'thread_ms', dispatch.thread_wait_ms(m), 'has_thread', m.thread_key is not null,
    'begun_s', extract(epoch from m.begun_at)::bigint, 'traceparent', m.traceparent,
    'unknown_ms', (extract(epoch from now() - m.unknown_since) * 1000)::bigint,
    'configuration', dispatch.configuration(m.tenant_id, m.channel_code, m.template_code))
    || case when p_content then jsonb_build_object('text', m.text, 'blocks', m.blocks,
      'thread_ts', m.thread_ts, 'template', jsonb_build_object('code', m.template_code),
      'priority', m.priority) else '{}' end;
end
$$;

-- `resolve` of many: a row for each that was asked for, in that order.
create function dispatch.resolve_many(p_tenants uuid[], p_ids uuid[], p_contents boolean[])
returns table (answer jsonb) language plpgsql stable as $$
begin
  for n in 1 .. cardinality(p_ids) loop
    answer := dispatch.resolve(p_tenants[n], p_ids[n], p_contents[n]);
    return next;
  end loop;
end
$$;

-- `begin_send` of many in one commit: a row for each that was asked for, with its `place` (from 1).
create function dispatch.begin_sends(
  p_tenants uuid[], p_ids uuid[], p_generations int[], p_tokens uuid[], p_lease interval
) returns table (place int, answer jsonb) language plpgsql as $$
declare
  asked record;
begin
  -- In the order of the keys: two callers never wait for each other.
  for asked in
    select * from unnest(p_tenants, p_ids, p_generations, p_tokens) with ordinality
      as u (tenant_id, id, generation, token, n) order by u.tenant_id, u.id
  loop
    place := asked.n;
    answer := dispatch.begin_send(asked.tenant_id, asked.id, asked.generation, asked.token,
      p_lease);
    return next;
  end loop;
end
$$;

-- `finish_send` of many in one commit, each an object of its arguments; a row for each, with its
-- `place` (from 1).
create function dispatch.finish_sends(p_endings jsonb)
returns table (place int, answer jsonb) language plpgsql as $$
declare
  asked record;
begin
  for asked in
    select * from rows from (jsonb_to_recordset(p_endings) as (tenant_id uuid, id uuid, token uuid,
        status text, provider_ts text, error text, http_status int, retry_after_ms bigint,
        wait_ms bigint, counts boolean, took_ms float8)) with ordinality
      as u (tenant_id, id, token, status, provider_ts, error, http_status, retry_after_ms, wait_ms,
            counts, took_ms, n) order by u.tenant_id, u.id
  loop
    place := asked.n;
    answer := dispatch.finish_send(asked.tenant_id, asked.id, asked.token, asked.status,
      asked.provider_ts, asked.error, asked.http_status, asked.retry_after_ms,
      asked.wait_ms * interval '1 ms', asked.counts, asked.took_ms);
    return next;
  end loop;
end
$$;

-- Up to when the slots of a channel are promised to messages that were laid aside.
create table dispatch.releases (
  tenant_id uuid not null,
  channel_code text not null,
  placed_until timestamptz not null,
  primary key (tenant_id, channel_code)
);

drop function dispatch.postpone(uuid, uuid, int, interval, text, boolean);

-- Puts a request off that cannot be sent now: no slot, no lock, a pause. No attempt is spent. Returns
-- for how many ms; null when it is not waiting any more.
--
-- p_kind: `pause` when the reason is a pause that was seen a moment ago. It may have ended since, and
--   whoever ended it has let go what it held then: the row's lock settles who comes first.
--   `slot` when it waits for its channel's slot; it is laid aside all the same when others that go
--   before it are. `parked` when it is laid aside. Null for anything else.
-- p_parked_wait: how long what is laid aside rests at most.
create function dispatch.postpone(
  p_tenant uuid, p_id uuid, p_generation int, p_wait interval, p_reason text, p_kind text,
  p_parked_wait interval
) returns bigint language plpgsql as $$
declare
  m dispatch.message_requests;
  is_parked boolean := coalesce(p_kind = 'parked', false);
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id and generation = p_generation
     and status in ('accepted', 'dispatched', 'retry_wait') for update;
  if not found then return null; end if;
  if p_kind = 'pause'
    and not exists (select 1 from dispatch.pause_of(p_tenant, m.channel_code, m.template_code))
  then
    p_wait := interval '1 ms';
    p_reason := null;
  elsif p_kind = 'slot' then
    is_parked := exists (select 1 from dispatch.message_requests e
      where e.tenant_id = p_tenant and e.channel_code = m.channel_code and e.parked_at is not null
        and e.status in ('accepted', 'dispatched', 'retry_wait')
        and (e.sort_key, e.id) < (m.sort_key, m.id));
  end if;
  if is_parked then p_wait := p_parked_wait; end if;
  update dispatch.message_requests
     set next_attempt_at = now() + p_wait, job_due_at = now() + p_wait,
         parked_at = case when is_parked then now() end,
         last_error = coalesce(p_reason, last_error), updated_at = now()
   where tenant_id = p_tenant and id = p_id;
  return ceil(extract(epoch from p_wait) * 1000)::bigint;
end
$$;

-- Gives messages that were laid aside their channels' slots of the next `p_ahead`, those first that
-- go first; `p_limit` of a channel at most. Returns how many. It costs what it gives out, and one look
-- for each channel, however many are laid aside.
create function dispatch.release_parked(p_ahead interval, p_limit int)
returns int language plpgsql as $$
declare
  c record;
  at_tenant uuid := '00000000-0000-0000-0000-000000000000';
  at_channel text := '';
  step interval;
  start timestamptz;
  gone int;
  count int := 0;
begin
  loop
    select m.tenant_id, m.channel_code into c from dispatch.message_requests m
     where m.parked_at is not null and m.status in ('accepted', 'dispatched', 'retry_wait')
       and (m.tenant_id, m.channel_code) > (at_tenant, at_channel)
     order by m.tenant_id, m.channel_code limit 1;
    exit when not found;
    at_tenant := c.tenant_id;
    at_channel := c.channel_code;
    -- A channel that is gone holds its messages until it is there again.
    select interval '1 second' / h.rate_per_second into step from dispatch.channels h
     where h.tenant_id = at_tenant and h.code = at_channel;
    continue when not found;
    insert into dispatch.releases as r (tenant_id, channel_code, placed_until)
    values (at_tenant, at_channel, now())
    on conflict (tenant_id, channel_code) do update
      set placed_until = greatest(r.placed_until, now())
    returning placed_until into start;
    with due as (
      select m.id, row_number() over (order by m.sort_key, m.id) as n from (
        select x.id, x.sort_key from dispatch.message_requests x
         where x.tenant_id = at_tenant and x.channel_code = at_channel and x.parked_at is not null
           and x.status in ('accepted', 'dispatched', 'retry_wait')
         order by x.sort_key, x.id
         limit least(p_limit, greatest(0, ceil(extract(epoch from now() + p_ahead - start)
                                               / extract(epoch from step))::int))
         for update skip locked) m)
    update dispatch.message_requests m
       set parked_at = null, next_attempt_at = start + (due.n - 1) * step, updated_at = now()
      from due where m.tenant_id = at_tenant and m.id = due.id;
    get diagnostics gone = row_count;
    update dispatch.releases set placed_until = start + gone * step
     where tenant_id = at_tenant and channel_code = at_channel;
    count := count + gone;
  end loop;
  delete from dispatch.releases where placed_until < now() - interval '1 hour';
  return count;
end
$$;

-- A request that ends, or is begun, is not laid aside any more.
create or replace function dispatch.finish_waiting(m dispatch.message_requests, p_status text, p_error text)
returns void language plpgsql as $$
begin
  update dispatch.message_requests
     set status = p_status, finished_at = now(), updated_at = now(), version = version + 1,
         last_error = coalesce(p_error, last_error), parked_at = null
   where tenant_id = m.tenant_id and id = m.id
  returning * into m;
  perform dispatch.thread_ended(m);
  perform dispatch.announce(m, p_status);
end
$$;

create or replace function dispatch.begin_send(
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
         thread_ts = thread, parked_at = null, updated_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id;
  return jsonb_build_object('begun', true, 'status', 'sending', 'attempts', m.attempts + 1,
    'thread_ts', thread);
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
