-- What a message costs the database on its way out.

-- Led by the id, which is unique alone. Led by the tenant it was taken, by plans made while the
-- table was small, for looks by (tenant_id, code), which went through the tenant's workspaces.
drop index dispatch.workspaces_id;
create unique index workspaces_id on dispatch.workspaces (id, tenant_id);

drop function dispatch.resolve_many(uuid[], uuid[], boolean[]);

-- As in 0025, in columns: to put a document together for each message cost more than the looks
-- that it needs. `workspace_code` and what follows is null when there is no such channel, `text`
-- and what follows when the content was not asked for, everything when there is no such request.
create function dispatch.resolve_many(p_tenants uuid[], p_ids uuid[], p_contents boolean[])
returns table (generation int, status text, channel_code text, due_ms bigint, thread_ms bigint,
               has_thread boolean, traceparent text, workspace_code text, provider text,
               api_base_url text, team_id text, provider_channel_id text, unknown_policy text,
               rate_per_second float8, rate_burst int, quiet_ms bigint, pause_scope text,
               pause_reason text, token_key_id text, token_sealed bytea, text text, blocks jsonb,
               thread_ts text, template_code text, priority int)
language plpgsql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query select m.generation, m.status, m.channel_code,
    ceil(date_part('epoch', m.next_attempt_at - now()) * 1000)::bigint,
    case when m.thread_key is null then 0 else dispatch.thread_wait_ms(m) end,
    m.thread_key is not null, m.traceparent,
    c.workspace_code, w.provider, w.api_base_url, w.team_id, c.provider_channel_id,
    c.unknown_policy, c.rate_per_second, c.rate_burst,
    case when c.quiet_tz is not null then dispatch.quiet_ms(c, now()) end,
    x.scope, x.reason, s.key_id, s.sealed,
    case when u.content then m.text end, case when u.content then m.blocks end,
    case when u.content then m.thread_ts end, case when u.content then m.template_code end,
    case when u.content then m.priority::int end
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

drop function dispatch.unknown_request(uuid, uuid);

-- As in 0025, in columns: where its attempt went, under the names of `resolve_many`. `provider` is
-- null when that is not known; no row when the request is not unknown.
create function dispatch.unknown_request(p_tenant uuid, p_id uuid)
returns table (generation int, channel_code text, attempt_token uuid, begun_s bigint,
               unknown_ms bigint, gone text, workspace_code text, provider text, api_base_url text,
               team_id text, provider_channel_id text, unknown_policy text, rate_per_second float8,
               rate_burst int, quiet_ms bigint, pause_scope text, pause_reason text,
               token_key_id text, token_sealed bytea, thread_ts text)
language plpgsql stable as $$
#variable_conflict use_column
declare
  m dispatch.message_requests;
  c dispatch.channels;
  w dispatch.workspaces;
  target jsonb;
  reason text;
begin
  select * into m from dispatch.message_requests
   where tenant_id = p_tenant and id = p_id and status = 'unknown';
  if not found then return; end if;
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
  reason := case
    when target is null then 'not_noted_where_it_went'
    -- The outbox is here, whatever became of its workspace.
    when target->>'provider' = 'local' then null
    when w.code is null then 'workspace_gone'
    when w.provider <> target->>'provider' then 'provider_changed'
    when w.team_id <> target->>'team_id' then 'team_changed'
    when w.api_base_url is distinct from target->>'api_base_url' then 'address_changed' end;
  return query select m.generation, m.channel_code, m.attempt_token,
      date_part('epoch', m.begun_at)::bigint,
      (date_part('epoch', now() - m.unknown_since) * 1000)::bigint, reason,
      target->>'workspace_code', target->>'provider', target->>'api_base_url',
      target->>'team_id', target->>'provider_channel_id', coalesce(c.unknown_policy, 'verify'),
      c.rate_per_second, c.rate_burst, null::bigint, null::text, null::text, s.key_id, s.sealed,
      m.thread_ts
    from (select) one left join platform.secrets s
      on s.tenant_id = p_tenant and s.kind = 'slack_token' and s.ref = w.code;
end
$$;

-- As in 0025, but all that are usual are one statement, in which what is asked for is read once.
-- Everything else goes one by one after it, as do requests that are not there.
create or replace function dispatch.step_sends(p_steps jsonb, p_lease interval)
returns table (place int, answer jsonb) language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  places int[];
  answers jsonb[];
  sent dispatch.message_requests[];
begin
  with u as materialized (select * from dispatch.steps(p_steps)),
  -- Locked in the order of the keys: two callers never wait for each other.
  locked as materialized (
    select u.*, u.is_single and m.thread_key is null and case
             when u.status is null then m.generation = u.generation and m.next_attempt_at <= now()
               and m.status in ('accepted', 'dispatched', 'retry_wait') and not m.cancel_requested
               and (m.deadline_at is null or m.deadline_at > now())
             when u.status = 'sent' then u.counts and m.attempt_token = u.token
               and m.status in ('sending', 'unknown') end as is_usual
      from u join dispatch.message_requests m on m.tenant_id = u.tenant_id and m.id = u.id
     order by u.tenant_id, u.id, u.place for update of m),
  begun as (
    update dispatch.message_requests m
       set status = 'sending', attempt_token = u.token, lease_until = now() + p_lease,
           bytes_out = true, attempts = attempts + 1, begun_at = coalesce(begun_at, now()),
           target = u.target, parked_at = null, updated_at = now(), version = version + 1
      from locked u
     where u.status is null and u.is_usual and m.tenant_id = u.tenant_id and m.id = u.id
    returning u.place, jsonb_build_object('begun', true, 'status', 'sending', 'attempts',
      m.attempts, 'thread_ts', m.thread_ts) as answer),
  ended as (
    update dispatch.message_requests m
       set status = 'sent', provider_ts = coalesce(u.provider_ts, m.provider_ts),
           last_error = u.error, bytes_out = true, lease_until = null, attempt_token = null,
           finished_at = now(), updated_at = now(), version = version + 1
      from locked u
     where u.status = 'sent' and u.is_usual and m.tenant_id = u.tenant_id and m.id = u.id
    returning u.place, m as request, u.token, u.error, u.http_status, u.retry_after_ms,
              u.took_ms),
  noted as (
    insert into dispatch.attempts
      (tenant_id, message_request_id, generation, n, token, status, error, http_status,
       retry_after_ms, took_ms)
    select (e.request).tenant_id, (e.request).id, (e.request).generation, (e.request).attempts,
           e.token, 'sent', e.error, e.http_status, e.retry_after_ms, e.took_ms from ended e)
  select array_agg(d.place), array_agg(d.answer), array_agg(d.request) filter (where d.is_end)
    into places, answers, sent
    from (select b.place, b.answer, null::dispatch.message_requests as request, false as is_end
            from begun b
          union all
          select e.place, '{"recorded": true, "status": "sent"}', e.request, true from ended e) d;
  if sent is not null then perform dispatch.announce_many(sent, 'sent'); end if;
  return query select unnest(places), unnest(answers);
  if coalesce(cardinality(places), 0) < jsonb_array_length(p_steps) then
    return query select u.place, case when u.status is null
        then dispatch.begin_send(u.tenant_id, u.id, u.generation, u.token, p_lease, u.target)
        else dispatch.finish_send(u.tenant_id, u.id, u.token, u.status, u.provider_ts, u.error,
          u.http_status, u.retry_after_ms, u.wait_ms * interval '1 ms', u.counts, u.took_ms) end
      from (select * from dispatch.steps(p_steps) s
             where s.place <> all (coalesce(places, '{}'))
             order by s.tenant_id, s.id, s.place offset 0) u;
  end if;
end
$$;
