-- What all three services share: tenants and keys, idempotency, the outbox, timers, audit, secrets.
-- Times come from the database's clock. A file is never edited once it has landed.

-- The program that applies these files has made the schema already, for its own table.
create schema if not exists platform;

-- Ids of rows are UUID version 7: they grow with time, so indexes stay dense.
create function platform.uuid_v7() returns uuid language sql volatile parallel safe as $$
  select encode(
    set_byte(set_byte(
      overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        from 1 for 6),
      6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
      8, (get_byte(uuid_send(gen_random_uuid()), 8) & 63) | 128), 'hex')::uuid
$$;

-- A time as the API writes it: RFC 3339, UTC, milliseconds.
create function platform.rfc3339(p_time timestamptz) returns text
language sql stable parallel safe as $$
  select to_char(p_time at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create table platform.tenants (
  id uuid primary key default platform.uuid_v7(),
  code text not null unique check (code ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
  created_at timestamptz not null default now()
);

-- A key is `sb_<key_id>_<secret>`; only the SHA-256 of the secret is here. Several keys of a tenant
-- may be valid at once, so that one can be replaced without a gap.
create table platform.api_keys (
  key_id text primary key,
  tenant_id uuid not null references platform.tenants,
  role text not null check (role in ('viewer', 'agent', 'operator', 'admin')),
  secret_sha256 bytea not null check (octet_length(secret_sha256) = 32),
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);
create index api_keys_by_tenant on platform.api_keys (tenant_id, created_at);

-- Every write through the API leaves who, what, before, after and why, in the transaction of the
-- change. Append-only; partitioned by day, kept for 400 days.
create table platform.audit (
  id uuid not null default platform.uuid_v7(),
  tenant_id uuid not null,
  at timestamptz not null default now(),
  actor text not null,
  action text not null,
  subject text not null,
  before jsonb,
  after jsonb,
  reason text,
  request_id text,
  primary key (tenant_id, at, id)
) partition by range (at);

create function platform.note_audit(
  p_tenant uuid, p_actor text, p_action text, p_subject text, p_before jsonb, p_after jsonb,
  p_reason text, p_request_id text
) returns void language plpgsql as $$
begin
  insert into platform.audit (tenant_id, actor, action, subject, before, after, reason, request_id)
  values (p_tenant, p_actor, p_action, p_subject, p_before, p_after, p_reason, p_request_id);
end
$$;

-- Secrets at rest: sealed by the application (AES-256-GCM); the database never sees a key.
create table platform.secrets (
  tenant_id uuid not null references platform.tenants,
  kind text not null,
  ref text not null,
  key_id text not null,
  sealed bytea not null,
  updated_at timestamptz not null default now(),
  primary key (tenant_id, kind, ref)
);

-- Idempotency keys of the API, kept for 24 hours (day partitions, the oldest is dropped after two).
-- `result` is what the effect left: the record of the SQL function that did it, or the answer that
-- the server stores. Answer and replay are rendered from it by the same code.
create table platform.idempotency (
  tenant_id uuid not null,
  key text not null,
  day date not null,
  method text not null,
  path text not null,
  body_hash bytea not null,
  state text not null check (state in ('started', 'done')),
  lease_until timestamptz,
  result jsonb,
  status int,
  content_type text,
  body bytea,
  created_at timestamptz not null default now(),
  primary key (tenant_id, key, method, path, day)
) partition by range (day);

-- What became of a key. Equal keys never wait for each other on a row: an advisory lock is tried, and
-- who does not get it is told 'in_progress' at once and asks again later.
--
-- The functions here that write are plpgsql, because it keeps their plans: planning for all the
-- partitions again with each call costs several times as much as the work.
--
-- state: 'new', 'expired' (claimed, and its lease is over), 'done' (result, status, content_type,
--        body), 'reused' (the key was used for another body), 'in_progress'.
create function platform.idempotency_look(
  p_tenant uuid, p_key text, p_method text, p_path text, p_body_hash bytea,
  out state text, out result jsonb, out status int, out content_type text, out body bytea,
  out day date
) language plpgsql as $$
declare
  known record;
begin
  if not pg_try_advisory_xact_lock(
    hashtextextended(p_tenant::text || '|' || p_method || '|' || p_path || '|' || p_key, 7))
  then
    state := 'in_progress';
    return;
  end if;
  select i.state, i.body_hash, i.lease_until, i.result, i.status, i.content_type, i.body, i.day
    into known
    from platform.idempotency i
   where i.tenant_id = p_tenant and i.key = p_key and i.method = p_method and i.path = p_path
     and i.day >= (now() at time zone 'utc')::date - 1 and i.created_at > now() - interval '24 hours'
   order by i.day desc limit 1;
  if not found then
    state := 'new';
  elsif known.body_hash <> p_body_hash then
    state := 'reused';
  elsif known.state = 'done' then
    state := 'done';
    result := known.result;
    status := known.status;
    content_type := known.content_type;
    body := known.body;
  elsif known.lease_until > now() then
    state := 'in_progress';
  else
    state := 'expired';
    day := known.day;
  end if;
end
$$;

-- Claims a key, or tells what became of it. Used by the server around a handler, with a lease, so
-- that a request whose process died is driven again.
--
-- state: 'started' (the key is the caller's now), else as in idempotency_look.
create function platform.idempotency_begin(
  p_tenant uuid, p_key text, p_method text, p_path text, p_body_hash bytea, p_lease interval,
  out state text, out result jsonb, out status int, out content_type text, out body bytea
) language plpgsql as $$
declare
  known record;
begin
  select * into known from platform.idempotency_look(
    p_tenant, p_key, p_method, p_path, p_body_hash);
  if known.state = 'new' then
    insert into platform.idempotency
      (tenant_id, key, day, method, path, body_hash, state, lease_until)
    values (p_tenant, p_key, (now() at time zone 'utc')::date, p_method, p_path, p_body_hash,
            'started', now() + p_lease);
    state := 'started';
  elsif known.state = 'expired' then
    update platform.idempotency i set lease_until = now() + p_lease
     where i.tenant_id = p_tenant and i.key = p_key and i.method = p_method and i.path = p_path
       and i.day = known.day;
    state := 'started';
  else
    state := known.state;
    result := known.result;
    status := known.status;
    content_type := known.content_type;
    body := known.body;
  end if;
end
$$;

-- Keeps the result of a key that idempotency_look found new, in the transaction of the effect: there
-- the key needs no claim, since it commits together with its result.
create function platform.idempotency_keep(
  p_tenant uuid, p_key text, p_method text, p_path text, p_body_hash bytea, p_result jsonb,
  p_status int
) returns void language plpgsql as $$
begin
  insert into platform.idempotency
    (tenant_id, key, day, method, path, body_hash, state, result, status)
  values (p_tenant, p_key, (now() at time zone 'utc')::date, p_method, p_path, p_body_hash, 'done',
          p_result, p_status)
  on conflict (tenant_id, key, method, path, day) do update
    set state = 'done', lease_until = null, result = excluded.result, status = excluded.status;
end
$$;

-- Keeps what a claimed key led to.
create function platform.idempotency_finish(
  p_tenant uuid, p_key text, p_method text, p_path text, p_result jsonb, p_status int,
  p_content_type text, p_body bytea
) returns void language plpgsql as $$
begin
  update platform.idempotency
     set state = 'done', lease_until = null, result = p_result, status = p_status,
         content_type = p_content_type, body = p_body
   where tenant_id = p_tenant and key = p_key and method = p_method and path = p_path
     and day >= (now() at time zone 'utc')::date - 1 and state = 'started';
end
$$;

-- Lets a claimed key go without a result, so that a repeat may try again.
create function platform.idempotency_abandon(
  p_tenant uuid, p_key text, p_method text, p_path text
) returns void language plpgsql as $$
begin
  delete from platform.idempotency
   where tenant_id = p_tenant and key = p_key and method = p_method and path = p_path
     and day >= (now() at time zone 'utc')::date - 1 and state = 'started';
end
$$;

-- What leaves a transaction. A row is inserted by the statement that holds the lock of its key's own
-- row, so ids of one key follow the order of its changes; `key_version` is that row's version, and
-- consumers drop older ones. Delivered rows stay for 7 days: who finds a gap replays from here.
create sequence platform.outbox_id;
create table platform.outbox (
  id bigint not null default nextval('platform.outbox_id'),
  created_at timestamptz not null default now(),
  source text not null,
  event_id uuid not null default gen_random_uuid(),
  tenant_id uuid not null,
  tenant text not null,
  kind text not null check (kind in ('event', 'call')),
  -- The event's name, or the service that is called.
  target text not null,
  -- The path of a call.
  path text,
  key text not null,
  key_version bigint not null default 0,
  payload jsonb not null,
  attempts int not null default 0,
  last_error text,
  published_at timestamptz,
  laid_aside_at timestamptz,
  primary key (id, created_at)
) partition by range (created_at);
-- A work table: its scan is global, so the index is led by the source and not by the tenant.
create index outbox_pending on platform.outbox (source, kind, id)
  where published_at is null and laid_aside_at is null;
create index outbox_laid_aside on platform.outbox (source) where laid_aside_at is not null;

-- Leaves an event. `source` is the service whose relay delivers it.
create function platform.emit(
  p_source text, p_tenant uuid, p_tenant_code text, p_name text, p_key text, p_version bigint,
  p_data jsonb
) returns void language plpgsql as $$
begin
  insert into platform.outbox
    (source, tenant_id, tenant, kind, target, key, key_version, payload)
  values (p_source, p_tenant, p_tenant_code, 'event', p_name, p_key, p_version, p_data);
end
$$;

-- Leaves a call of another service. `p_id` is its idempotency key.
create function platform.enqueue_call(
  p_source text, p_tenant uuid, p_tenant_code text, p_service text, p_path text, p_key text,
  p_version bigint, p_body jsonb, p_id uuid
) returns void language plpgsql as $$
begin
  insert into platform.outbox
    (source, event_id, tenant_id, tenant, kind, target, path, key, key_version, payload)
  values (p_source, p_id, p_tenant, p_tenant_code, 'call', p_service, p_path, p_key, p_version,
          p_body);
end
$$;

-- The oldest events and the oldest calls that wait. Without those calls that the relay holds back:
-- to services that take no more (`p_held`), and those of a key and a service where an earlier one is
-- under way (`p_busy`, as 'service key'). Each kind has its own limit: while the stream is away its
-- events must not hide the calls.
create function platform.outbox_pending(p_source text, p_limit int, p_busy text[], p_held text[])
returns setof platform.outbox language sql stable as $$
  select * from (
    (select * from platform.outbox e
      where e.source = p_source and e.published_at is null and e.laid_aside_at is null
        and e.kind = 'event'
      order by e.id limit p_limit)
    union all
    (select * from platform.outbox c
      where c.source = p_source and c.published_at is null and c.laid_aside_at is null
        and c.kind = 'call' and c.target <> all (p_held)
        and c.target || ' ' || c.key <> all (p_busy)
      order by c.id limit p_limit)) o
   order by o.id
$$;

-- `p_oldest` is the time of the oldest of them: it keeps the statement out of old partitions.
create function platform.outbox_published(p_ids bigint[], p_oldest timestamptz)
returns void language sql as $$
  update platform.outbox set published_at = now(), attempts = attempts + 1
   where id = any (p_ids) and created_at >= p_oldest - interval '1 second'
$$;

create function platform.outbox_postpone(p_id bigint, p_created timestamptz, p_reason text)
returns void language sql as $$
  update platform.outbox set attempts = attempts + 1, last_error = left(p_reason, 500)
   where id = p_id and created_at >= p_created - interval '1 second'
$$;

-- A call that its callee keeps refusing: it stays visible and is delivered no more.
create function platform.outbox_lay_aside(p_id bigint, p_created timestamptz, p_reason text)
returns void language sql as $$
  update platform.outbox
     set attempts = attempts + 1, last_error = left(p_reason, 500), laid_aside_at = now()
   where id = p_id and created_at >= p_created - interval '1 second'
$$;

-- Things that are due at an instant. A runner takes due rows with SKIP LOCKED; a timer acts only if
-- its `ref_seq` is still that of the row it refers to. Global due scan: the index is led by due_at.
create table platform.timers (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  owner text not null,
  tenant text not null,
  kind text not null,
  ref_id uuid not null,
  ref_seq bigint not null default 0,
  data jsonb not null default '{}',
  due_at timestamptz not null,
  attempts int not null default 0,
  lease_until timestamptz,
  last_error text,
  primary key (tenant_id, id)
);
create index timers_due on platform.timers (due_at, owner);
create index timers_of_ref on platform.timers (tenant_id, ref_id, kind);

create function platform.set_timer(
  p_owner text, p_tenant uuid, p_tenant_code text, p_kind text, p_ref uuid, p_ref_seq bigint,
  p_due timestamptz, p_data jsonb
) returns void language plpgsql as $$
begin
  insert into platform.timers (owner, tenant_id, tenant, kind, ref_id, ref_seq, due_at, data)
  values (p_owner, p_tenant, p_tenant_code, p_kind, p_ref, p_ref_seq, p_due, p_data);
end
$$;

-- Takes due timers of a service for `p_lease`; a runner that dies leaves them to the next one.
create function platform.take_timers(p_owner text, p_limit int, p_lease interval)
returns setof platform.timers language sql as $$
  update platform.timers t set lease_until = now() + p_lease, attempts = t.attempts + 1
    from (select tenant_id, id from platform.timers
           where owner = p_owner and due_at <= now()
             and (lease_until is null or lease_until < now())
           order by due_at limit p_limit for update skip locked) d
   where t.tenant_id = d.tenant_id and t.id = d.id
  returning t.*
$$;

create function platform.finish_timer(p_tenant uuid, p_id uuid) returns void language sql as $$
  delete from platform.timers where tenant_id = p_tenant and id = p_id
$$;

-- A timer whose action failed comes again after a pause that doubles, to 5 minutes at most.
create function platform.retry_timer(p_tenant uuid, p_id uuid, p_reason text)
returns void language sql as $$
  update platform.timers
     set lease_until = null, last_error = left(p_reason, 500),
         due_at = now() + least(interval '5 minutes', interval '1 second' * power(2, least(attempts, 9)))
   where tenant_id = p_tenant and id = p_id
$$;

-- Tables that only grow are partitioned by day from their first migration. Partitions are made a
-- week ahead; dropping one costs nothing and leaves no holes.
create table platform.partitioned (
  table_name text primary key,
  keep interval not null
);
insert into platform.partitioned values
  ('platform.audit', '400 days'), ('platform.idempotency', '2 days'), ('platform.outbox', '8 days');

create function platform.ensure_partitions(p_ahead int default 7) returns int
language plpgsql set timezone = 'UTC' as $$
declare
  parent record;
  day date;
  name text;
  made int := 0;
begin
  -- One at a time: two services that start together would make the same partition.
  perform pg_advisory_xact_lock(hashtextextended('platform.partitions', 7));
  for parent in select table_name from platform.partitioned loop
    for day in select d::date from generate_series(
      (now() at time zone 'utc')::date - 1, (now() at time zone 'utc')::date + p_ahead,
      interval '1 day') d
    loop
      name := parent.table_name || '_' || to_char(day, 'YYYYMMDD');
      if to_regclass(name) is null then
        -- Attached when it is ready: `partition of` would wait for every writer of the parent, and
        -- let nobody in meanwhile.
        execute format('create table %s (like %s including all)', name, parent.table_name);
        execute format('alter table %s attach partition %s for values from (%L) to (%L)',
          parent.table_name, name, day, day + 1);
        made := made + 1;
      end if;
    end loop;
  end loop;
  return made;
end
$$;

-- Drops partitions older than their table keeps. Outbox rows that still wait keep their partition.
-- A drop locks the whole table: it gives up at once where somebody is in the way, and comes again.
create function platform.drop_old_partitions() returns int
language plpgsql set lock_timeout = '100ms' as $$
declare
  child record;
  waiting bool;
  dropped int := 0;
begin
  perform pg_advisory_xact_lock(hashtextextended('platform.partitions', 7));
  for child in
    select c.oid::regclass::text as name, p.table_name
      from platform.partitioned p
      join pg_inherits i on i.inhparent = to_regclass(p.table_name)
      join pg_class c on c.oid = i.inhrelid
     where to_date(right(c.relname, 8), 'YYYYMMDD')
           < ((now() at time zone 'utc') - p.keep)::date
  loop
    waiting := false;
    if child.table_name = 'platform.outbox' then
      execute format(
        'select exists (select 1 from %s where published_at is null and laid_aside_at is null)',
        child.name) into waiting;
    end if;
    if not waiting then
      execute format('drop table %s', child.name);
      dropped := dropped + 1;
    end if;
  end loop;
  return dropped;
end
$$;

select platform.ensure_partitions();
