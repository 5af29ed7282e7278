#!/usr/bin/env bats
# People and teams are taken out, heads of queues are stuck: the others go on, and nothing is lost.
# Each test has a tenant of its own, and is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153

load assignment

setup() { own_tenant; }

@test "what a team had goes to its overflow team when it is taken out, whatever becomes of it later" {
    a_team
    local overflow=$TEAM open closed held closing
    joins Olga '{"capacity_units": 9}'
    local olga=$AGENT
    a_team "{\"overflow_team_id\": \"$overflow\"}"
    joins Anna
    hands_over
    open=$SESSION
    hands_over
    closed=$SESSION
    agent POST "/v1/sessions/$closed/close"
    closing=$(new_id)
    admin PUT "/v1/schedules/$closing" '{"name": "closed", "tz": "Europe/Berlin", "windows": []}'
    admin PUT "/v1/teams/$TEAM" "{\"name\": \"Team\", \"schedule_id\": \"$closing\"}"
    hands_over
    is 201 '.session.state == "parked" and .reason == "off_hours"'
    held=$SESSION
    local gone=$TEAM
    a_team "{\"overflow_team_id\": \"$gone\"}"
    admin DELETE "/v1/teams/$gone"
    is 204
    # Whoever overflowed into it overflows there now.
    agent GET "/v1/teams/$TEAM"
    is 200 ".overflow_team_id == \"$overflow\""
    # What was held for its hours, for they are gone.
    SESSION=$held
    becomes ".team_id == \"$overflow\" and .assignee_id == \"$olga\""
    # What its owner gives back.
    agent GET "/v1/sessions/$open"
    is 200 ".assignee_id == \"$AGENT\""
    status "$AGENT" offline
    SESSION=$open
    becomes ".team_id == \"$overflow\" and .assignee_id == \"$olga\""
    agent GET "/v1/sessions/$open/decisions"
    is 200 '.items[0].outcome == "assign"'
    # What is opened again.
    agent POST "/v1/sessions/$closed/reopen"
    is 200 ".outcome == \"assign\" and .session.team_id == \"$overflow\""
    # What is handed over to it by who has not heard of it.
    TEAM=$gone
    hands_over
    is 201 ".outcome == \"assign\" and .session.team_id == \"$overflow\""
}

@test "what a team without an overflow team had goes to anybody of the tenant" {
    a_team
    joins Olga
    local olga=$AGENT
    a_team
    joins Anna
    hands_over
    admin DELETE "/v1/teams/$TEAM"
    is 204
    status "$AGENT" offline
    becomes ".team_id == null and .assignee_id == \"$olga\""
    # A rule that still names it means the same.
    local gone=$TEAM
    a_team
    admin PUT /v1/rules "{\"rules\": [{\"position\": 1, \"when\": {\"context.vip\": true},
        \"then\": {\"team_id\": \"$TEAM\"}}]}"
    admin POST /v1/rules/publish
    is 200
    admin DELETE "/v1/teams/$TEAM"
    is 204
    TEAM=$gone
    hands_over '{"context": {"vip": true}}'
    is 201 ".outcome == \"assign\" and .session.team_id == null"
    # A team that there never was is a mistake, which is told.
    TEAM=$(new_id)
    hands_over
    is 201 '.outcome == "skip" and .reason == "no_team"'
}

@test "an agent that is taken out leaves the turns of its team where they are" {
    turns() { redis-cli -u "$REDIS_URL" --no-auth-warning GET "assignment:rr:$TEAM"; }
    a_team
    joins Anna
    local anna=$AGENT
    joins Ben
    for _ in 1 2; do hands_over && agent POST "/v1/sessions/$SESSION/close"; done
    [[ $(turns) == 2 ]]
    admin DELETE "/v1/agents/$anna"
    is 204
    [[ $(turns) == 2 ]]
    hands_over
    is 201 ".agent_id == \"$AGENT\""
    [[ $(turns) == 3 ]]
}

@test "a session that nobody may have holds up no other, of its team or of another one" {
    a_team
    hands_over
    local nobodys=$SESSION
    a_team
    admin PUT /v1/rules '{"rules": [{"position": 1, "when": {"context.topic": "tax"},
        "then": {"skills": [{"name": "tax", "min": 3}]}}]}'
    admin POST /v1/rules/publish
    is 200
    hands_over '{"context": {"topic": "tax"}, "priority": 0}'
    local head=$SESSION
    hands_over '{"priority": 4}'
    joins Anna
    becomes '.state == "assigned"'
    agent GET "/v1/sessions/$head"
    is 200 '.state == "queued" and .reason == "missing_skill"'
    agent GET "/v1/sessions/$nobodys"
    is 200 '.state == "queued" and .reason == "no_members"'
}

# comes_unseen: AGENT is there, and nobody was told.
comes_unseen() {
    psql "$DATABASE_URL" -qAtX -v ON_ERROR_STOP=1 >/dev/null <<<"begin;
        update assignment.agents set status = 'online', presence_expires_at = 'infinity'
         where id = '$AGENT';
        select assignment.refresh_candidates(tenant_id, id) from assignment.agents
         where id = '$AGENT'; commit"
}

@test "an operator's drain gives what waits to who is there, the oldest first, of one team or of all" {
    a_team
    joins Anna '{"capacity_units": 1}'
    local anna=$AGENT one=$TEAM first
    status "$anna" offline
    hands_over
    first=$SESSION
    hands_over
    a_team
    joins Ben '{"capacity_units": 9}'
    status "$AGENT" offline
    hands_over
    hands_over
    comes_unseen
    AGENT=$anna comes_unseen
    admin POST /v1/queue/drain "{\"team_id\": \"$one\"}"
    is 200 '.assigned == 1'
    agent GET "/v1/sessions/$first"
    is 200 ".assignee_id == \"$anna\""
    admin POST /v1/queue/drain '{}'
    is 200 '.assigned == 2'
    agent GET "/v1/queue"
    is 200 '.items | length == 1'
}
