-- The message handler: answers in parts, one sign of life for all jobs of a worker, and people for
-- those whom no bot could answer while the database was away.

-- Everything a worker needs for a job: bot, AI with its sealed token, platform, the history that the
-- caller brought along, and the last p_history messages up to the job's upto_seq.
create or replace function messaging.ai_job_work(j messaging.ai_jobs, p_history int) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', j.id, 'tenant_id', j.tenant_id, 'tenant', j.tenant, 'lock_id', j.lock_id,
    'conversation_id', j.conversation_id, 'fence', j.fence, 'upto_seq', j.upto_seq,
    'attempts', j.attempts, 'consolidated_messages', j.consolidated_messages,
    'input', j.input, 'channel_code', c.channel_code,
    -- What its provider takes as one message depends on it.
    'channel_kind', (select h.kind from messaging.channels h
      where h.tenant_id = j.tenant_id and h.code = c.channel_code),
    'supersedes', c.supersedes,
    -- Whether messages in the conversation wait for the answer, or only who brought a history.
    'posts', j.upto_seq > c.answered_seq,
    'bot', case when b.id is not null then to_jsonb(b) - 'tenant_id' end,
    'core_ai', case when a.id is not null then to_jsonb(a) - 'tenant_id' end,
    'platform', (select to_jsonb(p) - 'tenant_id' from messaging.platforms p
      where p.tenant_id = j.tenant_id and p.id = b.platform_id),
    'token', (select jsonb_build_object('key_id', s.key_id, 'sealed', encode(s.sealed, 'hex'))
      from platform.secrets s
      where s.tenant_id = j.tenant_id and s.kind = 'core_ai' and s.ref = a.id::text),
    -- To a history that the caller brought belongs only what came into the conversation since.
    'history', coalesce((
      select jsonb_agg(jsonb_build_object('seq', h.seq, 'sender_kind', h.sender_kind,
        'sender_id', h.sender_id, 'text', h.text, 'attachments', h.attachments) order by h.seq)
      from (select m.seq, m.sender_kind, m.sender_id, m.text, m.attachments
              from messaging.messages m
             where m.tenant_id = j.tenant_id and m.conversation_id = j.conversation_id
               and m.seq <= j.upto_seq and m.deleted_at is null
               and (j.input is null or m.seq > c.answered_seq and m.sender_kind = 'contact')
             order by m.seq desc limit p_history) h), '[]'))
  from messaging.conversations c
  left join lateral messaging.bot_of(j.tenant_id, c.bot_id, c.channel_code) b on true
  left join messaging.core_ai a on a.tenant_id = j.tenant_id and a.id = b.core_ai_id
  where c.tenant_id = j.tenant_id and c.id = j.conversation_id
$$;

drop function messaging.finish_ai_job(
  uuid, uuid, text, bigint, text, jsonb, text, bool, int, bytea, text[], text, text);

-- Ends a job with the bot's answer, by one conditional write: the fence must still be the job's, the
-- bot must own the conversation, and nothing newer may have come in, unless p_post_anyway, or the
-- answers of p_max_supersedes jobs in a row were dropped already; then it is marked stale. What is
-- posted is sent on by dispatch-worker, as an agent's reply is; nothing else is.
-- p_parts: the answer's messages in order, [{text, terms: hex, mentions}, …]; null ends the job
-- without one. With p_handover, the bot's reason, the conversation then goes to a person of p_team
-- (may be null). Makes the next job itself when there is news.
-- outcome: 'posted' (answer = message_json of the first) | 'done' (none) | 'superseded' | 'lost'
create function messaging.finish_ai_job(
  p_tenant uuid, p_job uuid, p_worker text, p_fence bigint, p_parts jsonb, p_result jsonb,
  p_sender text, p_post_anyway bool, p_max_supersedes int, p_handover text, p_team text,
  out outcome text, out answer jsonb, out next_job uuid
) language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
  m messaging.messages;
  q record;
  part jsonb;
  posted uuid[] := '{}';
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select conversation_id from messaging.ai_jobs
     where tenant_id = p_tenant and id = p_job) for update;
  select * into j from messaging.ai_jobs where tenant_id = p_tenant and id = p_job for update;
  if j.id is null or j.status <> 'processing' or j.worker is distinct from p_worker
    or j.fence <> p_fence or c.fence <> p_fence
  then
    outcome := 'lost';
    return;
  end if;
  if c.owner_kind <> 'bot' or (p_parts is not null and c.last_user_seq > j.upto_seq
    and not p_post_anyway and c.supersedes < p_max_supersedes)
  then
    next_job := messaging.supersede(c, j, p_result, now());
    outcome := 'superseded';
    return;
  end if;
  outcome := 'done';
  if p_parts is not null then
    -- The answer belongs to the thread of what it answers.
    select x.id, x.thread_id, x.provider_thread into q from messaging.messages x
     where x.tenant_id = p_tenant and x.conversation_id = c.id and x.seq <= j.upto_seq
       and x.sender_kind = 'contact' order by x.seq desc limit 1;
  end if;
  for part in select e.value from jsonb_array_elements(coalesce(p_parts, '[]'))
    with ordinality as e (value, n) order by e.n
  loop
    insert into messaging.messages
      (tenant_id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
       reply_to, provider_thread, thread_id, thread_state, method, score, stale, ai_job_id,
       message_request_id, delivery_state)
    values (p_tenant, c.id, c.next_seq + cardinality(posted), c.channel_code, 'out', 'bot',
      p_sender, part ->> 'text', q.id, q.provider_thread, q.thread_id,
      case when q.thread_id is null then 'pending' else 'assigned' end,
      case when q.thread_id is null then null else 'reply' end, 0,
      c.last_user_seq > j.upto_seq, j.id, gen_random_uuid(), 'pending')
    returning * into m;
    posted := posted || m.id;
    if m.thread_id is not null then
      perform messaging.touch_thread(p_tenant, m.thread_id, decode(part ->> 'terms', 'hex'),
        p_sender, array(select jsonb_array_elements_text(part -> 'mentions')));
    end if;
    perform messaging.emit(p_tenant, j.tenant, c.id, c.version + 1, jsonb_build_array(
      jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
        'conversation_id', c.id, 'sender_kind', 'bot', 'direction', 'out'))));
    perform messaging.send_out(m, j.tenant, c.version + 1);
    outcome := 'posted';
    answer := coalesce(answer, messaging.message_json(m));
  end loop;
  perform messaging.end_ai_job(j, 'completed', null,
    coalesce(p_result, '{}') || jsonb_build_object('message_id', posted[1],
      'message_ids', to_jsonb(posted), 'stale', coalesce(m.stale, false)), c.version + 1);
  update messaging.conversations set supersedes = 0, version = version + 1, updated_at = now(),
         next_seq = next_seq + cardinality(posted),
         bot_seq = greatest(bot_seq, j.upto_seq),
         answered_seq = greatest(answered_seq, j.upto_seq),
         thread_version = thread_version + case when m.thread_id is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  if p_handover is not null then
    perform messaging.ask_for_person(c, j.tenant, p_handover, p_team, c.version + 1);
  end if;
  next_job := messaging.next_turn(p_tenant, j.tenant, c.id, j.upto_seq, now());
end
$$;

drop function messaging.heartbeat_ai_job(uuid, uuid, text, bigint, interval);

-- Extends the leases of a worker's running jobs, and keeps the worker's own sign of life with what it
-- has done since its start. p_jobs: [{tenant, job, fence}, …].
-- Per job: 'ours' | 'outdated' (a newer message is there) | 'lost': it is not the worker's any more;
-- abort the call. A job whose row somebody holds is not waited for: it is extended by the next sign,
-- of which a lease sees several.
create function messaging.beat_ai_worker(
  p_worker text, p_processed bigint, p_failed bigint, p_jobs jsonb, p_lease interval
) returns table (job uuid, fence bigint, pulse text) language plpgsql as $$
begin
  -- What a crash undoes was a sign of life that nobody needs any more.
  perform set_config('synchronous_commit', 'off', true);
  insert into messaging.ai_workers (worker, in_flight, processed, failed)
  values (p_worker, jsonb_array_length(p_jobs), p_processed, p_failed)
  on conflict (worker) do update set heartbeat_at = now(), in_flight = excluded.in_flight,
    processed = excluded.processed, failed = excluded.failed;
  with free as (
    select x.tenant_id, x.id from messaging.ai_jobs x
      join jsonb_to_recordset(p_jobs) as w (tenant uuid, job uuid, fence bigint)
        on x.tenant_id = w.tenant and x.id = w.job and x.fence = w.fence
     where x.status = 'processing' and x.worker = p_worker for update of x skip locked)
  update messaging.ai_jobs x set heartbeat_at = now(), lease_until = now() + p_lease
    from free f where x.tenant_id = f.tenant_id and x.id = f.id;
  return query
    select w.job, w.fence, case when x.id is null then 'lost'
        when c.last_user_seq > x.upto_seq then 'outdated' else 'ours' end
      from jsonb_to_recordset(p_jobs) as w (tenant uuid, job uuid, fence bigint)
      left join messaging.ai_jobs x on x.tenant_id = w.tenant and x.id = w.job
       and x.fence = w.fence and x.status = 'processing' and x.worker = p_worker
      left join messaging.conversations c
        on c.tenant_id = x.tenant_id and c.id = x.conversation_id;
end
$$;
drop function messaging.beat_ai_worker(text, int, bigint, bigint);

-- Asks for a person for a conversation that somebody wanted answered while the database was away and
-- no bot was allowed to. outcome: 'asked' | 'over' (the bot has it no more) | 'not_found'
create function messaging.hand_over_late(
  p_tenant uuid, p_code text, p_conversation uuid, p_actor text, p_request_id text,
  out outcome text, out job uuid
) language plpgsql as $$
declare
  c messaging.conversations;
  team text;
begin
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then outcome := 'not_found'; return; end if;
  outcome := 'over';
  if c.state = 'closed' or c.owner_kind <> 'bot' then return; end if;
  outcome := 'asked';
  select x.id into job from messaging.ai_jobs x
   where x.tenant_id = p_tenant and x.conversation_id = c.id
     and x.status in ('pending', 'processing');
  select b.meta_data ->> 'handover_team_id' into team
    from messaging.bot_of(p_tenant, c.bot_id, c.channel_code) b;
  perform messaging.ask_for_person(c, p_code, 'no bot may answer', team, c.version + 1);
  update messaging.conversations set version = version + 1, updated_at = now()
   where tenant_id = p_tenant and id = c.id;
  perform platform.note_audit(p_tenant, p_actor, 'conversation.handover', c.id::text, null,
    jsonb_build_object('owner_kind', 'none'), 'no bot may answer', p_request_id);
end
$$;
