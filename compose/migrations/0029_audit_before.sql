-- What was there before a change is kept with the change, also for schedules, policies, rules, contacts,
-- templates, members of teams, and sessions that are opened or handed over again.

-- A new request for a person on a session that is there. Returns {result: done|closed|missing, …}.
create or replace function assignment.hand_over(
  p_tenant uuid, p_session uuid, p_team uuid, p_priority int, p_context jsonb, p_sla timestamptz,
  p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  old assignment.sessions;
begin
  select * into s from assignment.sessions
   where tenant_id = p_tenant and id = p_session for update;
  if not found then return '{"result": "missing"}'; end if;
  if s.state = 'closed' then
    return jsonb_build_object('result', 'closed', 'session', assignment.session_json(s));
  end if;
  old := s;
  s := assignment.ask_again(s, p_team, p_priority, p_context, p_sla);
  perform platform.note_audit(p_tenant, p_actor, 'session.handover', s.id::text,
    assignment.session_json(old), assignment.session_json(s), p_reason, p_request);
  return jsonb_build_object('result', 'done', 'session', assignment.session_json(s));
end
$$;

-- Opens a closed session again: a new wait, the same history.
-- Returns {result: done|bot|open|other_open|missing, session, on_reopen}.
create or replace function assignment.reopen_session(
  p_tenant uuid, p_tenant_code text, p_session uuid, p_actor text, p_reason text, p_request text
) returns jsonb language plpgsql as $$
declare
  s assignment.sessions;
  old assignment.sessions;
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
  old := s;
  update assignment.sessions
     set state = 'queued', closed_at = null, enqueued_at = now(), reassigns = 0, declined = '{}',
         team_id = assignment.heir(tenant_id, team_id), asked_contact = false, sla_due_at = null,
         sort_key = assignment.sort_key(tenant_id, priority, now(), null), last_reason = 'reopened',
         assignment_seq = assignment_seq + 1, version = version + 1
   where tenant_id = p_tenant and id = p_session
  returning * into s;
  perform platform.note_audit(p_tenant, p_actor, 'session.reopen', s.id::text,
    assignment.session_json(old), assignment.session_json(s), p_reason, p_request);
  perform assignment.announce(s, p_tenant_code, 'session.queued');
  return jsonb_build_object('result', 'done', 'on_reopen', wanted,
    'session', assignment.session_json(s));
exception when unique_violation then
  return jsonb_build_object('result', 'other_open', 'session', assignment.session_json(s));
end
$$;

-- What holds for all teams of a tenant, and what a channel's sessions weigh.
-- Returns {policy} or {missing: field}.
create or replace function assignment.put_tenant_policy(
  p_tenant uuid, p_policy jsonb, p_channel_units jsonb, p_targets int[], p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  missing text := assignment.missing_in_policy(p_tenant, p_policy);
  old jsonb := assignment.tenant_policy(p_tenant);
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
  perform platform.note_audit(p_tenant, p_actor, 'assignment_policy.put', p_tenant::text, old,
    assignment.tenant_policy(p_tenant), null, p_request);
  return jsonb_build_object('policy', assignment.tenant_policy(p_tenant));
end
$$;

-- Makes an agent a member of a team, or changes its membership. Who was one before may still carry
-- sessions of the team: they count for its cap. Returns the team, or {missing: team|agent}.
create or replace function assignment.put_member(
  p_tenant uuid, p_team uuid, p_agent uuid, p_weight int, p_auto_assign boolean, p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  t assignment.teams;
  old jsonb;
  fresh jsonb;
begin
  select * into t from assignment.teams
   where tenant_id = p_tenant and id = p_team and deleted_at is null;
  if not found then return '{"missing": "team"}'; end if;
  perform 1 from assignment.agents
   where tenant_id = p_tenant and id = p_agent and deleted_at is null for update;
  if not found then return '{"missing": "agent"}'; end if;
  select jsonb_build_object('agent_id', agent_id, 'weight', weight, 'auto_assign', auto_assign)
    into old from assignment.team_candidates
   where tenant_id = p_tenant and team_id = p_team and agent_id = p_agent;
  perform assignment.leave_turns(p_tenant, p_team, p_agent);
  insert into assignment.team_candidates
    (tenant_id, team_id, agent_id, weight, auto_assign, team_units)
  values (p_tenant, p_team, p_agent, coalesce(p_weight, 100), coalesce(p_auto_assign, true),
    (select coalesce(sum(units), 0) from assignment.sessions where tenant_id = p_tenant
        and team_id = p_team and assignee_id = p_agent and state in ('assigned', 'offered')))
  on conflict (tenant_id, team_id, agent_id) do update
    set weight = coalesce(p_weight, team_candidates.weight),
        auto_assign = coalesce(p_auto_assign, team_candidates.auto_assign)
  returning jsonb_build_object('agent_id', agent_id, 'weight', weight, 'auto_assign', auto_assign)
    into fresh;
  perform assignment.refresh_candidates(p_tenant, p_agent);
  perform platform.note_audit(p_tenant, p_actor, 'team.member.put', p_team::text, old, fresh, null,
    p_request);
  return jsonb_build_object('team', assignment.team_json(t));
end
$$;

-- Makes or changes a schedule; what was parked for the hour is looked at again.
create or replace function assignment.put_schedule(
  p_tenant uuid, p_id uuid, p_name text, p_tz text, p_windows jsonb, p_exceptions jsonb,
  p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  h assignment.schedules;
  old jsonb;
begin
  select assignment.schedule_json(x) into old from assignment.schedules x
   where tenant_id = p_tenant and id = p_id for update;
  insert into assignment.schedules (tenant_id, id, name, tz, windows, exceptions)
  values (p_tenant, p_id, p_name, p_tz, p_windows, p_exceptions)
  on conflict (tenant_id, id) do update
    set name = excluded.name, tz = excluded.tz, windows = excluded.windows,
        exceptions = excluded.exceptions, version = schedules.version + 1
  returning * into h;
  perform assignment.unpark(p_tenant, 'off_hours');
  perform platform.note_audit(p_tenant, p_actor, 'schedule.put', p_id::text, old,
    assignment.schedule_json(h), null, p_request);
  return jsonb_build_object('created', h.version = 1, 'schedule', assignment.schedule_json(h));
end
$$;

-- Whose customer a contact is (null: nobody's), or who never gets it. What is null stays.
-- Returns {contact} or {missing: agent_id}.
create or replace function assignment.put_contact(
  p_tenant uuid, p_contact text, p_set_owner boolean, p_owner uuid, p_blocked uuid[],
  p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  k assignment.contacts;
  old jsonb;
begin
  if p_owner is not null and not exists (select 1 from assignment.agents
      where tenant_id = p_tenant and id = p_owner and deleted_at is null) then
    return '{"missing": "agent_id"}';
  end if;
  select to_jsonb(x) into old from assignment.contacts x
   where tenant_id = p_tenant and contact_id = p_contact for update;
  insert into assignment.contacts as c (tenant_id, contact_id, owner_id, blocked_agent_ids)
  values (p_tenant, p_contact, p_owner, coalesce(p_blocked, '{}'))
  on conflict (tenant_id, contact_id) do update
    set owner_id = case when p_set_owner then p_owner else c.owner_id end,
        blocked_agent_ids = coalesce(p_blocked, c.blocked_agent_ids), updated_at = now()
  returning * into k;
  perform platform.note_audit(p_tenant, p_actor, 'contact.put', p_contact, old, to_jsonb(k), null,
    p_request);
  return jsonb_build_object('contact', jsonb_build_object('contact_id', k.contact_id,
    'owner_id', k.owner_id, 'blocked_agent_ids', to_jsonb(k.blocked_agent_ids)));
end
$$;

create or replace function assignment.put_rules(
  p_tenant uuid, p_rules jsonb, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old jsonb;
begin
  select rules into old from assignment.rule_drafts where tenant_id = p_tenant for update;
  insert into assignment.rule_drafts (tenant_id, rules) values (p_tenant, p_rules)
  on conflict (tenant_id) do update set rules = excluded.rules, updated_at = now();
  perform platform.note_audit(p_tenant, p_actor, 'rules.put', p_tenant::text, old, p_rules, null,
    p_request);
  return assignment.rules_json(p_tenant);
end
$$;

create or replace function assignment.enforce_rules(
  p_tenant uuid, p_version int, p_action text, p_actor text, p_request text
) returns jsonb language plpgsql as $$
declare
  old int;
begin
  select policy_version into old from assignment.tenant_settings where tenant_id = p_tenant for update;
  insert into assignment.tenant_settings (tenant_id, policy_version) values (p_tenant, p_version)
  on conflict (tenant_id) do update set policy_version = p_version, updated_at = now();
  update assignment.sessions set state = 'queued', version = version + 1
   where tenant_id = p_tenant and state = 'parked' and last_reason like 'rule:%';
  perform platform.note_audit(p_tenant, p_actor, p_action, p_tenant::text,
    case when old is not null then jsonb_build_object('policy_version', old) end,
    jsonb_build_object('policy_version', p_version), null, p_request);
  return jsonb_build_object('policy_version', p_version);
end
$$;

-- Makes the next version of a template. Returns {created, template}.
create or replace function dispatch.put_template(
  p_tenant uuid, p_code text, p_text text, p_blocks jsonb, p_variables text[], p_actor text,
  p_request text
) returns jsonb language plpgsql as $$
declare
  t dispatch.templates;
  old jsonb;
begin
  perform pg_advisory_xact_lock(hashtextextended('dispatch.templates|' || p_tenant || p_code, 7));
  select dispatch.template_json(x) into old from dispatch.templates x
   where tenant_id = p_tenant and code = p_code order by version desc limit 1;
  insert into dispatch.templates
    (tenant_id, code, version, text, blocks, variables, created_by)
  values (p_tenant, p_code, coalesce((select max(version) from dispatch.templates
      where tenant_id = p_tenant and code = p_code), 0) + 1, p_text, p_blocks, p_variables, p_actor)
  returning * into t;
  perform platform.note_audit(p_tenant, p_actor, 'template.put', p_code, old,
    dispatch.template_json(t), null, p_request);
  return jsonb_build_object('created', t.version = 1, 'template', dispatch.template_json(t));
end
$$;
