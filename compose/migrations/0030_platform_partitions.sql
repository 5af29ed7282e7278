-- How many partitions what happens in the product was ever spread over. Readers read all of them, so that
-- processes may be told another number one after the other.
create table platform.event_streams (
  partitions int not null,
  one bool primary key default true check (one)
);

-- Notes that a process uses so many partitions; answers the largest number there was.
create function platform.event_partitions(p_partitions int) returns int language sql as $$
  insert into platform.event_streams as s (partitions) values (p_partitions)
  on conflict (one) do update set partitions = greatest(s.partitions, excluded.partitions)
  returning partitions
$$;
