-- The assignment engine: who works, who waits, who got whom, and why.
-- Lock order everywhere: session, then agent, then the agent's candidate rows.

create schema assignment;

create table assignment.agents (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  name text not null,
  capacity_units int not null default 3 check (capacity_units between 0 and 1000),
  active_units int not null default 0 check (active_units >= 0),
  -- What the agent chose, and whether it wants new work.
  status text not null default 'offline' check (status in ('online', 'busy', 'away', 'offline')),
  accepting boolean not null default true,
  -- strict: chosen and measured; manual, schedule: chosen alone.
  presence_mode text not null default 'strict'
    check (presence_mode in ('strict', 'manual', 'schedule')),
  -- Until when the agent is present without another heartbeat; infinity outside strict mode.
  presence_expires_at timestamptz not null default '-infinity',
  skills jsonb not null default '[]',
  last_assigned_at timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  deleted_at timestamptz,
  primary key (tenant_id, id)
);

create table assignment.teams (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  name text not null,
  strategy text not null default 'round_robin' check (strategy in
    ('round_robin', 'fair', 'least_recently_assigned', 'least_active', 'most_available')),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  deleted_at timestamptz,
  primary key (tenant_id, id)
);

-- One row per member and team: what choosing among thousands needs, in one index. A tenant's pool
-- (sessions without a team) is the team whose id is the tenant's own.
create table assignment.team_candidates (
  tenant_id uuid not null,
  team_id uuid not null,
  agent_id uuid not null,
  weight int not null default 100 check (weight between 1 and 1000),
  auto_assign boolean not null default true,
  -- Virtual time of the fair strategy: who has the lowest is next.
  vt double precision not null default 0,
  -- Kept with the agent's row: online and accepting; and with room for at least one unit.
  eligible boolean not null default false,
  has_room boolean not null default true,
  last_assigned_at timestamptz,
  primary key (tenant_id, team_id, agent_id),
  foreign key (tenant_id, agent_id) references assignment.agents
);
create index team_candidates_next on assignment.team_candidates
  (tenant_id, team_id, vt, agent_id) where eligible and has_room and auto_assign;
create index team_candidates_of_agent on assignment.team_candidates (tenant_id, agent_id);

create table assignment.sessions (
  tenant_id uuid not null references platform.tenants,
  id uuid not null default platform.uuid_v7(),
  conversation_id uuid not null,
  contact_id text not null,
  team_id uuid,
  priority smallint not null default 2 check (priority between 0 and 4),
  context jsonb not null default '{}',
  source text not null,
  state text not null default 'queued' check (state in
    ('queued', 'offered', 'assigned', 'on_hold', 'parked', 'closed')),
  assignee_id uuid,
  units int not null default 1 check (units between 1 and 100),
  -- Survives decline, timeout and requeue; a new handover starts a new one.
  enqueued_at timestamptz not null default now(),
  sla_due_at timestamptz,
  -- P0 at once, P1 2 min, P2 10 min, P3 30 min, P4 2 h: an old unimportant item overtakes.
  sort_key timestamptz not null,
  assigned_at timestamptz,
  closed_at timestamptz,
  assignment_seq bigint not null default 0,
  version bigint not null default 1,
  last_reason text,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  check ((assignee_id is not null) = (state in ('assigned', 'offered', 'on_hold')))
);
create unique index sessions_one_open on assignment.sessions (tenant_id, conversation_id)
  where state <> 'closed';
create index sessions_queue on assignment.sessions (tenant_id, team_id, sort_key, enqueued_at, id)
  where state = 'queued';
create index sessions_of_agent on assignment.sessions (tenant_id, assignee_id)
  where assignee_id is not null;
create index sessions_by_id on assignment.sessions (tenant_id, state, id);

-- One row for every run of the engine, also when nobody got the session.
create table assignment.assignment_decisions (
  tenant_id uuid not null,
  id uuid not null,
  created_at timestamptz not null default now(),
  session_id uuid not null,
  source text not null,
  outcome text not null check (outcome in ('assign', 'skip', 'stop', 'error')),
  reason text not null,
  agent_id uuid,
  rule_id uuid,
  policy_version int,
  strategy text,
  rr_index int,
  -- At most 50 of each; `counts` has the rejected by reason, all of them.
  candidates jsonb not null default '[]',
  rejected jsonb not null default '[]',
  counts jsonb not null default '{}',
  took_ms double precision not null,
  primary key (tenant_id, session_id, created_at, id)
) partition by range (created_at);
insert into platform.partitioned values ('assignment.assignment_decisions', '90 days');
select platform.ensure_partitions();

create function assignment.sort_key(p_priority int, p_enqueued timestamptz, p_sla timestamptz)
returns timestamptz language sql immutable as $$
  select least(coalesce(p_sla, 'infinity'), p_enqueued
    + (array['0', '2 min', '10 min', '30 min', '2 h'])[p_priority + 1]::interval)
$$;

-- A session as the API shows it.
create function assignment.session_json(s assignment.sessions) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', s.id, 'conversation_id', s.conversation_id, 'contact_id', s.contact_id,
    'team_id', s.team_id, 'priority', s.priority, 'units', s.units, 'context', s.context, 'source', s.source,
    'state', s.state, 'assignee_id', s.assignee_id, 'version', s.version,
    'assignment_seq', s.assignment_seq, 'enqueued_at', platform.rfc3339(s.enqueued_at),
    'assigned_at', platform.rfc3339(s.assigned_at), 'closed_at', platform.rfc3339(s.closed_at), 'created_at', platform.rfc3339(s.created_at),
    'queue_position', case when s.state = 'queued' then (
      select count(*) + 1 from assignment.sessions o
       where o.tenant_id = s.tenant_id and o.state = 'queued'
         and o.team_id is not distinct from s.team_id
         and (o.sort_key, o.enqueued_at, o.id) < (s.sort_key, s.enqueued_at, s.id)) end)
$$;

-- Opens the session of a conversation, or finds the open one, and sets team, priority and context.
-- This is load, set and save of `requestAssignment`: the owner is left to the engine.
-- Returns {created, session}. A session that somebody owns is returned unchanged.
create function assignment.open_session(
  p_tenant uuid, p_tenant_code text, p_id uuid, p_conversation uuid, p_contact text, p_team uuid,
  p_priority int, p_context jsonb, p_source text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  fresh boolean := true;
begin
  insert into assignment.sessions
    (tenant_id, id, conversation_id, contact_id, team_id, priority, context, source, sort_key)
  values (p_tenant, coalesce(p_id, platform.uuid_v7()), p_conversation, p_contact, p_team,
          coalesce(p_priority, 2),
          coalesce(p_context, '{}'), p_source,
          assignment.sort_key(coalesce(p_priority, 2), now(), null))
  on conflict (tenant_id, conversation_id) where state <> 'closed' do nothing
  returning * into s;
  if not found then
    fresh := false;
    select * into s from assignment.sessions
     where tenant_id = p_tenant and conversation_id = p_conversation and state <> 'closed'
       for update;
    if not found then
      -- It was closed in between: the next attempt opens a new one.
      return assignment.open_session(p_tenant, p_tenant_code, p_id, p_conversation, p_contact,
                                     p_team, p_priority, p_context, p_source);
    end if;
    if s.state in ('queued', 'parked') then
      update assignment.sessions
         set team_id = coalesce(p_team, team_id), priority = coalesce(p_priority, priority),
             context = context || coalesce(p_context, '{}'), state = 'queued',
             sort_key = assignment.sort_key(coalesce(p_priority, priority), enqueued_at, sla_due_at),
             version = version + 1
       where tenant_id = p_tenant and id = s.id
      returning * into s;
    end if;
  end if;
  if fresh then
    perform platform.emit('assignment-engine', p_tenant, p_tenant_code, 'session.queued',
      s.id::text, s.version, assignment.session_json(s));
  end if;
  return jsonb_build_object('created', fresh, 'session', assignment.session_json(s));
end
$$;

-- Everybody who could get a session of this team, by id, with the facts that choosing needs.
-- `present` is measured: not expired.
create function assignment.roster(p_tenant uuid, p_team uuid)
returns table (agent_id uuid, name text, weight int, auto_assign boolean, vt double precision,
               status text, accepting boolean, present boolean, capacity_units int,
               active_units int, last_assigned_at timestamptz)
language sql stable as $$
  select a.id, a.name, c.weight, c.auto_assign, c.vt, a.status, a.accepting,
         a.presence_expires_at > now(), a.capacity_units, a.active_units, c.last_assigned_at
    from assignment.team_candidates c
    join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id
   where c.tenant_id = p_tenant and c.team_id = coalesce(p_team, p_tenant)
     and a.deleted_at is null
   order by a.id
$$;

-- Keeps the facts on an agent's candidate rows equal to the agent's own. The caller holds the
-- agent's row.
create function assignment.refresh_candidates(p_tenant uuid, p_agent uuid)
returns void language sql as $$
  update assignment.team_candidates c
     set eligible = a.status = 'online' and a.accepting and a.deleted_at is null,
         has_room = a.active_units < a.capacity_units,
         -- Who comes back starts at the lowest of those who stayed: no flood, no penalty.
         vt = case when not c.eligible and a.status = 'online' and a.accepting
                   then greatest(c.vt, coalesce((select min(o.vt) from assignment.team_candidates o
                     where o.tenant_id = c.tenant_id and o.team_id = c.team_id and o.eligible), 0))
                   else c.vt end
    from assignment.agents a
   where a.tenant_id = p_tenant and a.id = p_agent
     and c.tenant_id = p_tenant and c.agent_id = p_agent
     and (c.eligible, c.has_room) is distinct from
         (a.status = 'online' and a.accepting and a.deleted_at is null,
          a.active_units < a.capacity_units)
$$;

create function assignment.record_decision(
  p_tenant uuid, p_session uuid, p_decision jsonb
) returns void language sql as $$
  insert into assignment.assignment_decisions
    (tenant_id, id, session_id, source, outcome, reason, agent_id, strategy, rr_index, candidates,
     rejected, counts, took_ms)
  values (p_tenant, (p_decision->>'id')::uuid, p_session, p_decision->>'source',
          p_decision->>'outcome', p_decision->>'reason', (p_decision->>'agent_id')::uuid,
          p_decision->>'strategy', (p_decision->>'rr_index')::int,
          coalesce(p_decision->'candidates', '[]'), coalesce(p_decision->'rejected', '[]'),
          coalesce(p_decision->'counts', '{}'), (p_decision->>'took_ms')::float8)
$$;

-- Gives a queued session to the first of `p_agents` that has room: owner, capacity, decision, event
-- and the call that tells messaging, in one commit. Whoever calls has ordered the agents.
--
-- p_decision: {id, source, strategy, rr_index, candidates, rejected, counts, took_ms}.
-- p_force: take although the agent is full, away or not accepting (an audited choice of a person).
-- Returns {result, agent_id?, session?, refused: [agent ids without room]}; result is
--   assigned | taken (somebody else's, or closed) | busy (another run holds it) | no_capacity.
create function assignment.claim_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_agents uuid[], p_decision jsonb,
  p_force boolean default false
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  candidate uuid;
  chosen uuid;
  refused uuid[] := '{}';
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session and state = 'queued' and assignee_id is null
     for update skip locked;
  if not found then
    select * into s from assignment.sessions where tenant_id = p_tenant and id = p_session;
    return jsonb_build_object(
      'result', case when s.state = 'queued' then 'busy' else 'taken' end,
      'agent_id', s.assignee_id, 'session', assignment.session_json(s));
  end if;
  foreach candidate in array p_agents loop
    update assignment.agents
       set active_units = active_units + s.units, last_assigned_at = clock_timestamp()
     where tenant_id = p_tenant and id = candidate and deleted_at is null
       and (p_force or (status = 'online' and accepting and presence_expires_at > now()
                        and active_units + s.units <= capacity_units));
    if found then
      chosen := candidate;
      exit;
    end if;
    refused := refused || candidate;
  end loop;
  if chosen is null then
    return jsonb_build_object('result', 'no_capacity', 'refused', to_jsonb(refused),
                              'session', assignment.session_json(s));
  end if;
  -- Only the team that assigned moves the agent's turn; room changes in all of its teams.
  update assignment.team_candidates c
     set has_room = a.active_units < a.capacity_units,
         vt = case when c.team_id = coalesce(s.team_id, p_tenant)
                   then c.vt + s.units * 100.0 / c.weight else c.vt end,
         last_assigned_at = case when c.team_id = coalesce(s.team_id, p_tenant)
                                 then clock_timestamp() else c.last_assigned_at end
    from assignment.agents a
   where a.tenant_id = p_tenant and a.id = chosen
     and c.tenant_id = p_tenant and c.agent_id = chosen;
  update assignment.sessions
     set assignee_id = chosen, state = 'assigned', assigned_at = now(), last_reason = 'assigned',
         assignment_seq = assignment_seq + 1, version = version + 1
   where tenant_id = p_tenant and id = s.id
  returning * into s;
  perform assignment.record_decision(p_tenant, s.id, p_decision
    || jsonb_build_object('outcome', 'assign', 'reason', 'assigned', 'agent_id', chosen));
  perform assignment.announce(s, p_tenant_code, 'session.assigned');
  return jsonb_build_object('result', 'assigned', 'agent_id', chosen,
    'refused', to_jsonb(refused), 'session', assignment.session_json(s));
end
$$;

-- Leaves the event of a change of hands, and the call that lets messaging follow it.
create function assignment.announce(
  s assignment.sessions, p_tenant_code text, p_event text
) returns void language plpgsql as $$
begin
  perform platform.emit('assignment-engine', s.tenant_id, p_tenant_code, p_event, s.id::text,
    s.version, assignment.session_json(s));
  perform platform.enqueue_call('assignment-engine', s.tenant_id, p_tenant_code, 'messaging',
    '/v1/internal/assignment', s.conversation_id::text, s.version,
    jsonb_build_object('conversation_id', s.conversation_id, 'session_id', s.id,
      'assignee_id', s.assignee_id, 'state', s.state, 'reason', s.last_reason,
      'version', s.version),
    gen_random_uuid());
end
$$;

-- Keeps why a run ended without an owner. The session stays as it is but for its reason; `stop`
-- takes it out of the automatic queue.
create function assignment.leave_session(
  p_tenant uuid, p_session uuid, p_decision jsonb
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
begin
  update assignment.sessions
     set last_reason = p_decision->>'reason',
         state = case when p_decision->>'outcome' = 'stop' and state = 'queued' then 'parked'
                      else state end,
         version = version + 1
   where tenant_id = p_tenant and id = p_session
  returning * into s;
  perform assignment.record_decision(p_tenant, p_session, p_decision);
  return assignment.session_json(s);
end
$$;

-- Ends a session and gives its capacity back. Returns the session, or null when there is none.
-- A closed one is returned unchanged.
create function assignment.close_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_actor text, p_reason text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  before jsonb;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found then return null; end if;
  if s.state = 'closed' then return assignment.session_json(s); end if;
  before := assignment.session_json(s);
  if s.assignee_id is not null then
    update assignment.agents set active_units = greatest(0, active_units - s.units)
     where tenant_id = p_tenant and id = s.assignee_id;
    perform assignment.refresh_candidates(p_tenant, s.assignee_id);
  end if;
  update assignment.sessions
     set state = 'closed', assignee_id = null, closed_at = now(), version = version + 1,
         last_reason = coalesce(p_reason, 'closed')
   where tenant_id = p_tenant and id = p_session
  returning * into s;
  perform platform.note_audit(p_tenant, p_actor, 'session.close', s.id::text, before,
    assignment.session_json(s), p_reason, p_request);
  perform assignment.announce(s, p_tenant_code, 'session.closed');
  return assignment.session_json(s);
end
$$;

create function assignment.agent_json(a assignment.agents) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', a.id, 'name', a.name, 'status', a.status, 'accepting', a.accepting,
    'present', a.presence_expires_at > now(), 'capacity_units', a.capacity_units,
    'active_units', a.active_units, 'presence_mode', a.presence_mode, 'skills', a.skills,
    'last_assigned_at', platform.rfc3339(a.last_assigned_at))
$$;

-- Makes or changes an agent. A new one joins the tenant's pool. Returns {created, agent}.
create function assignment.put_agent(
  p_tenant uuid, p_id uuid, p_name text, p_capacity int, p_presence_mode text, p_skills jsonb,
  p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old assignment.agents;
  a assignment.agents;
begin
  select * into old from assignment.agents
   where tenant_id = p_tenant and id = p_id for update;
  insert into assignment.agents (tenant_id, id, name, capacity_units, presence_mode, skills)
  values (p_tenant, p_id, p_name, coalesce(p_capacity, 3), coalesce(p_presence_mode, 'strict'),
          coalesce(p_skills, '[]'))
  on conflict (tenant_id, id) do update
    set name = excluded.name, capacity_units = coalesce(p_capacity, agents.capacity_units),
        presence_mode = coalesce(p_presence_mode, agents.presence_mode),
        presence_expires_at = case
          when coalesce(p_presence_mode, agents.presence_mode) <> 'strict'
            and agents.status <> 'offline' then 'infinity'::timestamptz
          when p_presence_mode = 'strict' and agents.presence_mode <> 'strict'
            then now() + interval '90 s'
          else agents.presence_expires_at end,
        skills = coalesce(p_skills, agents.skills), deleted_at = null,
        version = agents.version + 1
  returning * into a;
  insert into assignment.team_candidates (tenant_id, team_id, agent_id)
  values (p_tenant, p_tenant, p_id) on conflict do nothing;
  perform assignment.refresh_candidates(p_tenant, p_id);
  perform platform.note_audit(p_tenant, p_actor, 'agent.put', p_id::text,
    case when old.id is null then null else assignment.agent_json(old) end,
    assignment.agent_json(a), null, p_request);
  return jsonb_build_object('created', old.id is null, 'agent', assignment.agent_json(a));
end
$$;

-- Sets what an agent chose; coming online counts as a heartbeat. Returns the agent or null.
create function assignment.set_status(
  p_tenant uuid, p_tenant_code text, p_id uuid, p_status text, p_presence_ttl interval,
  p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  a assignment.agents;
  before text;
begin
  select status into before from assignment.agents
   where tenant_id = p_tenant and id = p_id and deleted_at is null for update;
  if not found then return null; end if;
  update assignment.agents
     set status = p_status, version = version + 1,
         presence_expires_at = case
           when p_status = 'offline' then now()
           when presence_mode = 'strict' then now() + p_presence_ttl
           else 'infinity'::timestamptz end
   where tenant_id = p_tenant and id = p_id
  returning * into a;
  perform assignment.refresh_candidates(p_tenant, p_id);
  if before is distinct from p_status then
    perform platform.note_audit(p_tenant, p_actor, 'agent.status', p_id::text,
      jsonb_build_object('status', before), jsonb_build_object('status', p_status), null,
      p_request);
    perform platform.emit('assignment-engine', p_tenant, p_tenant_code, 'agent.status',
      p_id::text, a.version, assignment.agent_json(a));
  end if;
  return assignment.agent_json(a);
end
$$;

-- A sign of life. Returns the agent or null.
create function assignment.heartbeat(p_tenant uuid, p_id uuid, p_presence_ttl interval)
returns jsonb language sql as $$
  update assignment.agents a
     set presence_expires_at = case when presence_mode = 'strict' then now() + p_presence_ttl
                                    else presence_expires_at end
   where tenant_id = p_tenant and id = p_id and deleted_at is null
  returning assignment.agent_json(a)
$$;

create function assignment.team_json(t assignment.teams) returns jsonb language sql stable as $$
  select jsonb_build_object('id', t.id, 'name', t.name, 'strategy', t.strategy,
    'members', coalesce((select jsonb_agg(jsonb_build_object('agent_id', c.agent_id,
      'weight', c.weight, 'auto_assign', c.auto_assign) order by c.agent_id)
      from assignment.team_candidates c
      where c.tenant_id = t.tenant_id and c.team_id = t.id), '[]'))
$$;

-- Makes or changes a team. Returns {created, team}.
create function assignment.put_team(
  p_tenant uuid, p_id uuid, p_name text, p_strategy text, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old assignment.teams;
  t assignment.teams;
begin
  select * into old from assignment.teams where tenant_id = p_tenant and id = p_id for update;
  insert into assignment.teams (tenant_id, id, name, strategy)
  values (p_tenant, p_id, p_name, coalesce(p_strategy, 'round_robin'))
  on conflict (tenant_id, id) do update
    set name = excluded.name, strategy = coalesce(p_strategy, teams.strategy),
        deleted_at = null, version = teams.version + 1
  returning * into t;
  perform platform.note_audit(p_tenant, p_actor, 'team.put', p_id::text,
    case when old.id is null then null else assignment.team_json(old) end,
    assignment.team_json(t), null, p_request);
  return jsonb_build_object('created', old.id is null, 'team', assignment.team_json(t));
end
$$;

-- Makes an agent a member of a team, or changes its membership. Returns the team, or
-- {missing: team|agent}.
create function assignment.put_member(
  p_tenant uuid, p_team uuid, p_agent uuid, p_weight int, p_auto_assign boolean, p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  t assignment.teams;
begin
  select * into t from assignment.teams
   where tenant_id = p_tenant and id = p_team and deleted_at is null;
  if not found then return '{"missing": "team"}'; end if;
  perform 1 from assignment.agents
   where tenant_id = p_tenant and id = p_agent and deleted_at is null for update;
  if not found then return '{"missing": "agent"}'; end if;
  insert into assignment.team_candidates (tenant_id, team_id, agent_id, weight, auto_assign)
  values (p_tenant, p_team, p_agent, coalesce(p_weight, 100), coalesce(p_auto_assign, true))
  on conflict (tenant_id, team_id, agent_id) do update
    set weight = coalesce(p_weight, team_candidates.weight),
        auto_assign = coalesce(p_auto_assign, team_candidates.auto_assign);
  perform assignment.refresh_candidates(p_tenant, p_agent);
  perform platform.note_audit(p_tenant, p_actor, 'team.member.put', p_team::text, null,
    jsonb_build_object('agent_id', p_agent, 'weight', p_weight, 'auto_assign', p_auto_assign),
    null, p_request);
  return jsonb_build_object('team', assignment.team_json(t));
end
$$;

-- Takes an agent out of a team. Returns the team, or {missing: team|agent}.
create function assignment.delete_member(
  p_tenant uuid, p_team uuid, p_agent uuid, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  t assignment.teams;
begin
  select * into t from assignment.teams
   where tenant_id = p_tenant and id = p_team and deleted_at is null;
  if not found then return '{"missing": "team"}'; end if;
  delete from assignment.team_candidates
   where tenant_id = p_tenant and team_id = p_team and agent_id = p_agent;
  if not found then return '{"missing": "agent"}'; end if;
  perform platform.note_audit(p_tenant, p_actor, 'team.member.delete', p_team::text,
    jsonb_build_object('agent_id', p_agent), null, null, p_request);
  return jsonb_build_object('team', assignment.team_json(t));
end
$$;

-- Recounts what an agent carries. The row is locked first and counted in a second statement, which
-- sees everything that committed before the lock was had. Returns the drift that was repaired.
create function assignment.reconcile_load(p_tenant uuid, p_agent uuid) returns int
language plpgsql as $$
declare
  known int;
  counted int;
begin
  select active_units into known from assignment.agents
   where tenant_id = p_tenant and id = p_agent for update;
  if not found then return 0; end if;
  select coalesce(sum(units), 0) into counted from assignment.sessions
   where tenant_id = p_tenant and assignee_id = p_agent and state in ('assigned', 'offered');
  if counted <> known then
    update assignment.agents set active_units = counted
     where tenant_id = p_tenant and id = p_agent;
    perform assignment.refresh_candidates(p_tenant, p_agent);
  end if;
  return counted - known;
end
$$;
