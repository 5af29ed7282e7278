-- Messages of several conversations in one statement and one flush.

-- As in 0001, but looks only where the key can be: the days of the last 24 hours, and the next one,
-- should a repeat be dated after midnight that began before it. The days that partitions were made
-- for ahead cost a look at an index each.
create or replace function platform.idempotency_look(
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
     and i.day >= (now() at time zone 'utc')::date - 1
     and i.day <= (now() at time zone 'utc')::date + 1
     and i.created_at > now() - interval '24 hours'
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

-- Stores messages of several conversations in one round trip and one flush.
--
-- p_groups: an array of {tenant, code, conversation, seen, force, items}, each as post_messages takes
-- them, each conversation once. For each group, numbered by `place` from 1, the rows that
-- post_messages answers: one for each item, or one that says 'stale_choice'.
--
-- Strangers do not wait for each other: without p_wait a conversation that somebody else holds gets
-- one row that says 'busy', with nothing written; it is for the caller to come again for it alone,
-- with p_wait. Other locks are waited for no longer than a moment; then the whole statement fails,
-- as it does by any error that is no outcome, and each group is tried alone.
create function messaging.post_batch(
  p_algorithm text, p_debounce interval, p_debounce_max interval, p_debounce_count int,
  p_groups jsonb, p_wait bool
) returns table (place int, outcome text, answer jsonb, snapshot jsonb, bot jsonb)
language plpgsql as $$
declare
  g record;
begin
  if not p_wait then perform set_config('lock_timeout', '50ms', true); end if;
  for g in select * from rows from (jsonb_to_recordset(p_groups) as (
      tenant uuid, code text, conversation uuid, seen bigint, force bool, items jsonb))
      with ordinality
  loop
    if not p_wait then
      perform 1 from messaging.conversations c
       where c.tenant_id = g.tenant and c.id = g.conversation for update skip locked;
      if not found and exists (select 1 from messaging.conversations c
         where c.tenant_id = g.tenant and c.id = g.conversation)
      then
        place := g.ordinality;
        outcome := 'busy';
        answer := null;
        snapshot := null;
        bot := null;
        return next;
        continue;
      end if;
    end if;
    return query
      select g.ordinality::int, p.outcome, p.answer, p.snapshot, p.bot
        from messaging.post_messages(g.tenant, g.code, g.conversation, g.seen, g.force,
          p_algorithm, p_debounce, p_debounce_max, p_debounce_count, g.items) p;
  end loop;
end
$$;

-- As in 0001, but leaves out the partitions that were made for days to come: each costs two looks at
-- an index with every pass of a relay, and nothing can be in them. (A day more than now, for those
-- that begin around midnight.)
create or replace function platform.outbox_pending(
  p_source text, p_limit int, p_busy text[], p_held text[]
) returns setof platform.outbox language sql stable as $$
  select * from (
    (select * from platform.outbox e
      where e.source = p_source and e.published_at is null and e.laid_aside_at is null
        and e.kind = 'event' and e.created_at < now() + interval '1 day'
      order by e.id limit p_limit)
    union all
    (select * from platform.outbox c
      where c.source = p_source and c.published_at is null and c.laid_aside_at is null
        and c.kind = 'call' and c.created_at < now() + interval '1 day' and c.target <> all (p_held)
        and c.target || ' ' || c.key <> all (p_busy)
      order by c.id limit p_limit)) o
   order by o.id
$$;

-- As in 0001, but the mark does not wait for the disk, whose flushes those who post wait for: should
-- the server lose it in a crash, its rows are delivered again, as after a crash before the mark.
create or replace function platform.outbox_published(p_ids bigint[], p_oldest timestamptz)
returns void language plpgsql as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  update platform.outbox set published_at = now(), attempts = attempts + 1
   where id = any (p_ids) and created_at >= p_oldest - interval '1 second'
     and created_at < now() + interval '1 day';
end
$$;
