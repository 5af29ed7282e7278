-- Conversations end and begin again.
--
-- A closed conversation is nobody's work: its bot is silent, its session at assignment-engine is
-- closed. The contact's next message opens it again while its channel's reopen_window lasts; after
-- that the message begins a new conversation. One that the channel names itself (external_id) has no
-- other to make room for and always opens again.

-- Whether the contact's next message opens it again.
create function messaging.may_reopen(c messaging.conversations) returns bool
language sql stable as $$
  select c.state = 'closed' and (c.external_id is not null or coalesce(
    (select h.reopen_window is null or now() < c.closed_at + h.reopen_window
       from messaging.channels h
      where h.tenant_id = c.tenant_id and h.code = c.channel_code), false))
$$;

-- What is needed to find or make the conversation that came after this one.
create function messaging.contact_of(c messaging.conversations) returns jsonb
language sql stable as $$
  select jsonb_build_object('channel_code', c.channel_code, 'contact', k.external_id,
    'bot_id', c.bot_id)
    from messaging.contacts k where k.tenant_id = c.tenant_id and k.id = c.contact_id
$$;

-- Has assignment-engine close a session. The caller holds the conversation's row.
create function messaging.close_session(
  c messaging.conversations, p_session uuid, p_code text, p_reason text
) returns void language plpgsql as $$
begin
  perform platform.enqueue_call('messaging', c.tenant_id, p_code, 'assignment-engine',
    '/v1/sessions/' || p_session || '/close', c.id::text, c.version,
    jsonb_build_object('reason', p_reason), gen_random_uuid());
end
$$;

-- Ends a conversation: its bot's job is cancelled, its session closed. A second time changes nothing.
-- outcome: 'closed' | 'already' (answer = conversation_json, job = the cancelled AI job) | 'not_found'
create function messaging.close_conversation(
  p_tenant uuid, p_code text, p_conversation uuid, p_actor text, p_reason text, p_request_id text,
  out outcome text, out answer jsonb, out job uuid
) language plpgsql as $$
declare
  c messaging.conversations;
  was messaging.conversations;
  k messaging.contacts;
begin
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then outcome := 'not_found'; return; end if;
  was := c;
  outcome := 'already';
  if c.state = 'open' then
    outcome := 'closed';
    job := messaging.silence_bot(p_tenant, p_conversation, 'the conversation was closed');
    update messaging.conversations set state = 'closed', closed_at = now(),
           closed_owner = was.owner_kind, owner_kind = 'bot', assignee_id = null,
           handoff_until = null, version = version + 1, updated_at = now()
     where tenant_id = p_tenant and id = p_conversation returning * into c;
    if was.owner_kind <> 'bot' and c.session_id is not null then
      perform messaging.close_session(c, c.session_id, p_code,
        coalesce(p_reason, 'the conversation was closed'));
    end if;
    perform messaging.emit(p_tenant, p_code, c.id, c.version, jsonb_build_array(jsonb_build_array(
      'conversation.closed', jsonb_build_object('conversation_id', c.id,
        'owner_kind', was.owner_kind, 'assignee_id', was.assignee_id, 'reason', p_reason))));
    perform platform.note_audit(p_tenant, p_actor, 'conversation.close', c.id::text,
      jsonb_build_object('state', 'open', 'owner_kind', was.owner_kind),
      jsonb_build_object('state', 'closed'), p_reason, p_request_id);
  end if;
  select * into k from messaging.contacts where tenant_id = p_tenant and id = c.contact_id;
  answer := messaging.conversation_json(c, k);
end
$$;

-- Opens a closed conversation again, if it may be, and answers it as it is then. The caller holds its
-- row. The bot has it; when people had it before, assignment-engine is asked to open their session
-- again, and what it decides (the same agent, whoever is free, the bot) comes as every change of hands.
-- It stays closed when the contact has another open one by now: nobody has two.
create function messaging.reopen(
  c messaging.conversations, p_code text, p_actor text
) returns messaging.conversations language plpgsql as $$
begin
  if not messaging.may_reopen(c) then return c; end if;
  update messaging.conversations x set state = 'open', closed_at = null, closed_owner = null,
         version = x.version + 1, updated_at = now()
   where x.tenant_id = c.tenant_id and x.id = c.id;
  if c.closed_owner <> 'bot' and c.session_id is not null then
    perform platform.enqueue_call('messaging', c.tenant_id, p_code, 'assignment-engine',
      '/v1/sessions/' || c.session_id || '/reopen', c.id::text, c.version + 1,
      jsonb_build_object('reason', 'the contact wrote again'), gen_random_uuid());
  end if;
  perform messaging.emit(c.tenant_id, p_code, c.id, c.version + 1, jsonb_build_array(
    jsonb_build_array('conversation.reopened', jsonb_build_object('conversation_id', c.id))));
  perform platform.note_audit(c.tenant_id, p_actor, 'conversation.reopen', c.id::text,
    jsonb_build_object('state', 'closed'), jsonb_build_object('state', 'open'), null, null);
  select x.* into c from messaging.conversations x where x.tenant_id = c.tenant_id and x.id = c.id;
  return c;
exception when unique_violation then
  return c;
end
$$;

-- The state is news of the conversation's own log as well.
create function messaging.state_changed() returns trigger language plpgsql as $$
begin
  perform messaging.note_event(new.tenant_id, new.id,
    case new.state when 'closed' then 'conversation.closed' else 'conversation.reopened' end, null,
    jsonb_build_object('state', new.state, 'closed_at', messaging.instant(new.closed_at)));
  return null;
end
$$;
create trigger state_changed after update of state on messaging.conversations
  for each row when (old.state is distinct from new.state)
  execute function messaging.state_changed();

-- How long a closed conversation of a channel may be opened again by a message; null: always.
-- outcome: 'updated' (answer) | 'unknown_channel'
create function messaging.put_reopen_window(
  p_tenant uuid, p_channel text, p_seconds bigint, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  was interval;
begin
  select reopen_window into was from messaging.channels
   where tenant_id = p_tenant and code = p_channel for update;
  if not found then outcome := 'unknown_channel'; return; end if;
  update messaging.channels set reopen_window = p_seconds * interval '1 s', updated_at = now()
   where tenant_id = p_tenant and code = p_channel;
  outcome := 'updated';
  answer := jsonb_build_object('channel_code', p_channel, 'reopen_window_s', p_seconds);
  perform platform.note_audit(p_tenant, p_actor, 'channel_reopening.put', p_channel,
    jsonb_build_object('reopen_window_s', extract(epoch from was)::bigint), answer, null,
    p_request_id);
end
$$;
