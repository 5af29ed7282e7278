-- As in 0002, but what came in while a job waited for another try is counted by the next job when that
-- one is cancelled: the job had counted it, and its `upto_seq` ends before.
create or replace function messaging.stop_ai_job(
  p_tenant uuid, p_job uuid, p_conversation uuid, p_status text, p_actor text, p_reason text,
  p_request_id text, out outcome text, out answer jsonb
) language plpgsql as $$
declare
  newer int;
  c messaging.conversations;
  j messaging.ai_jobs;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = coalesce(p_conversation,
     (select conversation_id from messaging.ai_jobs where tenant_id = p_tenant and id = p_job))
   for update;
  if not found then outcome := 'not_found'; return; end if;
  select * into j from messaging.ai_jobs
   where tenant_id = p_tenant and conversation_id = c.id
     and case when p_job is null then status in ('pending', 'processing') else id = p_job end
   for update;
  if not found then outcome := 'not_found'; return; end if;
  if j.status not in ('pending', 'processing') then
    outcome := 'over';
    answer := messaging.ai_job_json(j);
    return;
  end if;
  select count(*) into newer from messaging.messages m
   where m.tenant_id = p_tenant and m.conversation_id = c.id and m.seq > j.upto_seq
     and m.sender_kind = 'contact';
  perform messaging.end_ai_job(j, p_status, p_reason, null, c.version + 1);
  update messaging.conversations set fence = fence + 1, supersedes = 0, version = version + 1,
         answered_seq = case p_status when 'superseded' then answered_seq
           else greatest(answered_seq, j.upto_seq) end,
         -- A job that waits for another try has counted more than came in since.
         pending_count = case p_status when 'superseded'
           then case j.status when 'pending' then j.consolidated_messages
             else pending_count + j.consolidated_messages end
           else case j.status when 'pending' then newer else pending_count end end,
         first_pending_at = null, debounce_until = null, updated_at = now()
   where tenant_id = p_tenant and id = c.id;
  perform platform.note_audit(p_tenant, p_actor, 'ai_job.' || p_status, j.id::text,
    jsonb_build_object('status', j.status), jsonb_build_object('status', p_status), p_reason,
    p_request_id);
  if p_status <> 'superseded' then
    perform messaging.next_turn(p_tenant, j.tenant, c.id, j.upto_seq, now());
  end if;
  select * into j from messaging.ai_jobs where tenant_id = p_tenant and id = j.id;
  outcome := 'ended';
  answer := messaging.ai_job_json(j);
end
$$;
