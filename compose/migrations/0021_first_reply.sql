-- Who wrote is told with a message, so that an agent's words in messaging are what `…/replied` is: the
-- first reply claims a session where its team wants that, and accepts an offer.

-- As in 0011; the event names the sender.
create or replace function messaging.post_message(
  p_tenant uuid, p_code text, p_conversation uuid, p_message uuid, p_sender_kind text,
  p_sender_id text, p_text text, p_external text, p_reply_to uuid, p_thread uuid, p_choice text,
  p_choice_thread uuid, p_score float8, p_seen bigint, p_force bool, p_title text,
  p_algorithm text, p_terms bytea, p_mentions text[], p_deferred interval, p_control text,
  p_debounce interval, p_debounce_max interval, p_debounce_count int, p_key text, p_method text,
  p_path text, p_body_hash bytea, p_actor text, p_attachments jsonb default null,
  p_provider_thread text default null, p_explanation jsonb default null,
  out outcome text, out answer jsonb, out snapshot jsonb, out bot jsonb
) language plpgsql as $$
declare
  known record;
  c messaging.conversations;
  m messaging.messages;
  s record;
begin
  if p_key is not null then
    select * into known from platform.idempotency_look(
      p_tenant, p_key, p_method, p_path, p_body_hash);
    if known.state not in ('new', 'expired') then
      outcome := case known.state when 'done' then 'replayed' else known.state end;
      answer := known.result;
      return;
    end if;
  end if;
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then
    outcome := 'not_found';
  else
    if p_external is not null then
      select q.answer into answer from messaging.messages q
       where q.tenant_id = p_tenant and q.channel_code = c.channel_code
         and q.external_id = p_external;
      if found then outcome := 'duplicate'; end if;
    end if;
    if c.state = 'closed' and outcome is null then
      if p_sender_kind <> 'contact' then
        outcome := 'closed';
      else
        c := messaging.reopen(c, p_code, p_actor);
        if c.state = 'closed' then
          outcome := 'elsewhere';
          answer := messaging.contact_of(c);
        end if;
      end if;
    end if;
  end if;
  if outcome is null then
    select * into s from messaging.settle_thread(c, p_thread, p_reply_to,
      p_choice, p_choice_thread, p_score, p_seen, p_force, p_title)
     where p_deferred is null or p_thread is not null;
    if s.outcome = 'invalid' then
      outcome := 'invalid';
      answer := jsonb_build_object('pointer', s.pointer, 'detail', s.detail);
    elsif s.outcome = 'stale' then
      outcome := 'stale_choice';
      snapshot := messaging.conversation_snapshot(p_tenant, p_conversation);
    end if;
  end if;
  if outcome is not null then
    if p_key is not null and outcome = 'duplicate' then
      perform platform.idempotency_keep(
        p_tenant, p_key, p_method, p_path, p_body_hash, answer, 200);
    end if;
    return;
  end if;
  insert into messaging.messages
    (tenant_id, id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
     attachments, external_id, reply_to, provider_thread, thread_id, thread_state, method, score,
     algorithm, explanation, created_thread, by_job, created_by)
  values (p_tenant, p_message, c.id, c.next_seq, c.channel_code,
    case p_sender_kind when 'contact' then 'in' else 'out' end, p_sender_kind, p_sender_id, p_text,
    p_attachments, p_external, p_reply_to, p_provider_thread, s.thread,
    case when s.thread is not null then 'assigned' when p_choice = 'async' then 'pending'
      else 'deferred' end,
    s.method, s.score, case when s.thread is not null then p_algorithm end,
    case s.method when 'similar' then p_explanation end,
    coalesce(s.created, false), coalesce(p_choice = 'async', false), p_actor)
  returning * into m;
  if m.thread_id is not null then
    perform messaging.touch_thread(p_tenant, m.thread_id, p_terms, p_sender_id, p_mentions);
  else
    perform platform.set_timer('messaging', p_tenant, p_code, 'rate_deferred', m.id, 0,
      now() + p_deferred, jsonb_build_object('conversation_id', c.id));
  end if;
  perform messaging.emit(p_tenant, p_code, c.id, c.version + 1, jsonb_build_array(
    jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
      'conversation_id', c.id, 'sender_kind', p_sender_kind, 'sender_id', p_sender_id,
      'direction', m.direction)))
    || case when m.thread_state = 'pending' then '[]' else jsonb_build_array(
    jsonb_build_array('message.' || m.thread_state, jsonb_build_object('message_id', m.id,
      'conversation_id', c.id, 'thread_id', m.thread_id, 'method', m.method))) end);
  update messaging.conversations set next_seq = next_seq + 1, version = version + 1,
         updated_at = now(),
         last_user_seq = case when p_sender_kind = 'contact' then m.seq else last_user_seq end,
         handoff_until = case when p_sender_kind = 'agent' then null else handoff_until end,
         thread_version = thread_version + case when m.thread_id is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  if p_sender_kind = 'contact' then
    bot := messaging.feed_bot(c, p_code, m.seq, p_control, p_attachments is not null, p_debounce,
      p_debounce_max, p_debounce_count);
  else
    bot := jsonb_build_object(
      'status', case when c.owner_kind = 'bot' then 'off' else 'human' end);
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'message.post', m.id::text, null,
    jsonb_build_object('conversation_id', c.id, 'thread_id', m.thread_id), null, null);
  outcome := 'created';
  answer := jsonb_build_object('message', messaging.message_json(m),
    'assignment', messaging.assignment_json(m, false), 'bot', bot);
  bot := bot || jsonb_build_object(
    'conversation_id', c.id, 'is_last', p_attachments is not null);
  if p_external is not null then
    update messaging.messages q set answer = post_message.answer
     where q.tenant_id = p_tenant and q.id = m.id;
  end if;
  if p_key is not null then
    perform platform.idempotency_keep(
      p_tenant, p_key, p_method, p_path, p_body_hash, answer, 201);
  end if;
end
$$;

-- As in 0018; the event names the sender.
create or replace function messaging.say_out(
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
        'conversation_id', c.id, 'sender_kind', m.sender_kind, 'sender_id', m.sender_id,
        'direction', 'out'))));
    perform messaging.send_out(m, p_code, c.version + 1);
  end loop;
  return posted;
end
$$;

-- An agent replied at `p_at`: its offer is accepted, and what waits is its own where the team wants
-- that. Returns what act_on_session or give_session returns.
create function assignment.note_reply(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_agent uuid, p_at timestamptz, p_actor text,
  p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  answer jsonb := assignment.act_on_session(p_tenant, p_tenant_code, p_session, 'replied', p_agent,
    null, false, p_actor, p_reason, p_request);
begin
  if answer->>'result' <> 'claim' then return answer; end if;
  answer := assignment.give_session(p_tenant, p_tenant_code, p_session, p_agent, 'first_reply', true,
    p_actor, p_reason, p_request);
  if answer->>'result' <> 'given' then return answer; end if;
  update assignment.sessions set replied_at = p_at, version = version + 1
   where tenant_id = p_tenant and id = p_session returning * into s;
  return answer || jsonb_build_object('session', assignment.session_json(s));
end
$$;

drop function assignment.message_came(uuid, text, uuid, text, timestamptz);

-- Somebody wrote in a conversation at `p_at`. What an agent writes is a reply. What a contact writes
-- waits for one; where the owner is gone and the team does not leave with it what is unanswered, the
-- session is returned as it queues again, for a run.
--
-- Most messages change nothing here and lock nothing. Times are compared, because messages are told
-- late and more than once: what was said before the owner had it says nothing of the owner.
-- p_agent: which agent wrote, where the sender's id is one.
create function assignment.message_came(
  p_tenant uuid, p_tenant_code text, p_conversation uuid, p_sender text, p_agent uuid,
  p_at timestamptz
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  a assignment.agents;
  held jsonb;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and conversation_id = p_conversation and state <> 'closed';
  -- Told again, it is no later than what came of it.
  if p_sender = 'agent' and p_agent is not null
     and p_at > coalesce(s.assigned_at, s.enqueued_at - interval '1 ms')
     and (s.state = 'queued' or s.state = 'offered' and s.assignee_id = p_agent) then
    perform assignment.note_reply(p_tenant, p_tenant_code, s.id, p_agent, p_at, 'agent:' || p_agent,
      null, null);
    return null;
  end if;
  if s.assignee_id is null or s.state = 'offered'
     or p_at < date_trunc('milliseconds', s.assigned_at) then return null; end if;
  if p_sender = 'agent' then
    if assignment.is_answered(s) then return null; end if;
    update assignment.sessions
       set replied_at = greatest(replied_at, p_at), version = version + 1
     where tenant_id = p_tenant and id = s.id and assignment_seq = s.assignment_seq;
    update assignment.agents set misses = 0
     where found and tenant_id = p_tenant and id = s.assignee_id and misses > 0;
    return null;
  end if;
  if assignment.is_answered(s) and p_at > s.replied_at then
    update assignment.sessions set contact_wrote_at = p_at
     where tenant_id = p_tenant and id = s.id and assignment_seq = s.assignment_seq;
  end if;
  select * into a from assignment.agents where tenant_id = p_tenant and id = s.assignee_id;
  if a.deleted_at is null and a.status <> 'offline' and a.presence_expires_at > now() then
    return null;
  end if;
  held := assignment.policy(p_tenant, s.team_id);
  if held->>'on_offline' not in ('requeue_on_reply', 'requeue_unanswered') then return null; end if;
  select * into s from assignment.sessions where tenant_id = p_tenant and id = s.id
     and assignment_seq = s.assignment_seq and state in ('assigned', 'on_hold') for update;
  if not found or (held->>'on_offline' = 'requeue_unanswered' and assignment.is_answered(s)) then
    return null;
  end if;
  select * into a from assignment.agents
   where tenant_id = p_tenant and id = s.assignee_id for update;
  if a.deleted_at is null and a.status <> 'offline'
     and a.presence_expires_at + (held->>'offline_grace_s')::int * interval '1 s' > now()
  then return null; end if;
  return assignment.session_json(
    assignment.requeue(s, p_tenant_code, 'timer', 'agent_offline', true, false));
end
$$;
