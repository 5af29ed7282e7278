-- A stream keeps only so much: what it threw away before a group of readers was given it, or lost with
-- its server, is read again from the outbox, which keeps what was published for a week.

-- How far a group of readers has come, and what it has to read again.
create table platform.stream_readers (
  stream text not null,
  reader text not null,
  read_ms bigint not null, -- of the newest entry handled, by the stream's own clock
  replay_from timestamptz, -- where the reading again has come to: published then,
  replay_id bigint not null default 0, -- and with this id
  replay_until timestamptz,
  worker text,
  lease_until timestamptz,
  primary key (stream, reader),
  check ((replay_from is null) = (replay_until is null))
);

-- Rows are marked in the order of time, so a block knows the times in it.
create index outbox_published on platform.outbox using brin (published_at)
  with (pages_per_range = 32, autosummarize = on);

-- Notes how far a group of readers has come; says how far it came before, null for a new one.
create function platform.stream_read(p_stream text, p_reader text, p_read_ms bigint)
returns bigint language plpgsql as $$
declare
  before bigint;
begin
  perform set_config('synchronous_commit', 'off', true);
  select read_ms into before from platform.stream_readers
   where stream = p_stream and reader = p_reader for update;
  if not found then
    insert into platform.stream_readers (stream, reader, read_ms)
    values (p_stream, p_reader, p_read_ms) on conflict do nothing;
  elsif before < p_read_ms then
    update platform.stream_readers set read_ms = p_read_ms
     where stream = p_stream and reader = p_reader;
  end if;
  return before;
end
$$;

-- Notes that a group of readers missed what was published between two times, in milliseconds since
-- 1970; joined with what it is still to read again.
create function platform.stream_missed(
  p_stream text, p_reader text, p_from_ms bigint, p_until_ms bigint
) returns void language plpgsql as $$
declare
  v_from timestamptz := to_timestamp(p_from_ms / 1000.0);
  v_until timestamptz := to_timestamp(p_until_ms / 1000.0);
begin
  insert into platform.stream_readers as r (stream, reader, read_ms, replay_from, replay_until)
  values (p_stream, p_reader, p_from_ms, v_from, v_until)
  on conflict (stream, reader) do update
    set replay_id = case when r.replay_from <= v_from then r.replay_id else 0 end,
        replay_from = least(r.replay_from, v_from),
        replay_until = greatest(r.replay_until, v_until);
end
$$;

-- The next page of what a group is to read again, for one of its processes at a time: rows in the
-- order in which they were published, and where to go on. A page reaches over a minute at most, so it
-- may hold none although more follow; no row at all says that there is nothing to do.
--
-- Nothing that was published within `p_settled` is given: what was sent is marked a moment later.
create function platform.stream_replay(
  p_stream text, p_reader text, p_worker text, p_lease interval, p_settled interval, p_limit int
) returns table (place jsonb, rows jsonb) language plpgsql as $$
declare
  r platform.stream_readers;
  v_until timestamptz;
  v_last timestamptz;
begin
  perform set_config('synchronous_commit', 'off', true);
  update platform.stream_readers set worker = p_worker, lease_until = now() + p_lease
   where stream = p_stream and reader = p_reader and replay_from < now() - p_settled
     and (worker = p_worker or lease_until is null or lease_until < now())
  returning * into r;
  if not found then return; end if;
  v_until := least(r.replay_until, r.replay_from + interval '1 minute', now() - p_settled);
  select coalesce(jsonb_agg(jsonb_build_object(
      'row', o.id, 'id', o.event_id, 'name', o.target, 'tenant', o.tenant, 'key', o.key,
      'version', o.key_version, 'at', platform.rfc3339(o.created_at), 'data', o.payload::text,
      'traceparent', o.traceparent) order by o.published_at, o.id), '[]'), max(o.published_at)
    into rows, v_last
    from (select e.* from platform.outbox e
           where e.kind = 'event' and e.published_at >= r.replay_from and e.published_at <= v_until
             and (e.published_at > r.replay_from or e.id > r.replay_id)
           order by e.published_at, e.id limit p_limit) o;
  if jsonb_array_length(rows) < p_limit then v_last := v_until; end if;
  place := jsonb_build_object('from', r.replay_from, 'id', r.replay_id, 'next', v_last,
    'next_id', case when jsonb_array_length(rows) < p_limit then 9223372036854775807
      else (rows -> -1 ->> 'row')::bigint end);
  return next;
end
$$;

-- Goes on behind a page, unless more was found missing meanwhile; at the end nothing is left to do.
create function platform.stream_replayed(
  p_stream text, p_reader text, p_worker text, p_place jsonb
) returns void language plpgsql as $$
declare
  v_next timestamptz := (p_place ->> 'next')::timestamptz;
begin
  update platform.stream_readers
     set replay_from = case when v_next < replay_until then v_next end,
         replay_id = case when v_next < replay_until then (p_place ->> 'next_id')::bigint else 0 end,
         replay_until = case when v_next < replay_until then replay_until end
   where stream = p_stream and reader = p_reader and worker = p_worker
     and replay_from = (p_place ->> 'from')::timestamptz
     and replay_id = (p_place ->> 'id')::bigint;
end
$$;
