#!/usr/bin/env bats
# Hours, contacts, skills, rules, and why: what a tenant says, and what the engine makes of it.
# Rules and the tenant's policy hold for a whole tenant, so those tests have tenants of their own.

# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153

load assignment

# Waits until a timer had the engine look at SESSION.
looked_again() {
    local tenths=60
    while ((tenths-- > 0)); do
        agent GET "/v1/sessions/$SESSION/decisions"
        [[ $(field '.items[0].source') != timer ]] || return 0
        sleep 0.1
    done
    return 1
}

# hours JSON: sets SCHEDULE.
hours() {
    SCHEDULE=$(new_id)
    admin PUT "/v1/schedules/$SCHEDULE" "$1"
    is 201
}
readonly NEVER='{"name": "closed", "tz": "Europe/Berlin", "windows": []}'
readonly ALWAYS='{"name": "open", "tz": "Europe/Berlin", "windows": [
    {"day": "mon", "from": "00:00", "to": "24:00"}, {"day": "tue", "from": "00:00", "to": "24:00"},
    {"day": "wed", "from": "00:00", "to": "24:00"}, {"day": "thu", "from": "00:00", "to": "24:00"},
    {"day": "fri", "from": "00:00", "to": "24:00"}, {"day": "sat", "from": "00:00", "to": "24:00"},
    {"day": "sun", "from": "00:00", "to": "24:00"}]}'

@test "a schedule is checked: zone, days, times, dates" {
    admin PUT "/v1/schedules/$(new_id)" '{"name": "x", "tz": "Mars/Base", "windows": [
        {"day": "moonday", "from": "9:00", "to": "25:00"}],
        "exceptions": [{"date": "2026-13-01", "closed": true}, {"date": "2026-12-24"}]}'
    is 422 '[.errors[].pointer] | sort == ["/exceptions/0/date", "/exceptions/1/closed", "/tz",
        "/windows/0/day", "/windows/0/from", "/windows/0/to"]'
    hours "$ALWAYS"
    agent GET "/v1/schedules/$SCHEDULE"
    is 200 '.tz == "Europe/Berlin" and (.windows | length) == 7'
    admin PUT "/v1/teams/$(new_id)" "{\"name\": \"x\", \"schedule_id\": \"$(new_id)\"}"
    is 422 '.errors[0].pointer == "/schedule_id"'
}

@test "outside its hours a team holds sessions, and serves them when it opens" {
    hours "$NEVER"
    a_team "{\"schedule_id\": \"$SCHEDULE\"}"
    joins Anna
    hands_over
    is 201 '.outcome == "stop" and .reason == "off_hours" and .session.state == "parked"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].explanation | startswith("It is left out of automatic assignment: the team is outside its hours")'
    admin PUT "/v1/schedules/$SCHEDULE" "$ALWAYS"
    is 200
    becomes '.state == "assigned"'
}

@test "a timer is set for the opening, and looks again then" {
    local opening
    opening=$(TZ=Europe/Berlin date -d '+90 seconds' '+%a %H:%M')
    local day=${opening% *} time=${opening#* }
    hours "{\"name\": \"soon\", \"tz\": \"Europe/Berlin\", \"windows\": [
        {\"day\": \"${day,,}\", \"from\": \"$time\", \"to\": \"$time\"}]}"
    a_team "{\"schedule_id\": \"$SCHEDULE\"}"
    joins Anna
    hands_over
    is 201 '.outcome == "stop"'
    local timer="from platform.timers where ref_id = '$SESSION' and kind = 'schedule_open'" due
    due=$(psql "$DATABASE_URL" -qAtc "select round(extract(epoch from due_at - now())) $timer")
    ((due > 0 && due <= 90))
    psql "$DATABASE_URL" -qc "update platform.timers set due_at = now()
        where id = (select id $timer)"
    looked_again
}

@test "message_only stops, overflow_team goes on elsewhere" {
    hours "$NEVER"
    a_team "{\"schedule_id\": \"$SCHEDULE\", \"off_hours_action\": \"message_only\"}"
    joins Anna
    hands_over
    is 201 '.outcome == "stop" and .reason == "off_hours_message_only"'
    a_team
    joins Olga
    local overflow=$TEAM
    a_team "{\"schedule_id\": \"$SCHEDULE\", \"off_hours_action\": \"overflow_team\", \"overflow_team_id\": \"$overflow\"}"
    joins Anna
    hands_over
    is 201 '.outcome == "assign"'
    [[ $(field .session.team_id) == "$overflow" ]]
}

@test "the explanation says when the hours begin, on the clock of the place" {
    hours '{"name": "office", "tz": "Europe/Berlin", "windows": [{"day": "mon", "from": "09:00", "to": "17:00"}]}'
    a_team "{\"schedule_id\": \"$SCHEDULE\"}"
    joins Anna
    admin POST /v1/engine/simulate "{\"session\": {\"team_id\": \"$TEAM\"}, \"at\": \"2026-07-05T12:00:00Z\"}"
    is 200 '.explanation | contains("They begin Mon 09:00, Europe/Berlin.")'
}

@test "an agent's own hours go before the team's" {
    hours "$NEVER"
    local closed=$SCHEDULE
    hours "$ALWAYS"
    a_team "{\"schedule_id\": \"$closed\"}"
    joins Anna
    joins Ben "{\"presence_mode\": \"schedule\", \"schedule_id\": \"$SCHEDULE\"}"
    hands_over
    is 201 '.outcome == "assign"'
    [[ $(field .agent_id) == "$AGENT" ]]
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].counts.off_schedule == 1'
}

@test "a tenant's hours hold for teams without their own" {
    own_tenant
    hours "$NEVER"
    admin PUT /v1/tenant/assignment-policy "{\"schedule_id\": \"$SCHEDULE\"}"
    is 200
    a_team
    joins Anna
    hands_over
    is 201 '.outcome == "stop" and .reason == "off_hours"'
    hours "$ALWAYS"
    a_team "{\"schedule_id\": \"$SCHEDULE\"}"
    joins Ben
    hands_over
    is 201 '.outcome == "assign"'
}

@test "a contact goes to its own agent, waits for it as long as said, and never to a blocked one" {
    a_team '{"sticky_wait_s": 1}'
    joins Anna '{"capacity_units": 1}'
    local anna=$AGENT contact="k-$RANDOM$RANDOM"
    joins Ben '{"capacity_units": 10}'
    local ben=$AGENT
    admin PUT "/v1/contacts/$contact/owner" "{\"agent_id\": \"$(new_id)\"}"
    is 422 '.errors[0].pointer == "/agent_id"'
    admin PUT "/v1/contacts/$contact/owner" "{\"agent_id\": \"$anna\"}"
    is 200 '.owner_id != null'
    hands_over "{\"contact_id\": \"$contact\"}"
    is 201 '.reason == "contact_assigned"'
    [[ $(field .agent_id) == "$anna" ]]
    hands_over "{\"contact_id\": \"$contact\"}"
    is 201 '.outcome == "skip" and .reason == "sticky_hold"'
    becomes ".assignee_id == \"$ben\""
    admin PUT "/v1/contacts/$contact/owner" '{"agent_id": null}'
    is 200 '.owner_id == null'
    admin PUT "/v1/contacts/$contact/blocked-agents" "{\"agent_ids\": [\"$ben\"]}"
    is 200
    hands_over "{\"contact_id\": \"$contact\"}"
    is 201 '.outcome == "skip"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[-1].counts == {"blocked_for_contact": 1, "at_capacity": 1}'
}

@test "sticky to the last agent of the contact" {
    a_team '{"sticky_mode": "last_agent"}'
    local contact="k-$RANDOM$RANDOM" i
    for i in 1 2 3; do joins "agent $i" '{"capacity_units": 20}'; done
    hands_over "{\"contact_id\": \"$contact\"}"
    local first
    first=$(field .agent_id)
    for i in 1 2; do
        hands_over "{\"contact_id\": \"$contact\"}"
        is 201 '.reason == "contact_assigned"'
        [[ $(field .agent_id) == "$first" ]]
    done
    # For thirty days, and only where the team wants it.
    local assigned="update assignment.sessions set assigned_at = assigned_at - interval '29 days'
        where contact_id = '$contact'"
    psql "$DATABASE_URL" -qc "$assigned"
    hands_over "{\"contact_id\": \"$contact\"}"
    is 201 '.reason == "contact_assigned"'
    for i in 1 2; do psql "$DATABASE_URL" -qc "$assigned"; done
    hands_over "{\"contact_id\": \"$contact\"}"
    is 201 '.reason == "assigned"'
    admin PUT "/v1/teams/$TEAM" '{"name": "Team", "sticky_mode": "off"}'
    hands_over "{\"contact_id\": \"$contact\"}"
    is 201 '.reason == "assigned"'
}

@test "a draft changes nothing; published it holds; rolled back the one before holds" {
    own_tenant
    a_team
    joins Anna
    admin POST /v1/rules/publish
    is 409 '.code == "no_draft"'
    admin PUT /v1/rules '{"rules": [{"position": 1, "when": {"context.vip": true}, "then": {"stop": "vip_desk"}}]}'
    is 200 '.draft | length == 1'
    hands_over '{"context": {"vip": true}}'
    is 201 '.outcome == "assign"'
    admin POST /v1/rules/publish
    is 200 '.policy_version == 1'
    hands_over '{"context": {"vip": true}}'
    is 201 '.outcome == "stop" and .reason == "rule:vip_desk" and .session.state == "parked"'
    local stopped=$SESSION
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].rule_id == 1 and .items[0].policy_version == 1' \
        '.items[0].explanation == "It is left out of automatic assignment: a rule stopped it, vip_desk. Rule 1 of version 1 applied."'
    hands_over '{"context": {"vip": false}}'
    is 201 '.outcome == "assign"'
    admin PUT /v1/rules '{"rules": []}'
    admin POST /v1/rules/publish
    is 200 '.policy_version == 2'
    SESSION=$stopped
    becomes '.state == "assigned"'
    admin POST /v1/rules/rollback '{"policy_version": 1}'
    is 200 '.policy_version == 1'
    hands_over '{"context": {"vip": true}}'
    is 201 '.outcome == "stop"'
    admin POST /v1/rules/rollback '{"policy_version": 9}'
    is 422 '.errors[0].pointer == "/policy_version"'
    agent GET /v1/rules
    is 200 '.policy_version == 1 and .draft == []'
}

@test "a rule routes, sets priority and skills, and names agents" {
    own_tenant
    a_team
    joins Anna '{"skills": [{"name": "tax", "level": 2}]}'
    local anna=$AGENT team=$TEAM
    joins Ben '{"skills": [{"name": "tax", "level": 5}]}'
    local ben=$AGENT
    admin PUT /v1/rules "$(jq -nc --arg team "$team" --arg ben "$ben" '{rules: [
        {position: 1, when: {"context.topic": "tax"}, then: {team_id: $team, priority: 0,
            skills: [{name: "tax", min: 5, relax_after_s: 1}]}},
        {position: 2, when: {"context.boss": true}, then: {assign: {agent_ids: [$ben]}}}]}')"
    is 200
    admin POST /v1/rules/publish
    is 200
    TEAM=$(new_id)
    a_team
    hands_over '{"context": {"topic": "tax"}}'
    is 201 '.outcome == "assign" and .session.priority == 0'
    [[ $(field .session.team_id) == "$team" && $(field .agent_id) == "$ben" ]]
    TEAM=$team
    hands_over '{"context": {"boss": true}}'
    is 201 '.reason == "rule_assigned"'
    [[ $(field .agent_id) == "$ben" ]]
    status "$ben" away
    hands_over '{"context": {"topic": "tax"}}'
    is 201 '.outcome == "skip"'
    # The level is not insisted on after a second.
    becomes ".assignee_id == \"$anna\""
}

@test "a rule that names nothing, or nobody, is refused" {
    own_tenant
    admin PUT /v1/rules '{"rules": [{"position": 1, "when": {"vip": true}, "then": {}},
        {"position": 2, "then": {"stop": "x", "assign": {"agent_ids": []}}}]}'
    is 422 '[.errors[].pointer] | map(select(startswith("/rules/0/when"))) | length == 1' \
        '[.errors[].pointer] | map(select(startswith("/rules/1/then"))) | length >= 1'
    admin PUT /v1/rules "{\"rules\": [{\"position\": 1, \"then\": {\"team_id\": \"$(new_id)\"}}]}"
    is 200
    admin POST /v1/rules/publish
    is 422 '.errors[0].pointer == "/rules/0/then/team_id"'
}

@test "what a tenant says holds for teams that say nothing else" {
    own_tenant
    admin PUT /v1/tenant/assignment-policy '{"strategy": "least_active", "max_wait_s": 30, "channel_units": {"chat": 2}}'
    is 200 '.strategy == "least_active" and .channel_units == {"chat": 2, "email": 1, "voice": 4}'
    a_team
    is 201 '.strategy == "least_active" and .max_wait_s == 30'
    a_team '{"strategy": "most_available"}'
    is 201 '.strategy == "most_available"'
    joins Anna
    hands_over '{"context": {"channel": "chat"}}'
    is 201 '.session.units == 2 and .strategy == "most_available"'
    admin PUT /v1/tenant/assignment-policy '{"strategy": "lottery", "sticky_wait_s": 601}'
    is 422 '[.errors[].pointer] | sort == ["/sticky_wait_s", "/strategy"]'
}

@test "a simulation says what a run would, writes nothing and counts no turn" {
    own_tenant
    a_team
    joins Anna '{"capacity_units": 9}'
    joins Ben '{"capacity_units": 9}'
    local before first
    before=$(decisions)
    agent POST /v1/engine/simulate "{\"session\": {\"team_id\": \"$TEAM\"}}"
    is 403
    admin POST /v1/engine/simulate "{\"session\": {\"team_id\": \"$TEAM\"}}"
    is 200 '.outcome == "assign" and .rr_index == 0 and (.candidates | length) == 2'
    first=$(field .agent_id)
    admin POST /v1/engine/simulate "{\"session\": {\"team_id\": \"$TEAM\"}}"
    [[ $(field .agent_id) == "$first" ]]
    [[ $(decisions) == "$before" ]]
    hands_over
    [[ $(field .agent_id) == "$first" ]]
    admin POST /v1/engine/simulate "{\"session_id\": \"$SESSION\"}"
    is 200 '.rr_index == 1'
    hours '{"name": "office", "tz": "Europe/Berlin", "windows": [{"day": "mon", "from": "09:00", "to": "17:00"}]}'
    admin PUT "/v1/teams/$TEAM" "{\"name\": \"Team\", \"schedule_id\": \"$SCHEDULE\"}"
    admin POST /v1/engine/simulate "{\"session\": {\"team_id\": \"$TEAM\"}, \"at\": \"2026-07-06T06:59:59Z\"}"
    is 200 '.outcome == "stop" and .reason == "off_hours"'
    admin POST /v1/engine/simulate "{\"session\": {\"team_id\": \"$TEAM\"}, \"at\": \"2026-07-06T07:00:00Z\"}"
    is 200 '.outcome == "assign"'
    admin POST /v1/engine/simulate '{}'
    is 422
    admin POST /v1/engine/simulate "{\"session_id\": \"$(new_id)\"}"
    is 404
}

@test "the queue is served by priority, and what is old overtakes" {
    a_team
    hands_over '{"priority": 3}'
    local slow=$SESSION
    hands_over '{"priority": 1}'
    local fast=$SESSION
    hands_over '{"priority": 0}'
    local urgent=$SESSION
    agent GET "/v1/queue?team_id=$TEAM"
    [[ $(field '[.items[].id] | join(" ")') == "$urgent $fast $slow" ]]
    psql "$DATABASE_URL" -qc "update assignment.sessions set enqueued_at = enqueued_at - interval '29 min',
        sort_key = sort_key - interval '29 min' where id = '$slow'"
    agent GET "/v1/queue?team_id=$TEAM"
    [[ $(field '[.items[].id] | join(" ")') == "$urgent $slow $fast" ]]
    agent GET "/v1/sessions/$fast"
    is 200 '.queue_position == 3 and .estimated_wait_s == null'
}

@test "the wait is estimated from the last assignments" {
    a_team
    joins Anna '{"capacity_units": 6}'
    for _ in 1 2 3 4 5 6 7; do hands_over; done
    is 201 '.outcome == "skip" and .session.queue_position == 1 and .session.estimated_wait_s != null'
}

@test "one agent in two teams serves the older session first" {
    a_team
    local one=$TEAM
    hands_over
    local older=$SESSION
    a_team
    hands_over
    local newer=$SESSION
    AGENT=$(new_id)
    admin PUT "/v1/agents/$AGENT" '{"name": "Anna", "capacity_units": 1}'
    admin PUT "/v1/teams/$TEAM/members/$AGENT" '{}'
    admin PUT "/v1/teams/$one/members/$AGENT" '{}'
    status "$AGENT" online
    SESSION=$older
    becomes '.state == "assigned"'
    agent GET "/v1/sessions/$newer"
    is 200 '.state == "queued"'
}
