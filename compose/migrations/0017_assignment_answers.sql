-- Who was answered is known from what is said in messaging, too; and a team that is taken out
-- leaves nobody behind.

-- When the contact wrote after it was answered.
alter table assignment.sessions add column contact_wrote_at timestamptz;

-- Whether its owner spoke last.
create function assignment.is_answered(s assignment.sessions) returns boolean
language sql immutable as $$
  select s.replied_at is not null
     and (s.contact_wrote_at is null or s.contact_wrote_at <= s.replied_at)
$$;

drop function assignment.contact_wrote(uuid, text, uuid);

-- Somebody wrote in a conversation at `p_at`, and its session has an owner: what an agent writes is
-- a reply. What a contact writes waits for one; where the owner is gone and the team does not leave
-- with it what is unanswered, the session is returned as it queues again, for a run.
--
-- Most messages change nothing here and lock nothing. Times are compared, because messages are told
-- late and more than once: what was said before the owner had it says nothing of the owner.
create function assignment.message_came(
  p_tenant uuid, p_tenant_code text, p_conversation uuid, p_sender text, p_at timestamptz
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  a assignment.agents;
  held jsonb;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and conversation_id = p_conversation and state <> 'closed';
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

-- Puts a session of an agent that is gone back, as its team wants it. Returns whether it did.
create or replace function assignment.release_absent(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_agent uuid
) returns boolean language plpgsql as $$
declare
  s assignment.sessions;
  gone boolean;
  wanted text;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session and assignee_id = p_agent for update;
  if not found then return false; end if;
  select deleted_at is not null or status = 'offline' or presence_expires_at <= now() into gone
    from assignment.agents where tenant_id = p_tenant and id = p_agent for update;
  wanted := assignment.policy(p_tenant, s.team_id)->>'on_offline';
  -- Who was taken out does not come back to answer.
  if exists (select 1 from assignment.agents
              where tenant_id = p_tenant and id = p_agent and deleted_at is not null) then
    wanted := 'requeue_all';
  end if;
  if not coalesce(gone, false) or wanted in ('keep', 'requeue_on_reply')
     or (wanted = 'requeue_unanswered' and assignment.is_answered(s) and s.state <> 'offered')
  then return false; end if;
  perform assignment.requeue(s, p_tenant_code, 'timer', 'agent_offline', true, false);
  return true;
end
$$;

-- Where a session of this team belongs: here; when the team was taken out, to its overflow team, or
-- to the tenant's pool, null.
create function assignment.heir(p_tenant uuid, p_team uuid) returns uuid
language plpgsql stable as $$
declare
  t assignment.teams;
begin
  select * into t from assignment.teams where tenant_id = p_tenant and id = p_team;
  if t.deleted_at is null then return p_team; end if;
  return (select id from assignment.teams where tenant_id = p_tenant
    and id = (t.policy->>'overflow_team_id')::uuid and deleted_at is null);
end
$$;

-- What was left behind in teams that were taken out until now.
update assignment.sessions s
   set team_id = assignment.heir(s.tenant_id, s.team_id), version = s.version + 1,
       state = case when s.last_reason = 'off_hours' then 'queued' else s.state end
  from assignment.teams t
 where t.tenant_id = s.tenant_id and t.id = s.team_id and t.deleted_at is not null
   and s.state in ('queued', 'parked');

-- Takes a session from its owner and puts it back into the queue at its old place. The caller holds
-- the session. The old owner is left out of the next run when `p_exclude`; `p_counted` counts it as
-- a reassignment, and after the team's limit it overflows to the team that is named for that.
create or replace function assignment.requeue(
  s assignment.sessions, p_tenant_code text, p_source text, p_reason text, p_exclude boolean,
  p_counted boolean
) returns assignment.sessions language plpgsql as $$
declare
  held jsonb := assignment.policy(s.tenant_id, s.team_id);
  owner uuid := s.assignee_id;
  overflow uuid;
begin
  perform assignment.free_room(s);
  if p_counted and s.reassigns + 1 >= (held->>'max_reassigns')::int then
    overflow := assignment.heir(s.tenant_id, (held->>'overflow_team_id')::uuid);
  end if;
  update assignment.sessions
     set state = 'queued', assignee_id = null, replied_at = null,
         excluded_agent_ids = case when p_exclude then array[owner] else '{}'::uuid[] end,
         reassigns = case when overflow is not null then 0
                          else reassigns + case when p_counted then 1 else 0 end end,
         team_id = coalesce(overflow, assignment.heir(tenant_id, team_id)), last_reason = p_reason,
         assignment_seq = assignment_seq + 1, version = version + 1
   where tenant_id = s.tenant_id and id = s.id
  returning * into s;
  perform assignment.record_decision(s.tenant_id, s.id, jsonb_build_object('source', p_source,
    'outcome', 'skip', 'reason', case when overflow is null then p_reason else 'max_reassigns' end,
    'agent_id', owner));
  perform assignment.announce(s, p_tenant_code, 'session.requeued');
  return s;
end
$$;

-- Opens a closed session again: a new wait, the same history.
-- Returns {result: done|bot|open|other_open|missing, session, on_reopen}.
create or replace function assignment.reopen_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  wanted text;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found then return '{"result": "missing"}'; end if;
  wanted := assignment.policy(p_tenant, s.team_id)->>'on_reopen';
  if s.state <> 'closed' or wanted = 'bot' then
    return jsonb_build_object('result', case when s.state = 'closed' then 'bot' else 'open' end,
      'session', assignment.session_json(s));
  end if;
  update assignment.sessions
     set state = 'queued', closed_at = null, enqueued_at = now(), reassigns = 0, declined = '{}',
         team_id = assignment.heir(tenant_id, team_id), asked_contact = false, sla_due_at = null,
         sort_key = assignment.sort_key(tenant_id, priority, now(), null), last_reason = 'reopened',
         assignment_seq = assignment_seq + 1, version = version + 1
   where tenant_id = p_tenant and id = p_session
  returning * into s;
  perform platform.note_audit(p_tenant, p_actor, 'session.reopen', s.id::text, null,
    assignment.session_json(s), p_reason, p_request);
  perform assignment.announce(s, p_tenant_code, 'session.queued');
  return jsonb_build_object('result', 'done', 'on_reopen', wanted,
    'session', assignment.session_json(s));
exception when unique_violation then
  return jsonb_build_object('result', 'other_open', 'session', assignment.session_json(s));
end
$$;

-- Takes a team out; who waits in it, or is held back in it, goes to its heir, and what was held for
-- its hours waits again. Its turns stay as they are. So do its owners, whose sessions go to the
-- heir when they give them back. Who overflowed into it overflows into the heir. Returns whether
-- there was one.
create or replace function assignment.delete_team(
  p_tenant uuid, p_id uuid, p_actor text, p_request text
) returns boolean language plpgsql as $$
declare
  t assignment.teams;
  instead uuid;
begin
  update assignment.teams set deleted_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id and deleted_at is null
  returning * into t;
  if not found then return false; end if;
  instead := assignment.heir(p_tenant, p_id);
  update assignment.sessions
     set team_id = instead, version = version + 1,
         state = case when last_reason = 'off_hours' then 'queued' else state end
   where tenant_id = p_tenant and coalesce(team_id, tenant_id) = p_id
     and state in ('queued', 'parked');
  update assignment.teams
     set policy = policy || jsonb_build_object('overflow_team_id', nullif(instead, id)),
         version = version + 1
   where tenant_id = p_tenant and (policy->>'overflow_team_id')::uuid = p_id and id <> p_id;
  update assignment.tenant_settings
     set policy = policy || jsonb_build_object('overflow_team_id', instead)
   where tenant_id = p_tenant and (policy->>'overflow_team_id')::uuid = p_id;
  delete from assignment.team_candidates where tenant_id = p_tenant and team_id = p_id;
  delete from assignment.team_clocks where tenant_id = p_tenant and team_id = p_id;
  perform platform.note_audit(p_tenant, p_actor, 'team.delete', p_id::text,
    assignment.team_json(t), null, null, p_request);
  return true;
end
$$;

-- Everything that a run of the engine needs to know, in one look: the clock, what holds for the
-- team (null when there is no such team; one that was taken out has an heir), the rules in force,
-- hours, the contact, and the roster.
--
-- A team of at most `p_whole` members is there `whole`, so that every agent's reason can be told,
-- and under `fair` with its virtual time. Of a larger one there are `p_limit` members from `p_from`
-- on in its strategy's order (or in that of `p_way`), and some of those who are not to be had; for
-- `round_robin` `p_from` is the turn. Agents in `p_also` are looked at even if they are no members;
-- null, and it is a further page of the same look, without anybody beside it.
create or replace function assignment.facts(
  p_tenant uuid, p_contact text, p_team uuid, p_also uuid[], p_whole int, p_from int, p_limit int,
  p_way text
) returns json language plpgsql stable as $$
declare
  pool uuid := coalesce(p_team, p_tenant);
  held jsonb := assignment.policy(p_tenant, p_team);
  way text := coalesce(p_way, held->>'strategy');
  is_there boolean := p_team is null;
  is_gone boolean := false;
  is_whole boolean := p_whole >= assignment.members_up_to(p_tenant, pool, p_whole + 1);
  settings assignment.tenant_settings;
  contact assignment.contacts;
  last_agent uuid;
  asked uuid[];
  agents json[];
  known uuid[];
  beside uuid[];
  hours uuid[];
begin
  if p_team is not null then
    select deleted_at is null, deleted_at is not null into is_there, is_gone
      from assignment.teams where tenant_id = p_tenant and id = p_team;
  end if;
  select * into settings from assignment.tenant_settings where tenant_id = p_tenant;
  select * into contact from assignment.contacts
   where tenant_id = p_tenant and contact_id = p_contact;
  if held->>'sticky_mode' = 'last_agent' then
    select last_agent_id into last_agent from assignment.sessions
     where tenant_id = p_tenant and contact_id = p_contact and last_agent_id is not null
       and assigned_at > now() - (held->>'sticky_days')::int * interval '1 day'
     order by id desc limit 1;
  end if;
  select array_agg(r.agent), array_agg(r.id), array_agg(r.schedule_id) into agents, known, hours
    from assignment.roster(p_tenant, pool, case when is_whole then 'all' else way end,
      case when p_also is null or way = 'round_robin' then coalesce(p_from, 0) else 0 end,
      p_limit) r;
  if p_also is not null then
    if not is_whole then
      select agents || array_agg(r.agent), beside || array_agg(r.id),
             hours || array_agg(r.schedule_id) into agents, beside, hours
        from assignment.roster(p_tenant, pool, 'away', 0, p_limit) r;
    end if;
    asked := array_remove(p_also || contact.owner_id || last_agent, null);
    if asked <> '{}' then
      select agents || array_agg(assignment.roster_json(a, c)), hours || array_agg(a.schedule_id)
        into agents, hours from assignment.agents a
        left join assignment.team_candidates c on c.tenant_id = a.tenant_id
             and c.agent_id = a.id and c.team_id = pool
       where a.tenant_id = p_tenant and a.deleted_at is null and a.id = any (asked)
         and a.id <> all (coalesce(known || beside, beside, '{}'));
    end if;
  end if;
  hours := array_remove(hours || (held->>'schedule_id')::uuid, null);
  return json_build_object('now_ms', assignment.milliseconds(now()),
    'team_exists', coalesce(is_there, false),
    'team_gone', is_gone, 'heir', case when is_gone then assignment.heir(p_tenant, p_team) end,
    'policy', held, 'policy_version', settings.policy_version,
    'rules', (select v.rules from assignment.policy_versions v
               where v.tenant_id = p_tenant and v.policy_version = settings.policy_version),
    'schedules', (select json_object_agg(h.id, json_build_object('tz', h.tz,
        'windows', h.windows, 'exceptions', h.exceptions)) from assignment.schedules h
       where hours <> '{}' and h.tenant_id = p_tenant and h.id = any (hours)),
    'owner_id', contact.owner_id, 'blocked', contact.blocked_agent_ids,
    'last_agent_id', last_agent, 'whole', is_whole, 'page', coalesce(cardinality(known), 0),
    'clock', case when is_whole and held->>'strategy' = 'fair'
                  then assignment.clock(p_tenant, pool) end,
    'roster', coalesce(array_to_json(agents), '[]'));
end
$$;
