-- What is left for later keeps the step of the trace that left it: whoever takes it up goes on there.
--
-- A client that records its trace puts the step before a statement, as the setting
-- `switchboard.traceparent` of the statement's own transaction; everybody else writes null.
create function platform.traceparent() returns text language sql stable as $$
  select nullif(current_setting('switchboard.traceparent', true), '')
$$;

alter table platform.outbox add column traceparent text;
alter table platform.outbox alter column traceparent set default platform.traceparent();
alter table platform.timers add column traceparent text;
alter table platform.timers alter column traceparent set default platform.traceparent();
alter table messaging.ai_jobs add column traceparent text;
alter table messaging.ai_jobs alter column traceparent set default platform.traceparent();
alter table messaging.inbound_events add column traceparent text;
alter table messaging.inbound_events
  alter column traceparent set default platform.traceparent();
