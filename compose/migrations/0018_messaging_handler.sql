-- The message handler: an agent's long answer goes out in parts, as a bot's does; no tenant takes the
-- whole of a worker.

-- Stores what is said to the contact, one message for each of p_parts [{text, terms: hex, mentions}, …]
-- in their order, and asks dispatch-worker to deliver each. `said` has what is the same of all. The
-- caller holds the row `c` and counts the messages, and the thread's change, on it.
create function messaging.say_out(
  c messaging.conversations, p_code text, said messaging.messages, p_parts jsonb
) returns messaging.messages[] language plpgsql as $$
declare
  m messaging.messages;
  part record;
  posted messaging.messages[] := '{}';
begin
  for part in select e.value ->> 'text' as words, decode(e.value ->> 'terms', 'hex') as terms,
      array(select jsonb_array_elements_text(e.value -> 'mentions')) as mentions, e.n
    from jsonb_array_elements(p_parts) with ordinality as e (value, n) order by e.n
  loop
    insert into messaging.messages
      (tenant_id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
       reply_to, provider_thread, thread_id, thread_state, method, score, stale, ai_job_id,
       message_request_id, delivery_state, created_by)
    values (c.tenant_id, c.id, c.next_seq + part.n - 1, c.channel_code, 'out', said.sender_kind,
      said.sender_id, part.words, said.reply_to, said.provider_thread, said.thread_id,
      case when said.thread_id is null then 'pending' else 'assigned' end,
      case when said.thread_id is null then null else said.method end, 0,
      coalesce(said.stale, false), said.ai_job_id, gen_random_uuid(), 'pending', said.created_by)
    returning * into m;
    posted := array_append(posted, m);
    if m.thread_id is not null then
      perform messaging.touch_thread(c.tenant_id, m.thread_id, part.terms, said.sender_id,
        part.mentions);
    end if;
    perform messaging.emit(c.tenant_id, p_code, c.id, c.version + 1, jsonb_build_array(
      jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
        'conversation_id', c.id, 'sender_kind', m.sender_kind, 'direction', 'out'))));
    perform messaging.send_out(m, p_code, c.version + 1);
  end loop;
  return posted;
end
$$;

drop function messaging.store_reply(
  uuid, text, uuid, text, text, text, uuid, bytea, text[], text, text, text, text, bytea);

-- Stores what an agent answers and asks dispatch-worker to deliver it; both commit together. The
-- message requests' ids are chosen here, so that the answer can name them before they are delivered.
-- So does the idempotency key, as in post_message: whoever repeats after a crash gets the same reply.
-- p_parts: the reply's messages by the channel's kind, as say_out takes them; `any` where the kind is
-- not named.
-- outcome: 'created' (answer: the first message, its request, and all messages) | 'replayed' (answer)
--        | 'reused' | 'in_progress' | 'not_found' | 'closed' | 'invalid' (answer = {pointer, detail})
create function messaging.store_reply(
  p_tenant uuid, p_code text, p_conversation uuid, p_sender_kind text, p_sender_id text,
  p_parts jsonb, p_thread uuid, p_actor text,
  p_key text, p_method text, p_path text, p_body_hash bytea,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  known record;
  c messaging.conversations;
  said messaging.messages;
  posted messaging.messages[];
  s record;
  v_thread uuid;
begin
  if p_key is not null then
    select * into known from platform.idempotency_begin(
      p_tenant, p_key, p_method, p_path, p_body_hash, null);
    if known.state <> 'started' then
      outcome := case known.state when 'done' then 'replayed' else known.state end;
      answer := known.result;
      return;
    end if;
  end if;
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then
    outcome := 'not_found';
  elsif c.state = 'closed' then
    outcome := 'closed';
  elsif p_thread is not null then
    select * into s from messaging.settle_thread(
      c, p_thread, null, null, null, null, null, false, null);
    if s.outcome = 'invalid' then
      outcome := 'invalid';
      answer := jsonb_build_object('pointer', s.pointer, 'detail', s.detail);
    end if;
    v_thread := p_thread;
  end if;
  if outcome is not null then
    if p_key is not null then
      perform platform.idempotency_abandon(p_tenant, p_key, p_method, p_path);
    end if;
    return;
  end if;
  if p_thread is null then
    -- Without a word from the agent the reply belongs to what the contact wrote last.
    select q.thread_id into v_thread from messaging.messages q
     where q.tenant_id = p_tenant and q.conversation_id = c.id and q.seq = c.last_user_seq;
  end if;
  said.sender_kind := p_sender_kind;
  said.sender_id := p_sender_id;
  said.provider_thread := messaging.provider_thread(p_tenant, c.id, p_thread, c.last_user_seq);
  said.thread_id := v_thread;
  said.method := case when p_thread is null then 'reply' else 'explicit' end;
  said.created_by := p_actor;
  posted := messaging.say_out(c, p_code, said, coalesce(p_parts -> (select h.kind
    from messaging.channels h where h.tenant_id = p_tenant and h.code = c.channel_code),
    p_parts -> 'any'));
  update messaging.conversations set next_seq = next_seq + cardinality(posted), version = version + 1,
         updated_at = now(), handoff_until = null,
         thread_version = thread_version + case when v_thread is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  perform platform.note_audit(p_tenant, p_actor, 'message.reply', (posted[1]).id::text, null,
    jsonb_build_object('conversation_id', c.id, 'message_request_id', (posted[1]).message_request_id),
    null, null);
  outcome := 'created';
  answer := jsonb_build_object('message', messaging.message_json(posted[1]),
    'message_request_id', (posted[1]).message_request_id,
    'messages', (select jsonb_agg(messaging.message_json(p) order by p.seq)
      from unnest(posted) p));
  if p_key is not null then
    perform platform.idempotency_finish(
      p_tenant, p_key, p_method, p_path, answer, 202, null, null);
  end if;
end
$$;

-- Ends a job with the bot's answer, by one conditional write: the fence must still be the job's, the
-- bot must own the conversation, and nothing newer may have come in, unless p_post_anyway, or the
-- answers of p_max_supersedes jobs in a row were dropped already; then it is marked stale. What is
-- posted is sent on by dispatch-worker, as an agent's reply is; nothing else is.
-- p_parts: the answer's messages in order, [{text, terms: hex, mentions}, …]; null ends the job
-- without one. With p_handover, the bot's reason, the conversation then goes to a person of p_team
-- (may be null). Makes the next job itself when there is news.
-- outcome: 'posted' (answer = message_json of the first) | 'done' (none) | 'superseded' | 'lost'
create or replace function messaging.finish_ai_job(
  p_tenant uuid, p_job uuid, p_worker text, p_fence bigint, p_parts jsonb, p_result jsonb,
  p_sender text, p_post_anyway bool, p_max_supersedes int, p_handover text, p_team text,
  out outcome text, out answer jsonb, out next_job uuid
) language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
  said messaging.messages;
  posted messaging.messages[] := '{}';
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
    said.sender_kind := 'bot';
    said.sender_id := p_sender;
    said.method := 'reply';
    said.ai_job_id := j.id;
    said.stale := c.last_user_seq > j.upto_seq;
    -- The answer belongs to the thread of what it answers.
    select x.id, x.thread_id, x.provider_thread
      into said.reply_to, said.thread_id, said.provider_thread from messaging.messages x
     where x.tenant_id = p_tenant and x.conversation_id = c.id and x.seq <= j.upto_seq
       and x.sender_kind = 'contact' order by x.seq desc limit 1;
    posted := messaging.say_out(c, j.tenant, said, p_parts);
    outcome := 'posted';
    answer := messaging.message_json(posted[1]);
  end if;
  perform messaging.end_ai_job(j, 'completed', null,
    coalesce(p_result, '{}') || jsonb_build_object('message_id', (posted[1]).id,
      'message_ids', coalesce((select jsonb_agg(p.id order by p.seq) from unnest(posted) p), '[]'),
      'stale', coalesce(said.stale, false)), c.version + 1);
  update messaging.conversations set supersedes = 0, version = version + 1, updated_at = now(),
         next_seq = next_seq + cardinality(posted),
         bot_seq = greatest(bot_seq, j.upto_seq),
         answered_seq = greatest(answered_seq, j.upto_seq),
         thread_version = thread_version + case when said.thread_id is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  if p_handover is not null then
    perform messaging.ask_for_person(c, j.tenant, p_handover, p_team, c.version + 1);
  end if;
  next_job := messaging.next_turn(p_tenant, j.tenant, c.id, j.upto_seq, now());
end
$$;

-- The tenants that have their whole share of a worker. p_running: {tenant: how many jobs}.
create function messaging.with_full_share(p_running jsonb, p_share int) returns uuid[]
language plpgsql immutable as $$
begin
  return (select coalesce(array_agg(r.key::uuid), '{}') from jsonb_each_text(p_running) r
    where r.value::int >= p_share);
end
$$;

drop function messaging.claim_ai_jobs(text, int, interval, int);
drop function messaging.next_ai_job_due();

-- Takes jobs that are due: pending -> processing, with a lease. upto_seq is frozen here, on the
-- conversation's row: a message is either in this turn or in the next. Rows that somebody holds are
-- skipped, so a claim waits for nobody. Returns ai_job_work per job. It does not wait for the disk
-- either: one that a crash undoes leaves its job pending, and whoever had it finds it lost.
-- p_running and p_share: how many jobs of each tenant the worker has, and how many it takes of one at
-- most. So a tenant whose AI hangs leaves room for the others.
create function messaging.claim_ai_jobs(
  p_worker text, p_limit int, p_lease interval, p_history int, p_running jsonb, p_share int
) returns setof jsonb language plpgsql as $$
declare
  running jsonb := p_running;
  full_share uuid[] := messaging.with_full_share(p_running, p_share);
  has int;
  d record;
  j messaging.ai_jobs;
begin
  perform set_config('synchronous_commit', 'off', true);
  for d in
    select x.tenant_id, x.id, x.conversation_id, c.last_user_seq, c.pending_count
      from messaging.ai_jobs x join messaging.conversations c
        on c.tenant_id = x.tenant_id and c.id = x.conversation_id
     where x.status = 'pending' and x.due_at <= now()
       and x.tenant_id <> all (full_share)
     order by x.due_at limit p_limit for update of x, c skip locked
  loop
    has := coalesce((running ->> d.tenant_id::text)::int, 0);
    continue when has >= p_share;
    running := running || jsonb_build_object(d.tenant_id, has + 1);
    update messaging.ai_jobs set status = 'processing', worker = p_worker,
           attempts = attempts + 1, upto_seq = d.last_user_seq,
           started_at = coalesce(started_at, now()), heartbeat_at = now(),
           lease_until = now() + p_lease
     where tenant_id = d.tenant_id and id = d.id returning * into j;
    update messaging.conversations set pending_count = 0, first_pending_at = null,
           debounce_until = null
     where tenant_id = d.tenant_id and id = d.conversation_id;
    return next messaging.ai_job_work(j, p_history);
  end loop;
end
$$;

-- When the next pending job is due that a worker may take; null when none waits. What it sleeps until.
create function messaging.next_ai_job_due(p_running jsonb, p_share int) returns timestamptz
language plpgsql stable as $$
declare
  full_share uuid[] := messaging.with_full_share(p_running, p_share);
begin
  return (select j.due_at from messaging.ai_jobs j
    where j.status = 'pending' and j.tenant_id <> all (full_share) order by j.due_at limit 1);
end
$$;
