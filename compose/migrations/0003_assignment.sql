-- The assignment engine: who works, who waits, who got whom, and why.
-- Lock order everywhere: session, then agents by id, then an agent's candidate rows.

--
-- What every request calls is plpgsql, whose plans a connection keeps; SQL functions that are not
-- inlined are planned anew at each call.

create schema assignment;

-- How a team works, where neither it nor its tenant says otherwise. Seconds unless the name says
-- otherwise; 0 switches a timer off.
create function assignment.policy_defaults() returns jsonb
language sql immutable parallel safe as $$
  select '{"strategy": "round_robin", "on_offline": "requeue_unanswered", "offline_grace_s": 60,
    "offer_timeout_s": 0, "first_reply_timeout_s": 0, "on_first_reply_timeout": "requeue",
    "max_reassigns": 3, "max_wait_s": 0, "no_agent_action": "wait",
    "off_hours_action": "hold_until_open", "on_reopen": "same_if_eligible",
    "claim_on_first_reply": false, "sticky_mode": "owner", "sticky_days": 30,
    "sticky_wait_s": 0}'::jsonb
$$;

-- What a tenant says for all of its teams, how many units a channel takes, and which version of its
-- rules holds.
create table assignment.tenant_settings (
  tenant_id uuid primary key references platform.tenants,
  policy jsonb not null default '{}',
  channel_units jsonb not null default '{}',
  -- Seconds after which each priority from 0 to 4 is due.
  priority_targets_s int[] not null default '{0,120,600,1800,7200}'
    check (cardinality(priority_targets_s) = 5),
  policy_version int,
  updated_at timestamptz not null default now()
);

-- The rules being edited, and every version that was ever published: those never change.
create table assignment.rule_drafts (
  tenant_id uuid primary key references platform.tenants,
  rules jsonb not null,
  updated_at timestamptz not null default now()
);
create table assignment.policy_versions (
  tenant_id uuid not null references platform.tenants,
  policy_version int not null,
  rules jsonb not null,
  published_at timestamptz not null default now(),
  published_by text not null,
  primary key (tenant_id, policy_version)
);

-- Hours: weekly windows in a zone, and days that differ. Always evaluated in the zone.
create table assignment.schedules (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  name text not null,
  tz text not null,
  windows jsonb not null,
  exceptions jsonb not null default '[]',
  version bigint not null default 1,
  primary key (tenant_id, id)
);

-- Whose customer somebody is, and who never gets them.
create table assignment.contacts (
  tenant_id uuid not null references platform.tenants,
  contact_id text not null,
  owner_id uuid,
  blocked_agent_ids uuid[] not null default '{}',
  updated_at timestamptz not null default now(),
  primary key (tenant_id, contact_id)
);

create table assignment.agents (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  name text not null,
  capacity_units int not null default 3 check (capacity_units between 0 and 1000),
  active_units int not null default 0 check (active_units >= 0),
  -- What the agent chose, and whether it wants new work.
  status text not null default 'offline' check (status in ('online', 'busy', 'away', 'offline')),
  accepting boolean not null default true,
  -- Who may not answer customers is given nothing.
  can_reply boolean not null default true,
  -- Offers and first replies missed in a row; at two the agent accepts no more.
  misses int not null default 0,
  -- strict: chosen and measured; manual: chosen alone; schedule: the shift alone decides.
  presence_mode text not null default 'strict'
    check (presence_mode in ('strict', 'manual', 'schedule')),
  -- Until when the agent is present without another heartbeat; infinity outside strict mode.
  presence_expires_at timestamptz not null default '-infinity',
  -- Whether the absence was made known, after it had held for the grace time.
  absence_told boolean not null default false,
  schedule_id uuid,
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
  -- Only what this team says itself.
  policy jsonb not null default '{}',
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  deleted_at timestamptz,
  primary key (tenant_id, id)
);

-- One row per member and team: what choosing among thousands needs, in one index for each strategy.
-- A tenant's pool (sessions without a team) is the team whose id is the tenant's own.
create table assignment.team_candidates (
  tenant_id uuid not null,
  team_id uuid not null,
  agent_id uuid not null,
  weight int not null default 100 check (weight between 1 and 1000),
  auto_assign boolean not null default true,
  -- Virtual time of the fair strategy: who has the lowest is next.
  vt double precision not null default 0,
  -- How far that was from the team's when the agent went away; given back when it returns.
  lag double precision not null default 0,
  -- Kept with the agent's row: there and accepting; with room for at least one unit; the load.
  eligible boolean not null default false,
  has_room boolean not null default true,
  load_units int not null default 0,
  free_units int not null default 0,
  -- What the agent carries for this team, and how many it got in the window of flood control.
  team_units int not null default 0 check (team_units >= 0),
  window_began_at timestamptz not null default '-infinity',
  window_count int not null default 0,
  last_assigned_at timestamptz,
  primary key (tenant_id, team_id, agent_id),
  foreign key (tenant_id, agent_id) references assignment.agents
);
create index team_candidates_fair on assignment.team_candidates
  (tenant_id, team_id, vt, agent_id) where eligible and has_room and auto_assign;
create index team_candidates_oldest on assignment.team_candidates
  (tenant_id, team_id, last_assigned_at nulls first, agent_id)
  where eligible and has_room and auto_assign;
create index team_candidates_load on assignment.team_candidates
  (tenant_id, team_id, load_units, last_assigned_at nulls first, agent_id)
  where eligible and has_room and auto_assign;
create index team_candidates_free on assignment.team_candidates
  (tenant_id, team_id, free_units desc, last_assigned_at nulls first, agent_id)
  where eligible and has_room and auto_assign;
-- Turns of a large team; whoever is not to be had, longest without an assignment first.
create index team_candidates_ring on assignment.team_candidates
  (tenant_id, team_id, agent_id) where eligible and has_room and auto_assign;
create index team_candidates_away on assignment.team_candidates
  (tenant_id, team_id, last_assigned_at nulls first, agent_id)
  where not (eligible and has_room and auto_assign);
create index team_candidates_of_agent on assignment.team_candidates (tenant_id, agent_id);

-- The virtual time of a team under `fair`, as it was when somebody last came or went, with the sums
-- of those who were there then.
create table assignment.team_clocks (
  tenant_id uuid not null,
  team_id uuid not null,
  vt double precision not null default 0,
  weighted double precision not null default 0,
  weight double precision not null default 0,
  primary key (tenant_id, team_id)
);

create table assignment.sessions (
  tenant_id uuid not null references platform.tenants,
  id uuid not null default platform.uuid_v7(),
  conversation_id uuid not null,
  contact_id text not null,
  team_id uuid,
  priority smallint not null default 2 check (priority between 0 and 4),
  context jsonb not null default '{}',
  required_skills jsonb not null default '[]',
  source text not null,
  state text not null default 'queued' check (state in
    ('queued', 'offered', 'assigned', 'on_hold', 'parked', 'closed')),
  assignee_id uuid,
  -- The owner before; kept when it is closed, for a reopening.
  last_agent_id uuid,
  -- Who does not get it in the next run, and who declined it: agent id to time in ms.
  excluded_agent_ids uuid[] not null default '{}',
  declined jsonb not null default '{}',
  reassigns int not null default 0,
  replied_at timestamptz,
  asked_contact boolean not null default false,
  units int not null default 1 check (units between 1 and 100),
  -- Survives decline, timeout and requeue; a new handover starts a new one.
  enqueued_at timestamptz not null default now(),
  sla_due_at timestamptz,
  sort_key timestamptz not null,
  assigned_at timestamptz,
  closed_at timestamptz,
  assignment_seq bigint not null default 0,
  version bigint not null default 1,
  last_reason text,
  last_error text,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  check ((assignee_id is not null) = (state in ('assigned', 'offered', 'on_hold')))
);
create unique index sessions_one_open on assignment.sessions (tenant_id, conversation_id)
  where state <> 'closed';
create index sessions_queue on assignment.sessions
  (tenant_id, coalesce(team_id, tenant_id), sort_key, enqueued_at, id) where state = 'queued';
create index sessions_unseen on assignment.sessions (tenant_id, enqueued_at, id)
  where state = 'queued' and last_reason is null;
create index sessions_of_agent on assignment.sessions (tenant_id, assignee_id)
  where assignee_id is not null;
create index sessions_parked on assignment.sessions (tenant_id, last_reason) where state = 'parked';
create index sessions_of_contact on assignment.sessions (tenant_id, contact_id, id);
create index sessions_assigned on assignment.sessions
  (tenant_id, coalesce(team_id, tenant_id), assigned_at) where assigned_at is not null;
create index sessions_by_id on assignment.sessions (tenant_id, state, id);

-- One row for every run of the engine, also when nobody got the session.
create table assignment.assignment_decisions (
  tenant_id uuid not null,
  id uuid not null,
  created_at timestamptz not null default clock_timestamp(),
  session_id uuid not null,
  source text not null,
  outcome text not null check (outcome in ('assign', 'skip', 'stop', 'error')),
  reason text not null,
  agent_id uuid,
  rule_id int,
  policy_version int,
  strategy text,
  rr_index int,
  -- At most 50 of each; `counts` has the rejected by reason, all that were looked at.
  candidates jsonb not null default '[]',
  rejected jsonb not null default '[]',
  counts jsonb not null default '{}',
  -- What else a person wants to know of it.
  note text,
  took_ms double precision not null,
  primary key (tenant_id, session_id, created_at, id)
) partition by range (created_at);
insert into platform.partitioned values ('assignment.assignment_decisions', '90 days');
select platform.ensure_partitions();

-- By when a session is to be served: an old unimportant item overtakes a new important one.
create function assignment.sort_key(
  p_tenant uuid, p_priority int, p_enqueued timestamptz, p_sla timestamptz
) returns timestamptz language plpgsql stable as $$
begin
  return least(coalesce(p_sla, 'infinity'), p_enqueued + interval '1 s' * coalesce(
    (select priority_targets_s[p_priority + 1] from assignment.tenant_settings
      where tenant_id = p_tenant),
    (array[0, 120, 600, 1800, 7200])[p_priority + 1]));
end
$$;

-- What holds for a team: its own word, else the tenant's, else the default.
create function assignment.policy(p_tenant uuid, p_team uuid) returns jsonb
language plpgsql stable as $$
begin
  return assignment.policy_defaults()
    || coalesce((select policy from assignment.tenant_settings where tenant_id = p_tenant), '{}')
    || coalesce((select policy from assignment.teams
                  where tenant_id = p_tenant and id = p_team and deleted_at is null), '{}');
end
$$;

-- Declared as its parts are, so that it is inlined.
create function assignment.milliseconds(p_at timestamptz) returns bigint
language sql stable parallel safe as $$
  select case when isfinite(p_at) then (extract(epoch from p_at) * 1000)::bigint end
$$;

-- A session as events carry it: without its place in the queue, which costs a look at the queue.
create function assignment.session_json(s assignment.sessions) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', s.id, 'conversation_id', s.conversation_id, 'contact_id', s.contact_id,
    'team_id', s.team_id, 'priority', s.priority, 'units', s.units, 'context', s.context,
    'required_skills', s.required_skills, 'source', s.source, 'state', s.state,
    'reason', s.last_reason, 'assignee_id', s.assignee_id, 'last_agent_id', s.last_agent_id,
    'excluded_agent_ids', to_jsonb(s.excluded_agent_ids), 'declined', s.declined,
    'reassigns', s.reassigns, 'replied_at', platform.rfc3339(s.replied_at), 'version', s.version,
    'assignment_seq', s.assignment_seq, 'enqueued_at', platform.rfc3339(s.enqueued_at),
    'assigned_at', platform.rfc3339(s.assigned_at), 'closed_at', platform.rfc3339(s.closed_at),
    'created_at', platform.rfc3339(s.created_at), 'sla_due_at', platform.rfc3339(s.sla_due_at),
    'queue_position', null)
$$;

-- The rank of a queued session in its team; null beyond the first thousand.
create function assignment.queue_position(s assignment.sessions) returns bigint
language sql stable as $$
  select case when count(*) < 1000 then count(*) + 1 end from (
    select 1 from assignment.sessions o
     where o.tenant_id = s.tenant_id and o.state = 'queued'
       and coalesce(o.team_id, o.tenant_id) = coalesce(s.team_id, s.tenant_id)
       and (o.sort_key, o.enqueued_at, o.id) < (s.sort_key, s.enqueued_at, s.id)
     limit 1000) before
$$;

-- How long the one at the head of a team's queue waits: the median of the gaps between its last 21
-- assignments, in seconds; null with fewer than five gaps.
create function assignment.assignment_gap_s(p_tenant uuid, p_team uuid) returns double precision
language sql stable as $$
  select case when count(gap) >= 5
              then percentile_cont(0.5) within group (order by extract(epoch from gap)) end
    from (select assigned_at - lag(assigned_at) over (order by assigned_at) as gap from (
      select assigned_at from assignment.sessions
       where tenant_id = p_tenant and assigned_at > now() - interval '1 day'
         and coalesce(team_id, tenant_id) = coalesce(p_team, p_tenant)
       order by assigned_at desc limit 21) latest) gaps
$$;

-- A session as the API shows it.
create function assignment.session_view(s assignment.sessions) returns jsonb
language plpgsql stable as $$
declare
  place bigint;
begin
  if s.state <> 'queued' then return assignment.session_json(s); end if;
  place := assignment.queue_position(s);
  return assignment.session_json(s) || jsonb_build_object('queue_position', place,
    'estimated_wait_s',
    round((place * assignment.assignment_gap_s(s.tenant_id, s.team_id))::numeric, 1));
end
$$;

-- A timer that acts on a session as it is now.
create function assignment.set_timer(
  p_tenant uuid, p_tenant_code text, p_kind text, p_ref uuid, p_seq bigint, p_due timestamptz
) returns void language plpgsql as $$
begin
  perform platform.set_timer('assignment-engine', p_tenant, p_tenant_code, p_kind, p_ref, p_seq,
    p_due, '{}');
end
$$;

-- The same, unless one of that kind waits already for that version of the row.
create function assignment.ensure_timer(
  p_tenant uuid, p_tenant_code text, p_kind text, p_ref uuid, p_seq bigint, p_due timestamptz
) returns void language plpgsql as $$
begin
  if exists (select 1 from platform.timers
     where tenant_id = p_tenant and ref_id = p_ref and kind = p_kind and ref_seq = p_seq
       and lease_until is null) then return; end if;
  perform assignment.set_timer(p_tenant, p_tenant_code, p_kind, p_ref, p_seq, p_due);
end
$$;

-- Opens the session of a conversation, or finds the open one, and sets team, priority and context.
-- This is load, set and save of `requestAssignment`: the owner is left to the engine.
-- Returns {created, session}. A session that somebody owns is returned unchanged.
create function assignment.open_session(
  p_tenant uuid, p_tenant_code text, p_id uuid, p_conversation uuid, p_contact text, p_team uuid,
  p_priority int, p_context jsonb, p_sla timestamptz, p_source text, p_actor text,
  p_request_id text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
begin
  insert into assignment.sessions
    (tenant_id, id, conversation_id, contact_id, team_id, priority, context, source, units,
     sla_due_at, sort_key)
  values (p_tenant, coalesce(p_id, platform.uuid_v7()), p_conversation, p_contact, p_team,
          coalesce(p_priority, 2), coalesce(p_context, '{}'), p_source,
          assignment.units_of(p_tenant, p_context->>'channel'),
          p_sla, assignment.sort_key(p_tenant, coalesce(p_priority, 2), now(), p_sla))
  on conflict (tenant_id, conversation_id) where state <> 'closed' do nothing
  returning * into s;
  if found then
    perform platform.emit('assignment-engine', p_tenant, p_tenant_code, 'session.queued',
      s.id::text, s.version, assignment.session_json(s));
    perform platform.note_audit(p_tenant, p_actor, 'session.open', s.id::text, null,
      assignment.session_json(s), null, p_request_id);
    return jsonb_build_object('created', true, 'session', assignment.session_json(s));
  end if;
  select * into s from assignment.sessions
   where tenant_id = p_tenant and conversation_id = p_conversation and state <> 'closed'
     for update;
  if not found then
    -- It was closed in between: the next attempt opens a new one.
    return assignment.open_session(p_tenant, p_tenant_code, p_id, p_conversation, p_contact,
                                   p_team, p_priority, p_context, p_sla, p_source, p_actor,
                                   p_request_id);
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'session.ask', s.id::text,
    assignment.session_json(s), jsonb_build_object('team_id', p_team, 'priority', p_priority),
    null, p_request_id);
  return jsonb_build_object('created', false, 'session', assignment.session_json(
    assignment.ask_again(s, p_team, p_priority, p_context, p_sla)));
end
$$;

-- A new request for a session that nobody owns: its wishes are set, and it queues again.
create function assignment.ask_again(
  s assignment.sessions, p_team uuid, p_priority int, p_context jsonb, p_sla timestamptz
) returns assignment.sessions language plpgsql as $$
begin
  if s.state not in ('queued', 'parked') then return s; end if;
  update assignment.sessions
     set team_id = coalesce(p_team, team_id), priority = coalesce(p_priority, priority),
         context = context || coalesce(p_context, '{}'), state = 'queued',
         sla_due_at = coalesce(p_sla, sla_due_at),
         sort_key = assignment.sort_key(tenant_id, coalesce(p_priority, priority), enqueued_at,
                                        coalesce(p_sla, sla_due_at)),
         version = version + 1
   where tenant_id = s.tenant_id and id = s.id
  returning * into s;
  return s;
end
$$;

-- How much of an agent one session of a channel takes: the tenant's word, else chat 1, email 1,
-- voice 4.
create function assignment.units_of(p_tenant uuid, p_channel text) returns int
language plpgsql stable as $$
begin
  return coalesce(
    (select (channel_units->>p_channel)::int from assignment.tenant_settings
      where tenant_id = p_tenant),
    case p_channel when 'voice' then 4 else 1 end);
end
$$;

-- An agent as the engine looks at it, from the side of one team.
create function assignment.roster_json(
  a assignment.agents, c assignment.team_candidates
) returns json language sql stable as $$
  select json_build_object('id', a.id, 'name', a.name, 'member', c.agent_id is not null,
    'weight', c.weight, 'auto_assign', c.auto_assign, 'vt', c.vt, 'status', a.status,
    'accepting', a.accepting, 'can_reply', a.can_reply,
    'present', a.presence_expires_at > now(), 'capacity', a.capacity_units, 'active', a.active_units, 'team_units', c.team_units,
    'window_began_ms', assignment.milliseconds(c.window_began_at),
    'window_count', c.window_count, 'skills', a.skills, 'schedule_id', a.schedule_id,
    'last_ms', assignment.milliseconds(c.last_assigned_at))
$$;

-- Members of a team for one run: all of them, or a page of those whom its strategy tries first, in
-- the order of an index, so that the size of a team costs nothing. `p_way` is the strategy, `all`,
-- `away` (nobody of whom is to be had) or `absent` (who could be, if they were there).
-- `round_robin` goes by id: `p_from` is the turn.
create function assignment.roster(
  p_tenant uuid, p_team uuid, p_way text, p_from int, p_limit int
) returns table (id uuid, schedule_id uuid, agent json) language plpgsql stable
-- A limit that is not known yet lets the planner think of whole teams, and plan anew each time.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off as $$
begin
  case p_way
  when 'all' then
    return query select a.id, a.schedule_id, assignment.roster_json(a, c) from (
      select * from assignment.team_candidates k
       where k.tenant_id = p_tenant and k.team_id = p_team order by k.agent_id) c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id
     where a.deleted_at is null;
  when 'round_robin' then
    return query select a.id, a.schedule_id, assignment.roster_json(a, c) from (
      select * from assignment.team_candidates k where k.tenant_id = p_tenant
         and k.team_id = p_team and k.eligible and k.has_room and k.auto_assign
       order by k.agent_id offset p_from limit p_limit) c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id;
  when 'fair' then
    return query select a.id, a.schedule_id, assignment.roster_json(a, c) from (
      select * from assignment.team_candidates k where k.tenant_id = p_tenant
         and k.team_id = p_team and k.eligible and k.has_room and k.auto_assign
       order by k.vt, k.agent_id offset p_from limit p_limit) c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id;
  when 'least_recently_assigned' then
    return query select a.id, a.schedule_id, assignment.roster_json(a, c) from (
      select * from assignment.team_candidates k where k.tenant_id = p_tenant
         and k.team_id = p_team and k.eligible and k.has_room and k.auto_assign
       order by k.last_assigned_at nulls first, k.agent_id offset p_from limit p_limit) c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id;
  when 'least_active' then
    return query select a.id, a.schedule_id, assignment.roster_json(a, c) from (
      select * from assignment.team_candidates k where k.tenant_id = p_tenant
         and k.team_id = p_team and k.eligible and k.has_room and k.auto_assign
       order by k.load_units, k.last_assigned_at nulls first, k.agent_id
       offset p_from limit p_limit) c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id;
  when 'most_available' then
    return query select a.id, a.schedule_id, assignment.roster_json(a, c) from (
      select * from assignment.team_candidates k where k.tenant_id = p_tenant
         and k.team_id = p_team and k.eligible and k.has_room and k.auto_assign
       order by k.free_units desc, k.last_assigned_at nulls first, k.agent_id
       offset p_from limit p_limit) c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id;
  else
    return query select a.id, a.schedule_id, assignment.roster_json(a, c) from (
      select * from assignment.team_candidates k where k.tenant_id = p_tenant
         and k.team_id = p_team and not (k.eligible and k.has_room and k.auto_assign)
         and (p_way = 'away' or (k.has_room and k.auto_assign))
       order by k.last_assigned_at nulls first, k.agent_id offset p_from limit p_limit) c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id;
  end case;
end
$$;

-- How many members a team has, counted no further than `p_limit`.
create function assignment.members_up_to(p_tenant uuid, p_team uuid, p_limit int) returns int
language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return (select count(*) from (select 1 from assignment.team_candidates
    where tenant_id = p_tenant and team_id = p_team limit p_limit) members);
end
$$;

-- Everything that a run of the engine needs to know, in one look: the clock, what holds for the team
-- (null when there is no such team), the rules in force, hours, the contact, and the roster.
--
-- A team of at most `p_whole` members is there `whole`, so that every agent's reason can be told. Of
-- a larger one there are `p_limit` members from `p_from` on in its strategy's order (or in that of
-- `p_way`), and some of those who are not to be had. `round_robin` is asked without `p_from` first:
-- `ring` counts those who share the turns, and then from the turn on. Agents in `p_also` are looked at even if they are no
-- members; null, and it is a further page of the same look, without anybody beside it.
create function assignment.facts(
  p_tenant uuid, p_contact text, p_team uuid, p_also uuid[], p_whole int, p_from int, p_limit int,
  p_way text
) returns json language plpgsql stable as $$
declare
  pool uuid := coalesce(p_team, p_tenant);
  held jsonb := assignment.policy(p_tenant, p_team);
  way text := coalesce(p_way, held->>'strategy');
  is_there boolean := p_team is null;
  is_whole boolean := p_whole >= assignment.members_up_to(p_tenant, pool, p_whole + 1);
  settings assignment.tenant_settings;
  contact assignment.contacts;
  last_agent uuid;
  asked uuid[];
  ring int;
  agents json[];
  known uuid[];
  beside uuid[];
  hours uuid[];
begin
  if p_team is not null then
    is_there := exists (select 1 from assignment.teams
      where tenant_id = p_tenant and id = p_team and deleted_at is null);
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
  if not is_whole and way = 'round_robin' and p_from is null then
    select count(*) into ring from assignment.team_candidates
     where tenant_id = p_tenant and team_id = pool and eligible and has_room and auto_assign;
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
  return json_build_object('now_ms', assignment.milliseconds(now()), 'team_exists', is_there,
    'policy', held, 'policy_version', settings.policy_version,
    'rules', (select v.rules from assignment.policy_versions v
               where v.tenant_id = p_tenant and v.policy_version = settings.policy_version),
    'schedules', (select json_object_agg(h.id, json_build_object('tz', h.tz,
        'windows', h.windows, 'exceptions', h.exceptions)) from assignment.schedules h
       where hours <> '{}' and h.tenant_id = p_tenant and h.id = any (hours)),
    'owner_id', contact.owner_id, 'blocked', contact.blocked_agent_ids,
    'last_agent_id', last_agent, 'whole', is_whole, 'ring', ring, 'page', coalesce(cardinality(known), 0),
    'roster', coalesce(array_to_json(agents), '[]'));
end
$$;

-- Of a team's members that are not to be had, without those in `p_known`: how many for each reason.
create function assignment.away_counts(p_tenant uuid, p_team uuid, p_known uuid[]) returns jsonb
language plpgsql stable as $$
begin
  return (select coalesce(jsonb_object_agg(w.reason, w.n), '{}') from (
    select case when not a.can_reply then 'no_reply_permission'
                when not c.auto_assign then 'auto_assign_off'
                when not a.accepting or a.status = 'busy' then 'not_accepting'
                when a.status <> 'online' or a.presence_expires_at <= now() then 'offline'
                else 'at_capacity' end as reason, count(*) as n
      from assignment.team_candidates c
      join assignment.agents a on a.tenant_id = c.tenant_id and a.id = c.agent_id
     where c.tenant_id = p_tenant and c.team_id = p_team and c.agent_id <> all (p_known)
       and not (c.eligible and c.has_room and c.auto_assign)
     group by 1) w);
end
$$;

-- Brings a team's virtual time up to now. It goes on by 100 for each unit that is given, divided by
-- the weight of those who are there: what was given since the last look is the growth of their own
-- times, so that no claim has to touch this row. The caller changes who is there, or their weights,
-- and then calls `keep_clock`.
create function assignment.read_clock(p_tenant uuid, p_team uuid) returns double precision
language plpgsql as $$
declare
  clock assignment.team_clocks;
  weighted double precision;
begin
  insert into assignment.team_clocks (tenant_id, team_id) values (p_tenant, p_team)
  on conflict do nothing;
  select * into clock from assignment.team_clocks
   where tenant_id = p_tenant and team_id = p_team for update;
  if clock.weight = 0 then return clock.vt; end if;
  select coalesce(sum(weight * vt), 0) into weighted from assignment.team_candidates
   where tenant_id = p_tenant and team_id = p_team and eligible and auto_assign;
  return clock.vt + (weighted - clock.weighted) / clock.weight;
end
$$;

create function assignment.keep_clock(p_tenant uuid, p_team uuid, p_vt double precision)
returns void language plpgsql as $$
begin
  update assignment.team_clocks k set vt = p_vt, weighted = n.weighted, weight = n.weight
    from (select coalesce(sum(c.weight * c.vt), 0) as weighted, coalesce(sum(c.weight), 0) as weight
            from assignment.team_candidates c
           where c.tenant_id = p_tenant and c.team_id = p_team and c.eligible and c.auto_assign) n
   where k.tenant_id = p_tenant and k.team_id = p_team;
end
$$;

-- An agent comes to, or leaves, those of a team who share its work. Who comes back is as far from the
-- team's time as when it went: what it was owed or had too much is neither lost nor grown. A new one
-- starts at the team's time.
create function assignment.join_turns(c assignment.team_candidates, p_eligible boolean)
returns void language plpgsql as $$
declare
  at double precision := assignment.read_clock(c.tenant_id, c.team_id);
begin
  update assignment.team_candidates k
     set eligible = p_eligible, lag = case when p_eligible then k.lag else k.vt - at end,
         vt = case when p_eligible then at + k.lag else k.vt end
   where k.tenant_id = c.tenant_id and k.team_id = c.team_id and k.agent_id = c.agent_id;
  perform assignment.keep_clock(c.tenant_id, c.team_id, at);
end
$$;

-- Takes an agent out of the turns of a team, before its membership is changed or ended; refreshing its
-- rows brings it back. The caller holds the agent's row.
create function assignment.leave_turns(p_tenant uuid, p_team uuid, p_agent uuid) returns void
language plpgsql as $$
declare
  c assignment.team_candidates;
begin
  select * into c from assignment.team_candidates
   where tenant_id = p_tenant and team_id = p_team and agent_id = p_agent;
  if c.eligible and c.auto_assign then perform assignment.join_turns(c, false); end if;
end
$$;

-- Keeps the facts on an agent's candidate rows equal to the agent's own. The caller holds the
-- agent's row. Clocks come last in the order of locks, by team.
--
-- Who only had no room for a while is lifted to the lowest of those who had: no flood.
create function assignment.refresh_candidates(p_tenant uuid, p_agent uuid)
returns void language plpgsql as $$
declare
  a assignment.agents;
  membership assignment.team_candidates;
  can_work boolean;
  with_room boolean;
begin
  select * into a from assignment.agents where tenant_id = p_tenant and id = p_agent;
  can_work := a.status = 'online' and a.accepting and a.can_reply and a.deleted_at is null
    and a.presence_expires_at > now();
  with_room := a.active_units < a.capacity_units;
  for membership in select * from assignment.team_candidates k
      where k.tenant_id = p_tenant and k.agent_id = p_agent and k.eligible <> can_work
      order by k.team_id loop
    if membership.auto_assign then
      perform assignment.join_turns(membership, can_work);
    end if;
  end loop;
  update assignment.team_candidates c
     set eligible = can_work, has_room = with_room, load_units = a.active_units,
         free_units = a.capacity_units - a.active_units,
         vt = case when not with_room or c.has_room then c.vt else greatest(c.vt, coalesce(
             (select o.vt from assignment.team_candidates o
               where o.tenant_id = c.tenant_id and o.team_id = c.team_id and o.eligible
                 and o.has_room and o.auto_assign and o.agent_id <> c.agent_id
               order by o.vt, o.agent_id limit 1), c.vt)) end
   where c.tenant_id = p_tenant and c.agent_id = p_agent
     and (c.eligible, c.has_room, c.load_units, c.free_units) is distinct from
         (can_work, with_room, a.active_units, a.capacity_units - a.active_units);
end
$$;

create function assignment.record_decision(
  p_tenant uuid, p_session uuid, p_decision jsonb
) returns void language plpgsql as $$
begin
  insert into assignment.assignment_decisions
    (tenant_id, id, session_id, source, outcome, reason, agent_id, rule_id, policy_version,
     strategy, rr_index, candidates, rejected, counts, note, took_ms)
  values (p_tenant, coalesce((p_decision->>'id')::uuid, platform.uuid_v7()), p_session,
          p_decision->>'source', p_decision->>'outcome', p_decision->>'reason',
          (p_decision->>'agent_id')::uuid, (p_decision->>'rule_id')::int,
          (p_decision->>'policy_version')::int, p_decision->>'strategy',
          (p_decision->>'rr_index')::int, coalesce(p_decision->'candidates', '[]'),
          coalesce(p_decision->'rejected', '[]'), coalesce(p_decision->'counts', '{}'),
          p_decision->>'note', coalesce((p_decision->>'took_ms')::float8, 0));
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

-- Takes room for a session from one agent and moves the agent's turn in that team. The caller holds
-- the session. `p_mode`: `free` (online, present, room), `offline` (room alone), `force`.
-- Raises SB002 when the agent may not have it. A caller that goes on to another agent catches that in
-- a block of its own, which gives the lock on the row back: an update that waited for a row and then
-- did not want it keeps its lock, and two runs that try the same agents in other orders would wait
-- for each other for ever.
create function assignment.take_room(
  s assignment.sessions, p_agent uuid, p_mode text, p_limits jsonb
) returns void language plpgsql as $$
declare
  pool uuid := coalesce(s.team_id, s.tenant_id);
  cap int := (p_limits->>'team_cap')::int;
  flood int := (p_limits->'max_new'->>'n')::int;
  flood_window interval := (p_limits->'max_new'->>'window_s')::int * interval '1 s';
  carried int;
  capacity int;
begin
  update assignment.agents
     set active_units = active_units + s.units, last_assigned_at = clock_timestamp()
   where tenant_id = s.tenant_id and id = p_agent and deleted_at is null
     and (p_mode = 'force' or (can_reply and active_units + s.units <= capacity_units
       and (p_mode = 'offline'
            or (status = 'online' and accepting and presence_expires_at > now()))))
  returning active_units, capacity_units into carried, capacity;
  if not found then raise exception using errcode = 'SB002', message = 'at_capacity'; end if;
  -- A statement of its own: it sees what others committed before the agent's row was had. Only the
  -- team that assigns moves the agent's turn; load and room change in all of its teams.
  if p_mode <> 'force' and (cap is not null or flood is not null) and exists (
    select 1 from assignment.team_candidates
     where tenant_id = s.tenant_id and team_id = pool and agent_id = p_agent
       and (team_units + s.units > cap
            or (window_count >= flood and window_began_at > now() - flood_window)))
  then
    raise exception using errcode = 'SB002', message = 'at_capacity';
  end if;
  update assignment.team_candidates c
     set has_room = carried < capacity, load_units = carried, free_units = capacity - carried,
         vt = c.vt + case when c.team_id = pool then s.units * 100.0 / c.weight else 0 end,
         team_units = c.team_units + case when c.team_id = pool then s.units else 0 end,
         window_began_at = case when c.team_id = pool and c.window_began_at <= now() - flood_window
                                then now() else c.window_began_at end,
         window_count = case when c.team_id <> pool or flood is null then c.window_count
                             when c.window_began_at <= now() - flood_window then 1
                             else c.window_count + 1 end,
         last_assigned_at = case when c.team_id = pool then clock_timestamp()
                                 else c.last_assigned_at end
   where c.tenant_id = s.tenant_id and c.agent_id = p_agent;
end
$$;

-- Gives back what a session takes of its owner. The caller holds the session.
create function assignment.free_room(s assignment.sessions) returns void language plpgsql as $$
begin
  if s.assignee_id is null or s.state = 'on_hold' then return; end if;
  update assignment.agents set active_units = greatest(0, active_units - s.units)
   where tenant_id = s.tenant_id and id = s.assignee_id;
  update assignment.team_candidates set team_units = greatest(0, team_units - s.units)
   where tenant_id = s.tenant_id and agent_id = s.assignee_id
     and team_id = coalesce(s.team_id, s.tenant_id);
  perform assignment.refresh_candidates(s.tenant_id, s.assignee_id);
end
$$;

-- What a run settled for the session itself: its team, its priority, its skills.
create function assignment.apply_wishes(
  s assignment.sessions, p_set jsonb
) returns assignment.sessions language plpgsql as $$
begin
  s.team_id := case when p_set ? 'team_id' then (p_set->>'team_id')::uuid else s.team_id end;
  s.priority := coalesce((p_set->>'priority')::smallint, s.priority);
  s.required_skills := coalesce(p_set->'skills', s.required_skills);
  s.sort_key := assignment.sort_key(s.tenant_id, s.priority, s.enqueued_at, s.sla_due_at);
  return s;
end
$$;

-- Who of `p_agents` comes first by the strategy as things are now, and is in nobody else's hands.
-- Runs at the same time see the same first candidate; each gets another one by this, instead of all
-- waiting for the first and then giving it everything. Locks the agent. Null: all are taken or full.
create function assignment.first_free(
  s assignment.sessions, p_agents uuid[], p_rank text
) returns uuid language plpgsql as $$
declare
  pool uuid := coalesce(s.team_id, s.tenant_id);
  reached double precision;
begin
  if p_rank = 'fair' then
    select sum(weight * vt) / sum(weight) + 1e-9 into reached from assignment.team_candidates
     where tenant_id = s.tenant_id and team_id = pool and agent_id = any (p_agents);
  end if;
  return (select a.id from assignment.agents a join assignment.team_candidates c
      on c.tenant_id = a.tenant_id and c.agent_id = a.id and c.team_id = pool
   where a.tenant_id = s.tenant_id and a.id = any (p_agents) and a.deleted_at is null
     and a.active_units + s.units <= a.capacity_units
   order by c.vt > reached,
         case p_rank when 'fair' then c.vt + 100.0 / c.weight when 'least_active' then a.active_units
                     when 'most_available' then a.active_units - a.capacity_units else 0 end,
         case when p_rank <> 'fair' then c.last_assigned_at end nulls first, a.id
   limit 1 for update of a skip locked);
end
$$;

-- Gives a queued session to the first of `p_agents` that has room: owner, capacity, decision, timers,
-- event and the call that tells messaging, in one commit. Whoever calls has ordered the agents.
--
-- p_decision: {id, source, strategy, rr_index, candidates, rejected, counts, took_ms, …}.
-- p_terms: {mode: free|offline, rank: the strategy, where the agents' order may change, offer_s, first_reply_s, team_cap, max_new: {n, window_s},
--           set: {team_id?, priority?, skills?}}.
-- Returns {result, agent_id?, session?, refused: [agent ids without room]}; result is
--   assigned | taken (somebody else's, or closed) | busy (another run holds it) | no_capacity.
create function assignment.claim_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_agents uuid[], p_decision jsonb,
  p_terms jsonb default '{}'
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
  s := assignment.apply_wishes(s, p_terms->'set');
  for n in case when p_terms ? 'rank' then 0 else 1 end .. cardinality(p_agents) loop
    begin
      candidate := case n when 0 then assignment.first_free(s, p_agents, p_terms->>'rank')
                          else p_agents[n] end;
      continue when candidate is null or candidate = any (refused);
      perform assignment.take_room(s, candidate, coalesce(p_terms->>'mode', 'free'), p_terms);
      chosen := candidate;
      exit;
    exception when sqlstate 'SB002' then
      refused := refused || candidate;
    end;
  end loop;
  if chosen is null then
    return jsonb_build_object('result', 'no_capacity', 'refused', to_jsonb(refused),
                              'session', assignment.session_json(s));
  end if;
  s := assignment.settle_owner(s, chosen, p_tenant_code, p_terms);
  perform assignment.record_decision(p_tenant, s.id, p_decision
    || jsonb_build_object('outcome', 'assign', 'agent_id', chosen));
  return jsonb_build_object('result', 'assigned', 'agent_id', chosen,
    'refused', to_jsonb(refused), 'session', assignment.session_json(s));
end
$$;

-- Writes the owner whose room was taken, with the timers of the new assignment. An offer is not yet
-- an assignment: its first reply is waited for from the acceptance on.
create function assignment.settle_owner(
  s assignment.sessions, p_agent uuid, p_tenant_code text, p_terms jsonb
) returns assignment.sessions language plpgsql as $$
declare
  offer_s int := coalesce((p_terms->>'offer_s')::int, 0);
  first_reply_s int := coalesce((p_terms->>'first_reply_s')::int, 0);
begin
  update assignment.sessions
     set assignee_id = p_agent, state = case when offer_s > 0 then 'offered' else 'assigned' end,
         assigned_at = now(), last_reason = 'assigned', last_error = null, replied_at = null,
         last_agent_id = p_agent, excluded_agent_ids = '{}', team_id = s.team_id,
         priority = s.priority, required_skills = s.required_skills, sort_key = s.sort_key,
         assignment_seq = assignment_seq + 1, version = version + 1
   where tenant_id = s.tenant_id and id = s.id
  returning * into s;
  if offer_s > 0 then
    perform assignment.set_timer(s.tenant_id, p_tenant_code, 'offer', s.id, s.assignment_seq,
      now() + offer_s * interval '1 s');
  elsif first_reply_s > 0 then
    perform assignment.set_timer(s.tenant_id, p_tenant_code, 'first_reply', s.id,
      s.assignment_seq, now() + first_reply_s * interval '1 s');
  end if;
  perform assignment.announce(s, p_tenant_code, 'session.' || s.state);
  return s;
end
$$;

-- Keeps why a run ended without an owner. The session stays as it is but for its reason and its
-- wishes; `stop` takes it out of the automatic queue. p_wake: {kind, due_ms} sets a timer that looks
-- again. p_event names an event to leave, once per session. An `error` changes `last_error` alone.
create function assignment.leave_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_decision jsonb, p_set jsonb default '{}',
  p_wake jsonb default null, p_event text default null
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  wished assignment.sessions;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found then return null; end if;
  perform assignment.record_decision(p_tenant, p_session, p_decision);
  if s.state <> 'queued' then return assignment.session_view(s); end if;
  if p_decision->>'outcome' = 'error' then
    update assignment.sessions set last_error = p_decision->>'reason'
     where tenant_id = p_tenant and id = p_session returning * into s;
    return assignment.session_view(s);
  end if;
  wished := assignment.apply_wishes(s, p_set);
  if (wished.team_id, wished.priority, wished.required_skills, p_decision->>'reason', null)
     is distinct from (s.team_id, s.priority, s.required_skills, s.last_reason, p_event)
     or p_decision->>'outcome' = 'stop' or s.excluded_agent_ids <> '{}'
  then
    update assignment.sessions
       set last_reason = p_decision->>'reason', last_error = null, team_id = wished.team_id,
           priority = wished.priority, required_skills = wished.required_skills,
           sort_key = wished.sort_key, asked_contact = asked_contact or p_event is not null,
           excluded_agent_ids = '{}',
           state = case when p_decision->>'outcome' = 'stop' then 'parked' else state end,
           version = version + 1
     where tenant_id = p_tenant and id = p_session
    returning * into s;
    if p_event is not null and not wished.asked_contact then
      perform platform.emit('assignment-engine', p_tenant, p_tenant_code, p_event, s.id::text,
        s.version, assignment.session_json(s));
    end if;
  end if;
  if p_wake is not null then
    perform assignment.ensure_timer(p_tenant, p_tenant_code, p_wake->>'kind', s.id,
      s.assignment_seq, to_timestamp((p_wake->>'due_ms')::bigint / 1000.0));
  end if;
  return assignment.session_view(s);
end
$$;

-- Takes a session from its owner and puts it back into the queue at its old place. The caller holds
-- the session. The old owner is left out of the next run when `p_exclude`; `p_counted` counts it as
-- a reassignment, and after the team's limit it overflows to the team that is named for that.
create function assignment.requeue(
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
    overflow := (held->>'overflow_team_id')::uuid;
  end if;
  update assignment.sessions
     set state = 'queued', assignee_id = null, replied_at = null,
         excluded_agent_ids = case when p_exclude then array[owner] else '{}'::uuid[] end,
         reassigns = case when overflow is not null then 0
                          else reassigns + case when p_counted then 1 else 0 end end,
         team_id = coalesce(overflow, team_id), last_reason = p_reason,
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

-- Its owner does not get this session again for ten minutes.
create function assignment.note_declined(s assignment.sessions) returns assignment.sessions
language plpgsql as $$
begin
  update assignment.sessions
     set declined = declined || jsonb_build_object(s.assignee_id::text,
           assignment.milliseconds(now() + interval '10 min'))
   where tenant_id = s.tenant_id and id = s.id
  returning * into s;
  return s;
end
$$;

-- A missed offer or first reply. Two in a row, and the agent accepts no more until it says so.
create function assignment.note_miss(p_tenant uuid, p_agent uuid) returns void
language plpgsql as $$
begin
  update assignment.agents set misses = misses + 1, accepting = accepting and misses + 1 < 2
   where tenant_id = p_tenant and id = p_agent;
  perform assignment.refresh_candidates(p_tenant, p_agent);
end
$$;

-- A timer of a session is due. It acts only if the session is still at `p_seq`.
-- Returns {action: none|run, session}: `run` asks the caller to run the engine.
create function assignment.session_timer_due(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_kind text, p_seq bigint
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  held jsonb;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found or s.assignment_seq <> p_seq then return '{"action": "none"}'; end if;
  if p_kind = 'offer' and s.state = 'offered' then
    perform 1 from assignment.agents
     where tenant_id = p_tenant and id = s.assignee_id for update;
    perform assignment.note_miss(p_tenant, s.assignee_id);
    s := assignment.requeue(s, p_tenant_code, 'timer', 'offer_expired', true, true);
  elsif p_kind = 'first_reply' and s.state = 'assigned' and s.replied_at is null then
    held := assignment.policy(p_tenant, s.team_id);
    perform platform.emit('assignment-engine', p_tenant, p_tenant_code,
      'session.first_reply_missed', s.id::text, s.version, assignment.session_json(s));
    if held->>'on_first_reply_timeout' = 'notify' then return '{"action": "none"}'; end if;
    perform 1 from assignment.agents
     where tenant_id = p_tenant and id = s.assignee_id for update;
    perform assignment.note_miss(p_tenant, s.assignee_id);
    if held->>'on_first_reply_timeout' = 'reassign' then
      s := assignment.note_declined(s);
    end if;
    s := assignment.requeue(s, p_tenant_code, 'timer', 'first_reply_missed', true, true);
  elsif p_kind in ('schedule_open', 'off_hours') and s.state = 'parked' then
    update assignment.sessions set state = 'queued', version = version + 1
     where tenant_id = p_tenant and id = p_session returning * into s;
  end if;
  return jsonb_build_object('action', case when s.state = 'queued' then 'run' else 'none' end,
    'session', assignment.session_json(s));
end
$$;

-- Hours or policies changed: what was parked for the hour queues again, and the next run decides.
create function assignment.unpark(p_tenant uuid, p_reason text) returns int language sql as $$
  with woken as (
    update assignment.sessions set state = 'queued', version = version + 1
     where tenant_id = p_tenant and state = 'parked' and last_reason = p_reason returning 1)
  select count(*)::int from woken
$$;

-- Looks whether an agent is gone, and which of its sessions must go back. An agent that chose to be
-- offline, or was taken out, is gone at once; one that fell silent, after its team's grace.
-- Returns {sessions: [ids that are due], next_ms: when to look again, or null}.
create function assignment.absence_due(
  p_tenant uuid, p_tenant_code text, p_agent uuid
) returns jsonb language plpgsql as $$
declare
  a assignment.agents;
  left_at timestamptz;
  due uuid[];
  upcoming timestamptz;
begin
  select * into a from assignment.agents where tenant_id = p_tenant and id = p_agent for update;
  if not found then return '{"sessions": [], "next_ms": null}'; end if;
  left_at := case when a.deleted_at is not null or a.status = 'offline' then '-infinity'
                  else a.presence_expires_at end;
  if left_at > now() then
    return jsonb_build_object('sessions', '[]'::jsonb, 'next_ms', assignment.milliseconds(left_at));
  end if;
  perform assignment.refresh_candidates(p_tenant, p_agent);
  if isfinite(left_at) and not a.absence_told and left_at + interval '60 s' <= now() then
    update assignment.agents set absence_told = true, version = version + 1
     where tenant_id = p_tenant and id = p_agent returning * into a;
    perform platform.emit('assignment-engine', p_tenant, p_tenant_code, 'agent.absent',
      p_agent::text, a.version, assignment.agent_json(a));
  end if;
  select array_agg(s.id) filter (where g.at <= now()), min(g.at) filter (where g.at > now())
    into due, upcoming
    from assignment.sessions s, lateral (select left_at + (assignment.policy(p_tenant, s.team_id)
           ->>'offline_grace_s')::int * interval '1 s' as at) g
   where s.tenant_id = p_tenant and s.assignee_id = p_agent;
  if isfinite(left_at) and not a.absence_told then
    upcoming := least(upcoming, left_at + interval '60 s');
  end if;
  return jsonb_build_object('sessions', to_jsonb(coalesce(due, '{}')),
    'next_ms', assignment.milliseconds(upcoming));
end
$$;

-- Puts a session of an agent that is gone back, as its team wants it. Returns whether it did.
create function assignment.release_absent(
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
     or (wanted = 'requeue_unanswered' and s.replied_at is not null and s.state <> 'offered')
  then return false; end if;
  perform assignment.requeue(s, p_tenant_code, 'timer', 'agent_offline', true, false);
  return true;
end
$$;

-- A contact wrote in a conversation. Its owner may be gone, and the team want the session back then:
-- returns it when it queues again, for a run.
create function assignment.contact_wrote(
  p_tenant uuid, p_tenant_code text, p_conversation uuid
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  a assignment.agents;
  held jsonb;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and conversation_id = p_conversation and state <> 'closed';
  if s.assignee_id is null then return null; end if;
  held := assignment.policy(p_tenant, s.team_id);
  if held->>'on_offline' <> 'requeue_on_reply' then return null; end if;
  select * into s from assignment.sessions where tenant_id = p_tenant and id = s.id
     and assignee_id = s.assignee_id and state in ('assigned', 'on_hold') for update;
  if not found then return null; end if;
  select * into a from assignment.agents
   where tenant_id = p_tenant and id = s.assignee_id for update;
  if a.deleted_at is null and a.status <> 'offline'
     and a.presence_expires_at + (held->>'offline_grace_s')::int * interval '1 s' > now()
  then return null; end if;
  return assignment.session_json(
    assignment.requeue(s, p_tenant_code, 'timer', 'agent_offline', true, false));
end
$$;

-- Why a person may not be given a session by hand, or null. Skills and hours do not count: whoever
-- takes it knows. The caller holds the agent.
create function assignment.objection(
  s assignment.sessions, a assignment.agents, p_team_cap int
) returns text language sql stable as $$
  select case
    when not exists (select 1 from assignment.team_candidates c where c.tenant_id = s.tenant_id
           and c.team_id = coalesce(s.team_id, s.tenant_id) and c.agent_id = a.id)
      then 'not_member'
    when not a.can_reply then 'no_reply_permission'
    when exists (select 1 from assignment.contacts k where k.tenant_id = s.tenant_id
           and k.contact_id = s.contact_id and a.id = any (k.blocked_agent_ids))
      then 'blocked_for_contact'
    when not a.accepting then 'not_accepting'
    when a.status = 'offline' or a.presence_expires_at <= now() then 'offline'
    when a.active_units + s.units > a.capacity_units then 'at_capacity'
    when exists (select 1 from assignment.team_candidates c where c.tenant_id = s.tenant_id
           and c.team_id = coalesce(s.team_id, s.tenant_id) and c.agent_id = a.id
           and c.team_units + s.units > p_team_cap)
      then 'at_capacity' end
$$;

-- Gives a session to a person by hand, or moves it from one to another: the same claim as a run's.
-- p_kind: take | assign (only what nobody owns) | transfer. p_force: although the agent may not.
-- Returns {result, reason?, agent_id?, session?}; result is
--   given | already (has it) | taken (somebody else has it) | closed | ineligible | no_agent | missing.
create function assignment.give_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_agent uuid, p_kind text, p_force boolean,
  p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  a assignment.agents;
  held jsonb;
  before jsonb;
  objection text;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found then return '{"result": "missing"}'; end if;
  if s.state = 'closed' then
    return jsonb_build_object('result', 'closed', 'session', assignment.session_json(s));
  elsif s.assignee_id = p_agent and s.state in ('assigned', 'on_hold') then
    return jsonb_build_object('result', 'already', 'agent_id', p_agent,
      'session', assignment.session_json(s));
  elsif s.assignee_id <> p_agent and p_kind <> 'transfer' then
    return jsonb_build_object('result', 'taken', 'agent_id', s.assignee_id,
      'session', assignment.session_json(s));
  end if;
  -- Both agents, in the order of their ids.
  perform 1 from assignment.agents
   where tenant_id = p_tenant and id in (p_agent, s.assignee_id) order by id for update;
  select * into a from assignment.agents
   where tenant_id = p_tenant and id = p_agent and deleted_at is null;
  if not found then return '{"result": "no_agent"}'; end if;
  held := assignment.policy(p_tenant, s.team_id);
  before := assignment.session_json(s);
  perform assignment.free_room(s);
  select * into a from assignment.agents where tenant_id = p_tenant and id = p_agent;
  objection := assignment.objection(s, a, (held->>'capacity_units')::int);
  if objection is not null and not p_force then
    raise exception using errcode = 'SB001', message = objection;
  end if;
  perform assignment.take_room(s, p_agent, 'force', '{}');
  s := assignment.settle_owner(s, p_agent, p_tenant_code, jsonb_build_object('first_reply_s',
    case when p_kind = 'first_reply' then 0 else (held->>'first_reply_timeout_s')::int end));
  perform assignment.record_decision(p_tenant, s.id, jsonb_build_object(
    'source', case when p_kind = 'transfer' then 'transfer' else 'manual' end,
    'outcome', 'assign', 'agent_id', p_agent,
    'reason', case when objection is null then p_kind else 'forced' end,
    'rejected', case when objection is null then '[]'::jsonb else jsonb_build_array(
      jsonb_build_object('agent_id', p_agent, 'reason', objection)) end,
    'candidates', jsonb_build_array(jsonb_build_object('agent_id', p_agent, 'name', a.name))));
  perform platform.note_audit(p_tenant, p_actor, 'session.' || p_kind, s.id::text, before,
    assignment.session_json(s), p_reason, p_request);
  return jsonb_build_object('result', 'given', 'agent_id', p_agent,
    'session', assignment.session_json(s));
exception when sqlstate 'SB001' then
  -- What was given back above is undone with the block.
  return jsonb_build_object('result', 'ineligible', 'reason', sqlerrm,
    'session', assignment.session_json(s));
end
$$;

-- What the owner, or the one it is offered to, does with a session.
-- p_action: accept | decline | replied | hold | resume | transfer_team | return_to_bot | close.
-- p_agent is who acts, where that matters; p_team where it goes to.
-- Returns {result, session?, run?}; result is
--   done | unchanged | missing | closed | not_yours | wrong_state | no_team | at_capacity | claim;
-- `run` asks the caller to run the engine, `claim` to give it to who replied first.
create function assignment.act_on_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_action text, p_agent uuid, p_team uuid,
  p_force boolean, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  held jsonb;
  before jsonb;
  verdict text := 'done';
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found then return '{"result": "missing"}'; end if;
  if s.state = 'closed' then
    return jsonb_build_object('result', case when p_action = 'close' then 'unchanged'
      else 'closed' end, 'session', assignment.session_json(s));
  end if;
  held := assignment.policy(p_tenant, s.team_id);
  before := assignment.session_json(s);
  if p_action in ('accept', 'decline') then
    verdict := case when s.state <> 'offered' then 'wrong_state'
                    when s.assignee_id <> p_agent then 'not_yours' else 'done' end;
    if p_action = 'accept' and s.state = 'assigned' and s.assignee_id = p_agent then
      verdict := 'unchanged';
    end if;
  elsif p_action in ('hold', 'resume') then
    verdict := case when s.state <> case p_action when 'hold' then 'assigned' else 'on_hold' end
                    then 'wrong_state' else 'done' end;
  elsif p_action = 'transfer_team' and not exists (select 1 from assignment.teams
      where tenant_id = p_tenant and id = p_team and deleted_at is null) then
    verdict := 'no_team';
  elsif p_action = 'replied' and s.assignee_id is null then
    verdict := case when s.state = 'queued' and (held->>'claim_on_first_reply')::boolean
                    then 'claim' else 'unchanged' end;
  end if;
  if verdict <> 'done' then
    return jsonb_build_object('result', verdict, 'session', assignment.session_json(s));
  end if;
  s := assignment.perform_action(
    s, p_tenant_code, p_action, p_agent, p_team, p_force, held, p_reason);
  perform platform.note_audit(p_tenant, p_actor, 'session.' || p_action, s.id::text, before,
    assignment.session_json(s), p_reason, p_request);
  return jsonb_build_object('result', 'done', 'session', assignment.session_json(s),
    'run', s.state = 'queued');
exception when sqlstate 'SB002' then
  return jsonb_build_object('result', sqlerrm, 'session', before);
end
$$;

-- The change itself, once it is known to be allowed. The caller holds the session.
create function assignment.perform_action(
  s assignment.sessions, p_tenant_code text, p_action text, p_agent uuid, p_team uuid,
  p_force boolean, p_held jsonb, p_reason text
) returns assignment.sessions language plpgsql as $$
declare
  reply_s int := (p_held->>'first_reply_timeout_s')::int;
begin
  case p_action
  when 'accept' then
    update assignment.sessions set state = 'assigned', assigned_at = now(), version = version + 1,
           assignment_seq = assignment_seq + 1
     where tenant_id = s.tenant_id and id = s.id returning * into s;
    update assignment.agents set misses = 0 where tenant_id = s.tenant_id and id = p_agent;
    if reply_s > 0 then
      perform assignment.set_timer(s.tenant_id, p_tenant_code, 'first_reply', s.id,
        s.assignment_seq, now() + reply_s * interval '1 s');
    end if;
    perform assignment.announce(s, p_tenant_code, 'session.assigned');
  when 'decline' then
    s := assignment.note_declined(s);
    s := assignment.requeue(s, p_tenant_code, 'manual', 'declined', true, true);
  when 'replied' then
    update assignment.sessions set replied_at = now(), version = version + 1,
           state = case when state = 'offered' then 'assigned' else state end
     where tenant_id = s.tenant_id and id = s.id returning * into s;
    update assignment.agents set misses = 0
     where tenant_id = s.tenant_id and id = s.assignee_id and misses > 0;
  when 'hold' then
    perform assignment.free_room(s);
    update assignment.sessions set state = 'on_hold', version = version + 1,
           assignment_seq = assignment_seq + 1
     where tenant_id = s.tenant_id and id = s.id returning * into s;
    perform assignment.announce(s, p_tenant_code, 'session.on_hold');
  when 'resume' then
    perform assignment.take_room(s, s.assignee_id,
      case when p_force then 'force' else 'offline' end,
      jsonb_build_object('team_cap', p_held->'capacity_units'));
    update assignment.sessions set state = 'assigned', version = version + 1,
           assignment_seq = assignment_seq + 1
     where tenant_id = s.tenant_id and id = s.id returning * into s;
    perform assignment.announce(s, p_tenant_code, 'session.assigned');
  when 'transfer_team' then
    if s.assignee_id is not null then
      s := assignment.requeue(s, p_tenant_code, 'transfer', 'transferred', false, false);
    end if;
    update assignment.sessions set team_id = p_team, state = 'queued', version = version + 1
     where tenant_id = s.tenant_id and id = s.id returning * into s;
  else
    perform assignment.free_room(s);
    update assignment.sessions
       set state = 'closed', assignee_id = null, closed_at = now(), version = version + 1,
           assignment_seq = assignment_seq + 1,
           last_reason = coalesce(p_reason, case p_action when 'close' then 'closed'
                                                          else 'returned_to_bot' end)
     where tenant_id = s.tenant_id and id = s.id returning * into s;
    perform assignment.announce(s, p_tenant_code, 'session.closed');
  end case;
  return s;
end
$$;

-- A new request for a person on a session that is there. Returns {result: done|closed|missing, …}.
create function assignment.hand_over(
  p_tenant uuid, p_session uuid, p_team uuid, p_priority int, p_context jsonb, p_sla timestamptz,
  p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found then return '{"result": "missing"}'; end if;
  if s.state = 'closed' then
    return jsonb_build_object('result', 'closed', 'session', assignment.session_json(s));
  end if;
  s := assignment.ask_again(s, p_team, p_priority, p_context, p_sla);
  perform platform.note_audit(p_tenant, p_actor, 'session.handover', s.id::text, null,
    assignment.session_json(s), p_reason, p_request);
  return jsonb_build_object('result', 'done', 'session', assignment.session_json(s));
end
$$;

-- Opens a closed session again: a new wait, the same history.
-- Returns {result: done|bot|open|other_open|missing, session, on_reopen}.
create function assignment.reopen_session(
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
         sla_due_at = null, sort_key = assignment.sort_key(tenant_id, priority, now(), null), last_reason = 'reopened',
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

create function assignment.agent_json(a assignment.agents) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', a.id, 'name', a.name, 'status', a.status, 'accepting', a.accepting,
    'present', a.presence_expires_at > now(), 'capacity_units', a.capacity_units,
    'active_units', a.active_units, 'can_reply', a.can_reply, 'presence_mode', a.presence_mode, 'skills', a.skills,
    'schedule_id', a.schedule_id, 'last_assigned_at', platform.rfc3339(a.last_assigned_at))
$$;

-- Makes or changes an agent. A new one joins the tenant's pool. In `schedule` mode the shift decides,
-- so the agent counts as online. Returns {created, agent} or {missing: schedule_id}.
create function assignment.put_agent(
  p_tenant uuid, p_tenant_code text, p_id uuid, p_name text, p_capacity int, p_presence_mode text,
  p_skills jsonb, p_schedule uuid, p_can_reply boolean, p_presence_ttl interval, p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  old assignment.agents;
  a assignment.agents;
begin
  if p_schedule is not null and not exists (select 1 from assignment.schedules
      where tenant_id = p_tenant and id = p_schedule) then
    return '{"missing": "schedule_id"}';
  end if;
  select * into old from assignment.agents
   where tenant_id = p_tenant and id = p_id for update;
  insert into assignment.agents
    (tenant_id, id, name, capacity_units, presence_mode, skills, schedule_id, can_reply)
  values (p_tenant, p_id, p_name, coalesce(p_capacity, 3), coalesce(p_presence_mode, 'strict'),
          coalesce(p_skills, '[]'), p_schedule, coalesce(p_can_reply, true))
  on conflict (tenant_id, id) do update
    set name = excluded.name, capacity_units = coalesce(p_capacity, agents.capacity_units),
        presence_mode = coalesce(p_presence_mode, agents.presence_mode),
        schedule_id = coalesce(p_schedule, agents.schedule_id),
        can_reply = coalesce(p_can_reply, agents.can_reply),
        presence_expires_at = case
          when coalesce(p_presence_mode, agents.presence_mode) <> 'strict'
            and agents.status <> 'offline' then 'infinity'::timestamptz
          when p_presence_mode = 'strict' and agents.presence_mode <> 'strict'
            then now() + p_presence_ttl
          else agents.presence_expires_at end,
        skills = coalesce(p_skills, agents.skills), deleted_at = null,
        version = agents.version + 1
  returning * into a;
  if a.presence_mode = 'schedule' then
    update assignment.agents set status = 'online', presence_expires_at = 'infinity'
     where tenant_id = p_tenant and id = p_id returning * into a;
  end if;
  insert into assignment.team_candidates (tenant_id, team_id, agent_id)
  values (p_tenant, p_tenant, p_id) on conflict do nothing;
  perform assignment.refresh_candidates(p_tenant, p_id);
  perform assignment.watch_presence(a, p_tenant_code);
  perform platform.note_audit(p_tenant, p_actor, 'agent.put', p_id::text,
    case when old.id is null then null else assignment.agent_json(old) end,
    assignment.agent_json(a), null, p_request);
  return jsonb_build_object('created', old.id is null, 'agent', assignment.agent_json(a));
end
$$;

-- One timer for each agent that may fall silent: it looks when the last sign of life runs out, so a
-- heartbeat costs no timer.
create function assignment.watch_presence(a assignment.agents, p_tenant_code text)
returns void language plpgsql as $$
begin
  if isfinite(a.presence_expires_at) and (a.status <> 'offline' or a.deleted_at is not null
     or exists (select 1 from assignment.sessions
                 where tenant_id = a.tenant_id and assignee_id = a.id)) then
    perform assignment.ensure_timer(a.tenant_id, p_tenant_code, 'offline_grace', a.id, 0,
      greatest(a.presence_expires_at, now()));
  end if;
end
$$;

-- Takes an agent out; its work goes back to the queue. Returns whether there was one.
create function assignment.delete_agent(
  p_tenant uuid, p_tenant_code text, p_id uuid, p_actor text, p_request text
) returns boolean language plpgsql as $$
declare
  a assignment.agents;
begin
  update assignment.agents
     set deleted_at = now(), status = 'offline', presence_expires_at = now(), version = version + 1
   where tenant_id = p_tenant and id = p_id and deleted_at is null
  returning * into a;
  if not found then return false; end if;
  perform assignment.refresh_candidates(p_tenant, p_id);
  delete from assignment.team_candidates where tenant_id = p_tenant and agent_id = p_id;
  perform assignment.set_timer(p_tenant, p_tenant_code, 'offline_grace', p_id, 0, now());
  perform platform.note_audit(p_tenant, p_actor, 'agent.delete', p_id::text,
    assignment.agent_json(a), null, null, p_request);
  return true;
end
$$;

-- Sets what an agent chose; coming online counts as a sign of life and accepts work again.
-- Returns the agent or null.
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
     set status = p_status, version = version + 1, absence_told = false,
         accepting = accepting or p_status = 'online',
         misses = case when p_status = 'online' then 0 else misses end,
         presence_expires_at = case
           when p_status = 'offline' then now()
           when presence_mode = 'strict' then now() + p_presence_ttl
           else 'infinity'::timestamptz end
   where tenant_id = p_tenant and id = p_id
  returning * into a;
  perform assignment.refresh_candidates(p_tenant, p_id);
  if p_status = 'offline' then
    perform assignment.set_timer(p_tenant, p_tenant_code, 'offline_grace', p_id, 0, now());
  else
    perform assignment.watch_presence(a, p_tenant_code);
  end if;
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

-- A sign of life. Returns {agent, returned: whether it had been gone}, or null.
create function assignment.heartbeat(
  p_tenant uuid, p_tenant_code text, p_id uuid, p_presence_ttl interval
) returns jsonb language plpgsql as $$
declare
  a assignment.agents;
  was_gone boolean;
begin
  select * into a from assignment.agents
   where tenant_id = p_tenant and id = p_id and deleted_at is null for update;
  if not found then return null; end if;
  was_gone := a.presence_expires_at <= now() and a.status <> 'offline';
  if a.presence_mode = 'strict' and a.status <> 'offline' then
    update assignment.agents set presence_expires_at = now() + p_presence_ttl, absence_told = false
     where tenant_id = p_tenant and id = p_id returning * into a;
    perform assignment.watch_presence(a, p_tenant_code);
  end if;
  if was_gone then
    perform assignment.refresh_candidates(p_tenant, p_id);
    perform platform.emit('assignment-engine', p_tenant, p_tenant_code, 'agent.present',
      p_id::text, a.version, assignment.agent_json(a));
  end if;
  return jsonb_build_object('agent', assignment.agent_json(a), 'returned', was_gone);
end
$$;

create function assignment.team_json(t assignment.teams) returns jsonb language sql stable as $$
  select assignment.policy(t.tenant_id, t.id) || jsonb_build_object('id', t.id, 'name', t.name,
    'members', coalesce((select jsonb_agg(jsonb_build_object('agent_id', c.agent_id,
      'weight', c.weight, 'auto_assign', c.auto_assign) order by c.agent_id)
      from assignment.team_candidates c
      where c.tenant_id = t.tenant_id and c.team_id = t.id), '[]'))
$$;

-- What a policy names and does not exist: schedule_id | overflow_team_id, or null.
create function assignment.missing_in_policy(p_tenant uuid, p_policy jsonb) returns text
language sql stable as $$
  select case
    when p_policy->>'schedule_id' is not null and not exists (select 1 from assignment.schedules
           where tenant_id = p_tenant and id = (p_policy->>'schedule_id')::uuid)
      then 'schedule_id'
    when p_policy->>'overflow_team_id' is not null and not exists (select 1 from assignment.teams
           where tenant_id = p_tenant and id = (p_policy->>'overflow_team_id')::uuid
             and deleted_at is null)
      then 'overflow_team_id' end
$$;

-- Makes or changes a team; what is not said stays. Returns {created, team} or {missing: field}.
create function assignment.put_team(
  p_tenant uuid, p_id uuid, p_name text, p_policy jsonb, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old assignment.teams;
  t assignment.teams;
  missing text := assignment.missing_in_policy(p_tenant, p_policy);
begin
  if missing is not null then return jsonb_build_object('missing', missing); end if;
  select * into old from assignment.teams where tenant_id = p_tenant and id = p_id for update;
  insert into assignment.teams (tenant_id, id, name, policy)
  values (p_tenant, p_id, p_name, p_policy)
  on conflict (tenant_id, id) do update
    set name = excluded.name, policy = teams.policy || p_policy, deleted_at = null,
        version = teams.version + 1
  returning * into t;
  perform assignment.unpark(p_tenant, 'off_hours');
  perform platform.note_audit(p_tenant, p_actor, 'team.put', p_id::text,
    case when old.id is null then null else assignment.team_json(old) end,
    assignment.team_json(t), null, p_request);
  return jsonb_build_object('created', old.id is null, 'team', assignment.team_json(t));
end
$$;

-- Takes a team out; who waits in it goes to its overflow team, or to the tenant's pool. Its turns and
-- its owners stay as they are. Returns whether there was one.
create function assignment.delete_team(
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
  select id into instead from assignment.teams
   where tenant_id = p_tenant and id = (t.policy->>'overflow_team_id')::uuid and deleted_at is null;
  update assignment.sessions set team_id = instead, version = version + 1
   where tenant_id = p_tenant and coalesce(team_id, tenant_id) = p_id and state = 'queued';
  delete from assignment.team_candidates where tenant_id = p_tenant and team_id = p_id;
  delete from assignment.team_clocks where tenant_id = p_tenant and team_id = p_id;
  perform platform.note_audit(p_tenant, p_actor, 'team.delete', p_id::text,
    assignment.team_json(t), null, null, p_request);
  return true;
end
$$;

-- What holds for all teams of a tenant, and what a channel's sessions weigh.
-- Returns {policy} or {missing: field}.
create function assignment.put_tenant_policy(
  p_tenant uuid, p_policy jsonb, p_channel_units jsonb, p_targets int[], p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  missing text := assignment.missing_in_policy(p_tenant, p_policy);
begin
  if missing is not null then return jsonb_build_object('missing', missing); end if;
  insert into assignment.tenant_settings as t (tenant_id, policy, channel_units)
  values (p_tenant, p_policy, coalesce(p_channel_units, '{}'))
  on conflict (tenant_id) do update
    set policy = t.policy || p_policy,
        channel_units = coalesce(p_channel_units, t.channel_units), updated_at = now();
  if p_targets is not null then
    update assignment.tenant_settings set priority_targets_s = p_targets
     where tenant_id = p_tenant;
    update assignment.sessions
       set sort_key = assignment.sort_key(tenant_id, priority, enqueued_at, sla_due_at)
     where tenant_id = p_tenant and state = 'queued';
  end if;
  perform assignment.unpark(p_tenant, 'off_hours');
  perform platform.note_audit(p_tenant, p_actor, 'assignment_policy.put', p_tenant::text, null,
    p_policy, null, p_request);
  return jsonb_build_object('policy', assignment.tenant_policy(p_tenant));
end
$$;

create function assignment.tenant_policy(p_tenant uuid) returns jsonb language sql stable as $$
  select assignment.policy(p_tenant, null) || jsonb_build_object('channel_units',
    '{"chat": 1, "email": 1, "voice": 4}'::jsonb || coalesce(
      (select channel_units from assignment.tenant_settings where tenant_id = p_tenant), '{}'),
    'priority_targets_s', coalesce((select to_jsonb(priority_targets_s)
      from assignment.tenant_settings where tenant_id = p_tenant), '[0, 120, 600, 1800, 7200]'))
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
  perform assignment.leave_turns(p_tenant, p_team, p_agent);
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
  perform 1 from assignment.agents where tenant_id = p_tenant and id = p_agent for update;
  perform assignment.leave_turns(p_tenant, p_team, p_agent);
  delete from assignment.team_candidates
   where tenant_id = p_tenant and team_id = p_team and agent_id = p_agent;
  if not found then return '{"missing": "agent"}'; end if;
  perform platform.note_audit(p_tenant, p_actor, 'team.member.delete', p_team::text,
    jsonb_build_object('agent_id', p_agent), null, null, p_request);
  return jsonb_build_object('team', assignment.team_json(t));
end
$$;

create function assignment.schedule_json(h assignment.schedules) returns jsonb
language sql stable as $$
  select jsonb_build_object('id', h.id, 'name', h.name, 'tz', h.tz, 'windows', h.windows,
    'exceptions', h.exceptions)
$$;

-- Makes or changes a schedule; what was parked for the hour is looked at again.
create function assignment.put_schedule(
  p_tenant uuid, p_id uuid, p_name text, p_tz text, p_windows jsonb, p_exceptions jsonb,
  p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  h assignment.schedules;
begin
  insert into assignment.schedules (tenant_id, id, name, tz, windows, exceptions)
  values (p_tenant, p_id, p_name, p_tz, p_windows, p_exceptions)
  on conflict (tenant_id, id) do update
    set name = excluded.name, tz = excluded.tz, windows = excluded.windows,
        exceptions = excluded.exceptions, version = schedules.version + 1
  returning * into h;
  perform assignment.unpark(p_tenant, 'off_hours');
  perform platform.note_audit(p_tenant, p_actor, 'schedule.put', p_id::text, null,
    assignment.schedule_json(h), null, p_request);
  return jsonb_build_object('created', h.version = 1, 'schedule', assignment.schedule_json(h));
end
$$;

-- Whose customer a contact is (null: nobody's), or who never gets it. What is null stays.
-- Returns {contact} or {missing: agent_id}.
create function assignment.put_contact(
  p_tenant uuid, p_contact text, p_set_owner boolean, p_owner uuid, p_blocked uuid[],
  p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  k assignment.contacts;
begin
  if p_owner is not null and not exists (select 1 from assignment.agents
      where tenant_id = p_tenant and id = p_owner and deleted_at is null) then
    return '{"missing": "agent_id"}';
  end if;
  insert into assignment.contacts as c (tenant_id, contact_id, owner_id, blocked_agent_ids)
  values (p_tenant, p_contact, p_owner, coalesce(p_blocked, '{}'))
  on conflict (tenant_id, contact_id) do update
    set owner_id = case when p_set_owner then p_owner else c.owner_id end,
        blocked_agent_ids = coalesce(p_blocked, c.blocked_agent_ids), updated_at = now()
  returning * into k;
  perform platform.note_audit(p_tenant, p_actor, 'contact.put', p_contact, null, to_jsonb(k), null,
    p_request);
  return jsonb_build_object('contact', jsonb_build_object('contact_id', k.contact_id,
    'owner_id', k.owner_id, 'blocked_agent_ids', to_jsonb(k.blocked_agent_ids)));
end
$$;

-- The draft and what is in force.
create function assignment.rules_json(p_tenant uuid) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'draft', (select rules from assignment.rule_drafts where tenant_id = p_tenant),
    'policy_version', v.policy_version, 'published', v.rules,
    'published_at', platform.rfc3339(v.published_at))
    from (select 1) one left join assignment.tenant_settings t on t.tenant_id = p_tenant
    left join assignment.policy_versions v
      on v.tenant_id = p_tenant and v.policy_version = t.policy_version
$$;

create function assignment.put_rules(
  p_tenant uuid, p_rules jsonb, p_actor text, p_request text
) returns jsonb language plpgsql as $$
begin
  insert into assignment.rule_drafts (tenant_id, rules) values (p_tenant, p_rules)
  on conflict (tenant_id) do update set rules = excluded.rules, updated_at = now();
  perform platform.note_audit(p_tenant, p_actor, 'rules.put', p_tenant::text, null, p_rules, null,
    p_request);
  return assignment.rules_json(p_tenant);
end
$$;

-- What a set of rules names and does not exist: [{index, field}].
create function assignment.missing_in_rules(p_tenant uuid, p_rules jsonb) returns jsonb
language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object('index', m.index, 'field', m.field)), '[]') from (
    select r.n - 1 as index, 'then/team_id' as field
      from jsonb_array_elements(p_rules) with ordinality r(rule, n)
     where r.rule->'then'->>'team_id' is not null and not exists (select 1 from assignment.teams
       where tenant_id = p_tenant and id = (r.rule->'then'->>'team_id')::uuid
         and deleted_at is null)
    union all
    select r.n - 1, 'then/assign/agent_ids'
      from jsonb_array_elements(p_rules) with ordinality r(rule, n)
     where exists (select 1 from jsonb_array_elements_text(r.rule->'then'->'assign'->'agent_ids') i
       where not exists (select 1 from assignment.agents
         where tenant_id = p_tenant and id = i::uuid and deleted_at is null))) m
$$;

-- Puts the draft in force as a version of its own.
-- Returns {policy_version} | {missing: draft} | {invalid: [{index, field}]}.
create function assignment.publish_rules(
  p_tenant uuid, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  draft jsonb;
  invalid jsonb;
  fresh int;
begin
  select rules into draft from assignment.rule_drafts where tenant_id = p_tenant for update;
  if not found then return '{"missing": "draft"}'; end if;
  invalid := assignment.missing_in_rules(p_tenant, draft);
  if invalid <> '[]' then return jsonb_build_object('invalid', invalid); end if;
  select coalesce(max(policy_version), 0) + 1 into fresh
    from assignment.policy_versions where tenant_id = p_tenant;
  insert into assignment.policy_versions (tenant_id, policy_version, rules, published_by)
  values (p_tenant, fresh, draft, p_actor);
  return assignment.enforce_rules(p_tenant, fresh, 'rules.publish', p_actor, p_request);
end
$$;

-- Puts an earlier version in force again. Returns {policy_version} | {missing: version}.
create function assignment.rollback_rules(
  p_tenant uuid, p_version int, p_actor text, p_request text
) returns jsonb language plpgsql as $$
begin
  if not exists (select 1 from assignment.policy_versions
                  where tenant_id = p_tenant and policy_version = p_version) then
    return '{"missing": "version"}';
  end if;
  return assignment.enforce_rules(p_tenant, p_version, 'rules.rollback', p_actor, p_request);
end
$$;

create function assignment.enforce_rules(
  p_tenant uuid, p_version int, p_action text, p_actor text, p_request text
) returns jsonb language plpgsql as $$
begin
  insert into assignment.tenant_settings (tenant_id, policy_version) values (p_tenant, p_version)
  on conflict (tenant_id) do update set policy_version = p_version, updated_at = now();
  update assignment.sessions set state = 'queued', version = version + 1
   where tenant_id = p_tenant and state = 'parked' and last_reason like 'rule:%';
  perform platform.note_audit(p_tenant, p_actor, p_action, p_tenant::text, null,
    jsonb_build_object('policy_version', p_version), null, p_request);
  return jsonb_build_object('policy_version', p_version);
end
$$;

-- The teams of a tenant in which somebody waits, by one step of the queue's index for each.
create function assignment.waiting_pools(p_tenant uuid) returns setof uuid
language sql stable as $$
  with recursive pools as (
    (select coalesce(team_id, tenant_id) as pool from assignment.sessions
      where tenant_id = p_tenant and state = 'queued'
      order by coalesce(team_id, tenant_id) limit 1)
    union all
    select (select coalesce(s.team_id, s.tenant_id) from assignment.sessions s
             where s.tenant_id = p_tenant and s.state = 'queued'
               and coalesce(s.team_id, s.tenant_id) > pools.pool
             order by coalesce(s.team_id, s.tenant_id) limit 1)
      from pools where pools.pool is not null)
  select pool from pools where pool is not null
$$;

-- Sessions whose own run was cut off, by a crash or a store that went away: nobody has said yet why
-- they wait, and in a full team no drain would look at them.
create function assignment.unseen_sessions(p_tenant uuid, p_limit int) returns setof jsonb
language sql stable as $$
  select assignment.session_json(s) from assignment.sessions s
   where s.tenant_id = p_tenant and s.state = 'queued' and s.last_reason is null
     and s.enqueued_at < now() - interval '5 s'
     and not exists (select 1 from assignment.team_candidates c
       where c.tenant_id = p_tenant and c.team_id = coalesce(s.team_id, s.tenant_id)
         and c.eligible and c.has_room and c.auto_assign)
   order by s.enqueued_at, s.id limit p_limit
$$;

-- The heads of a tenant's queues in one order across its teams: of each team that has somebody to
-- choose, the first `p_per_team`. A new one is left to the run of its own request for five seconds:
-- a second run beside it would take a turn for nothing. Teams without anybody are passed over: a run
-- would only say so, which is done once for those of whom nobody has said it.
create function assignment.queue_heads(
  p_tenant uuid, p_team uuid, p_per_team int, p_limit int
) returns setof jsonb language sql stable as $$
  with pools as (select p_team as pool where p_team is not null union all
    select w from assignment.waiting_pools(p_tenant) w where p_team is null)
  (select assignment.session_json(h) from pools cross join lateral (
    -- Those that ask for skills apart, so that a row of them nobody can serve hides no others.
    (select * from assignment.sessions s
      where s.tenant_id = p_tenant and s.state = 'queued' and s.required_skills = '[]'
        and coalesce(s.team_id, s.tenant_id) = pools.pool
        and (s.last_reason is not null or s.enqueued_at < now() - interval '5 s')
      order by s.sort_key, s.enqueued_at, s.id limit p_per_team)
    union all
    (select * from assignment.sessions s
      where s.tenant_id = p_tenant and s.state = 'queued' and s.required_skills <> '[]'
        and coalesce(s.team_id, s.tenant_id) = pools.pool
        and (s.last_reason is not null or s.enqueued_at < now() - interval '5 s')
      order by s.sort_key, s.enqueued_at, s.id limit p_per_team)) h
   where exists (select 1 from assignment.team_candidates c
     where c.tenant_id = p_tenant and c.team_id = pools.pool and c.eligible and c.has_room
       and c.auto_assign)
   order by h.sort_key, h.enqueued_at, h.id limit p_limit)
  union all
  (select u from assignment.unseen_sessions(p_tenant, p_per_team) u where p_team is null)
$$;

-- What was told of a session's place in the queue, and when.
create table assignment.told_positions (
  tenant_id uuid not null,
  session_id uuid not null,
  place int not null,
  told_at timestamptz not null default now(),
  primary key (tenant_id, session_id)
);

-- Tells who waits of a changed place: the first `p_per_team` of each team, each at most once in ten
-- seconds, by whichever instance comes first. Returns how many were told.
create function assignment.tell_positions(
  p_tenant uuid, p_tenant_code text, p_per_team int
) returns int language plpgsql as $$
declare
  s assignment.sessions;
  row record;
  told int := 0;
begin
  delete from assignment.told_positions t where t.tenant_id = p_tenant and not exists (
    select 1 from assignment.sessions w
     where w.tenant_id = p_tenant and w.id = t.session_id and w.state = 'queued');
  for row in select w.id, r.place from assignment.places(p_tenant, p_per_team) r
      join assignment.sessions w on w.tenant_id = p_tenant and w.id = r.session_id
      order by w.id loop
    insert into assignment.told_positions as t (tenant_id, session_id, place)
    values (p_tenant, row.id, row.place)
    on conflict (tenant_id, session_id) do update set place = row.place, told_at = now()
      where t.place <> row.place and t.told_at <= now() - interval '10 s';
    if not found then continue; end if;
    select * into s from assignment.sessions where tenant_id = p_tenant and id = row.id;
    told := told + 1;
    perform platform.emit('assignment-engine', p_tenant, p_tenant_code, 'session.position',
      s.id::text, s.version, jsonb_build_object('id', s.id, 'conversation_id', s.conversation_id,
        'team_id', s.team_id, 'queue_position', row.place, 'estimated_wait_s',
        round((row.place * assignment.assignment_gap_s(p_tenant, s.team_id))::numeric, 1)));
  end loop;
  return told;
end
$$;

-- The first of each of a tenant's queues, with their places.
create function assignment.places(p_tenant uuid, p_per_team int)
returns table (session_id uuid, place int) language sql stable as $$
  select h.id, h.place::int from assignment.waiting_pools(p_tenant) pool cross join lateral (
    select s.id, row_number() over (order by s.sort_key, s.enqueued_at, s.id) as place
      from assignment.sessions s
     where s.tenant_id = p_tenant and s.state = 'queued'
       and coalesce(s.team_id, s.tenant_id) = pool
     order by s.sort_key, s.enqueued_at, s.id limit p_per_team) h
$$;

-- The processes of the engine, and where each counts its turns.
create table assignment.instances (
  id uuid primary key,
  rr_provider text not null,
  seen_at timestamptz not null default now()
);

-- A sign of life of one process. Returns how many others that count in memory live, too.
create function assignment.note_instance(p_id uuid, p_provider text, p_ttl interval) returns int
language plpgsql as $$
begin
  delete from assignment.instances where seen_at < now() - p_ttl;
  insert into assignment.instances (id, rr_provider) values (p_id, p_provider)
  on conflict (id) do update set rr_provider = p_provider, seen_at = now();
  return (select count(*) from assignment.instances where id <> p_id and rr_provider = 'memory');
end
$$;

-- Agents whose load does not look like the sum of their sessions: a hint, looked at without locks.
create function assignment.suspect_loads(p_limit int) returns table (tenant_id uuid, id uuid)
language sql stable as $$
  select a.tenant_id, a.id from assignment.agents a
   where a.active_units <> coalesce((select sum(s.units) from assignment.sessions s
     where s.tenant_id = a.tenant_id and s.assignee_id = a.id
       and s.state in ('assigned', 'offered')), 0)
   limit p_limit
$$;

-- Recounts what an agent carries. The row is locked first and counted in later statements, which
-- see everything that committed before the lock was had. Returns the drift that was repaired.
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
  end if;
  update assignment.team_candidates c set team_units = n.units
    from (select k.team_id, coalesce(sum(s.units), 0) as units
            from assignment.team_candidates k left join assignment.sessions s
              on s.tenant_id = k.tenant_id and s.assignee_id = k.agent_id
             and s.state in ('assigned', 'offered')
             and coalesce(s.team_id, s.tenant_id) = k.team_id
           where k.tenant_id = p_tenant and k.agent_id = p_agent group by k.team_id) n
   where c.tenant_id = p_tenant and c.agent_id = p_agent and c.team_id = n.team_id
     and c.team_units <> n.units;
  perform assignment.refresh_candidates(p_tenant, p_agent);
  return counted - known;
end
$$;

-- What events were counted already: an entry that comes again changes nothing. Kept two days, which
-- is longer than a stream redelivers.
create table assignment.counted_events (
  tenant_id uuid not null,
  event_id uuid not null,
  day date not null,
  primary key (tenant_id, event_id, day)
) partition by range (day);
insert into platform.partitioned values ('assignment.counted_events', '3 days');
select platform.ensure_partitions();

-- How many events of each name there were, by minute and by hour.
create table assignment.event_counts (
  tenant_id uuid not null references platform.tenants,
  grain text not null check (grain in ('minute', 'hour')),
  bucket timestamptz not null,
  source text not null check (source in ('analytics', 'switchboard')),
  name text not null,
  count bigint not null,
  primary key (tenant_id, grain, source, bucket, name)
);

-- Counts a batch of [{id, tenant, source, name, at}]; those known already are passed over. Returns
-- how many were new.
create function assignment.count_events(p_events jsonb) returns int language plpgsql as $$
declare
  fresh int;
begin
  with given as (
    select distinct on (t.id, e.id) t.id as tenant_id, e.id, e.source, e.name, e.at
      from jsonb_to_recordset(p_events)
             as e(id uuid, tenant text, source text, name text, at timestamptz)
      join platform.tenants t on t.code = e.tenant
     where not exists (select 1 from assignment.counted_events k
       where k.tenant_id = t.id and k.event_id = e.id
         and k.day >= (now() at time zone 'utc')::date - 1)
     order by t.id, e.id
  ), kept as (
    insert into assignment.counted_events (tenant_id, event_id, day)
    select tenant_id, id, (now() at time zone 'utc')::date from given
    on conflict do nothing returning tenant_id, event_id
  ), counted as (
    insert into assignment.event_counts as c (tenant_id, grain, bucket, source, name, count)
    select g.tenant_id, grain, date_trunc(grain, g.at, 'UTC'), g.source, g.name, count(*)
      from given g join kept k on k.tenant_id = g.tenant_id and k.event_id = g.id
     cross join unnest(array['minute', 'hour']) grain
     group by 1, 2, 3, 4, 5 order by 1, 2, 4, 3, 5
    on conflict (tenant_id, grain, source, bucket, name)
      do update set count = c.count + excluded.count
    returning 1)
  select count(*) into fresh from kept;
  return fresh;
end
$$;
