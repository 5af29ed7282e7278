-- Runs of the engine that claim at the same moment share one commit, and `fair` knows what is owed to
-- those who are away. The turns of a large team are counted by a question of their own, which runs at
-- the same moment share.

-- A team's virtual time as it is now; the same as `read_clock`, and locks nothing. Null as long as
-- nobody has come to the team. It reads every member's row: for small teams.
create function assignment.clock(p_tenant uuid, p_team uuid) returns double precision
language plpgsql stable as $$
begin
  return (select k.vt + case when k.weight = 0 then 0 else ((
      select coalesce(sum(c.weight * c.vt), 0) from assignment.team_candidates c
       where c.tenant_id = p_tenant and c.team_id = p_team and c.eligible and c.auto_assign)
      - k.weighted) / k.weight end
    from assignment.team_clocks k where k.tenant_id = p_tenant and k.team_id = p_team);
end
$$;

-- How many share the turns of a team.
create function assignment.ring(p_tenant uuid, p_team uuid) returns int language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return (select count(*) from assignment.team_candidates
    where tenant_id = p_tenant and team_id = p_team and eligible and has_room and auto_assign);
end
$$;

-- Everything that a run of the engine needs to know, in one look: the clock, what holds for the team
-- (null when there is no such team), the rules in force, hours, the contact, and the roster.
--
-- A team of at most `p_whole` members is there `whole`, so that every agent's reason can be told, and
-- under `fair` with its virtual time. Of a larger one there are `p_limit` members from `p_from` on in
-- its strategy's order (or in that of `p_way`), and some of those who are not to be had; for
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
    'last_agent_id', last_agent, 'whole', is_whole, 'page', coalesce(cardinality(known), 0),
    'clock', case when is_whole and held->>'strategy' = 'fair'
                  then assignment.clock(p_tenant, pool) end,
    'roster', coalesce(array_to_json(agents), '[]'));
end
$$;

drop function assignment.first_free(assignment.sessions, uuid[], text);

-- Who of `p_agents` comes first by the strategy as things are now, and is in nobody else's hands.
-- Runs at the same time see the same first candidate; each gets another one by this, instead of all
-- waiting for the first and then giving it everything. Locks the agent. Null: all are taken or full.
--
-- `fair` chooses as the engine does (`Strategy.byShare`); `p_whole`: they are a team that can be
-- looked at whole.
create function assignment.first_free(
  s assignment.sessions, p_agents uuid[], p_rank text, p_whole boolean
) returns uuid language plpgsql as $$
declare
  pool uuid := coalesce(s.team_id, s.tenant_id);
  reached double precision;
  heavy double precision;
  people int;
  clock double precision;
begin
  if p_rank = 'fair' then
    select sum(weight * vt) / sum(weight) + 1e-9, sum(weight), count(*) into reached, heavy, people
      from assignment.team_candidates
     where tenant_id = s.tenant_id and team_id = pool and agent_id = any (p_agents);
    if p_whole then clock := assignment.clock(s.tenant_id, pool); end if;
    -- Nothing is owed outside: deadlines keep everybody within one session.
    if people > 3 and abs(reached - clock) * heavy < 1e-4 then clock := null; end if;
  end if;
  return (select a.id from assignment.agents a join assignment.team_candidates c
      on c.tenant_id = a.tenant_id and c.agent_id = a.id and c.team_id = pool
   where a.tenant_id = s.tenant_id and a.id = any (p_agents) and a.deleted_at is null
     and a.active_units + s.units <= a.capacity_units
   order by c.weight * (c.vt - clock - 100 / heavy), c.vt > reached,
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
-- p_terms: {mode: free|offline, rank: the strategy, where the agents' order may change,
--           whole: they are a whole team, among: `claim_sessions` alone says it,
--           patient: waits for the session, and is never `busy`,
--           offer_s, first_reply_s, team_cap, max_new: {n, window_s},
--           set: {team_id?, priority?, skills?}}.
-- Returns {result, agent_id?, session?, refused: [agent ids without room]}; result is
--   assigned | taken (somebody else's, or closed) | busy (another run holds it) | no_capacity
--   | alone (nothing was done: among others only the first choice is tried).
create or replace function assignment.claim_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_agents uuid[], p_decision jsonb,
  p_terms jsonb default '{}'
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  candidate uuid;
  chosen uuid;
  refused uuid[] := '{}';
  ranked boolean := p_terms ? 'rank';
  among boolean := p_terms ? 'among';
begin
  if p_terms ? 'patient' then
    select * into s from assignment.sessions
     where tenant_id = p_tenant and id = p_session and state = 'queued' and assignee_id is null
       for update;
  else
    select * into s from assignment.sessions
     where tenant_id = p_tenant and id = p_session and state = 'queued' and assignee_id is null
       for update skip locked;
  end if;
  if not found then
    select * into s from assignment.sessions where tenant_id = p_tenant and id = p_session;
    return jsonb_build_object(
      'result', case when s.state = 'queued' then 'busy' else 'taken' end,
      'agent_id', s.assignee_id, 'session', assignment.session_json(s));
  end if;
  s := assignment.apply_wishes(s, p_terms->'set');
  for n in case when ranked then 0 else 1 end
        .. case when among then (not ranked)::int else cardinality(p_agents) end loop
    begin
      candidate := case n when 0 then assignment.first_free(s, p_agents, p_terms->>'rank',
                                                               p_terms ? 'whole')
                          else p_agents[n] end;
      continue when candidate is null or candidate = any (refused);
      perform assignment.take_room(s, candidate, coalesce(p_terms->>'mode', 'free'), p_terms);
      chosen := candidate;
      exit;
    exception when sqlstate 'SB002' then
      refused := refused || candidate;
    end;
  end loop;
  if chosen is null and among then return '{"result": "alone"}'; end if;
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

-- Claims of several runs in one commit: [{tenant, tenant_code, session, agents, decision, terms}],
-- each as `claim_session` takes it. Returns its answer for each, `n` from 0 on.
--
-- None of them may wait for what another commit holds while it keeps what that one waits for. A run
-- whose agents have an order of their own locks only what is free. Those that want one certain agent,
-- and wait for it, come before them, by that agent's id; whatever is more than the first choice is
-- left to a claim of its own (`alone`).
create function assignment.claim_sessions(p_claims jsonb) returns table (n int, answer jsonb)
language plpgsql as $$
declare
  item record;
begin
  for item in
    select c.place::int - 1 as place, (c.claim->>'tenant')::uuid as tenant,
           c.claim->>'tenant_code' as code, (c.claim->>'session')::uuid as session,
           array(select a::uuid from jsonb_array_elements_text(c.claim->'agents')
             with ordinality e(a, i) order by e.i) as agents,
           c.claim->'decision' as decision, c.claim->'terms' as terms
      from jsonb_array_elements(p_claims) with ordinality c(claim, place)
     order by c.claim->'terms' ? 'rank', (c.claim->'agents'->>0)::uuid, c.place
  loop
    n := item.place;
    answer := assignment.claim_session(item.tenant, item.code, item.session, item.agents,
      item.decision, item.terms || '{"among": true}');
    return next;
  end loop;
end
$$;

-- The heads of a queue are those that ask for no skill and those that do, each by an index of their
-- own: among a hundred thousand that wait nobody has to look for the few of the other kind.
create index sessions_queue_plain on assignment.sessions
  (tenant_id, coalesce(team_id, tenant_id), sort_key, enqueued_at, id)
  where state = 'queued' and required_skills = '[]';
create index sessions_queue_skilled on assignment.sessions
  (tenant_id, coalesce(team_id, tenant_id), sort_key, enqueued_at, id)
  where state = 'queued' and required_skills <> '[]';

-- Makes an agent a member of a team, or changes its membership. Who was one before may still carry
-- sessions of the team: they count for its cap. Returns the team, or {missing: team|agent}.
create or replace function assignment.put_member(
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
  insert into assignment.team_candidates
    (tenant_id, team_id, agent_id, weight, auto_assign, team_units)
  values (p_tenant, p_team, p_agent, coalesce(p_weight, 100), coalesce(p_auto_assign, true),
    (select coalesce(sum(units), 0) from assignment.sessions where tenant_id = p_tenant
        and team_id = p_team and assignee_id = p_agent and state in ('assigned', 'offered')))
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
