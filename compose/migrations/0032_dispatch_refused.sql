-- What waits for an endpoint that is disabled fails in batches: in one statement it would take as long as
-- it likes, be cut off by its time, and leave the endpoint as it was.

create index webhooks_disabled on dispatch.webhooks (tenant_id, code) where disabled_at is not null;

-- Fails deliveries that wait for a disabled endpoint; how many, at most p_limit.
create function dispatch.clean_refused(p_limit int) returns int
language plpgsql set enable_seqscan = off as $$
declare
  n int;
begin
  update dispatch.webhook_deliveries d
     set status = 'failed', finished_at = now(), lease_until = null
    from (
      select x.tenant_id, x.id from dispatch.webhooks w cross join lateral (
        select p.tenant_id, p.id from dispatch.webhook_deliveries p
         where p.status = 'pending' and p.tenant_id = w.tenant_id and p.webhook_code = w.code
         limit p_limit) x
       where w.disabled_at is not null limit p_limit) r
   where d.tenant_id = r.tenant_id and d.id = r.id and d.status = 'pending';
  get diagnostics n = row_count;
  return n;
end
$$;

-- As in 0004, but what else waits for an endpoint that is disabled now fails bit by bit.
create or replace function dispatch.finish_webhook(
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
    perform dispatch.clean_refused(500);
    return 'disabled';
  end if;
  return d.status;
end
$$;

-- As in 0026, but nothing is taken for an endpoint that is disabled.
create or replace function dispatch.take_webhooks(
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
      from endpoints e
      join dispatch.webhooks h on h.tenant_id = e.tenant_id and h.code = e.webhook_code
       and h.disabled_at is null
     cross join lateral (
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
