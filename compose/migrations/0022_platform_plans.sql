-- What every message calls is planned once for each connection. Of some of its statements PostgreSQL
-- takes the plan for the very values at hand to be better than the one for any, by next to nothing,
-- and makes it again with each call, which costs more than to run it.

alter function messaging.post_batch set plan_cache_mode = force_generic_plan;
alter function messaging.store_reply set plan_cache_mode = force_generic_plan;
alter function messaging.claim_ai_jobs set plan_cache_mode = force_generic_plan;
alter function messaging.next_ai_job_due set plan_cache_mode = force_generic_plan;
alter function messaging.finish_ai_job set plan_cache_mode = force_generic_plan;
alter function messaging.supersede_ai_job set plan_cache_mode = force_generic_plan;
alter function messaging.apply_delivery set plan_cache_mode = force_generic_plan;
alter function dispatch.accept_many set plan_cache_mode = force_generic_plan;
alter function dispatch.mark_dispatched set plan_cache_mode = force_generic_plan;
alter function dispatch.note_queued set plan_cache_mode = force_generic_plan;
alter function dispatch.resolve_many set plan_cache_mode = force_generic_plan;
alter function dispatch.step_sends set plan_cache_mode = force_generic_plan;
alter function dispatch.postpone_many set plan_cache_mode = force_generic_plan;

-- As in 0006, but plpgsql: what it runs is planned once, too.
create or replace function messaging.note_event(
  p_tenant uuid, p_conversation uuid, p_type text, p_ref uuid, p_data jsonb
) returns void language plpgsql as $$
begin
  with counted as (
    update messaging.conversations set event_seq = event_seq + 1
     where tenant_id = p_tenant and id = p_conversation returning event_seq)
  insert into messaging.conversation_events (tenant_id, conversation_id, seq, type, ref_id, data)
  select p_tenant, p_conversation, event_seq, p_type, p_ref, p_data from counted;
end
$$;

-- No more than what it calls promises, so that it becomes part of the statements that call it.
alter function dispatch.news(dispatch.message_requests) stable;
