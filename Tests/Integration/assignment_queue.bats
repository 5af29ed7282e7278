#!/usr/bin/env bats
# Who waits for how long, and what is told meanwhile; who may answer; other rules over past sessions.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153,SC2317

load assignment

# The ids of the queue of TEAM in the order of service.
waiting() { agent GET "/v1/queue?team_id=$TEAM" && field '.items[].id'; }

@test "a session that is due at a time of its own overtakes what its priority would let wait" {
    a_team
    hands_over
    local usual=$SESSION
    hands_over '{"priority": 4, "sla_due_at": "2020-01-01T00:00:00Z"}'
    is 201 '.session.sla_due_at == "2020-01-01T00:00:00.000Z"'
    local due=$SESSION
    [[ $(waiting) == "$due"$'\n'"$usual" ]]
    # Asked again with an earlier time, the first one is before it.
    agent POST "/v1/sessions/$usual/handover" '{"sla_due_at": "2019-01-01T00:00:00Z"}'
    is 200
    [[ $(waiting) == "$usual"$'\n'"$due" ]]
    agent POST "/v1/sessions/$usual/handover" '{"sla_due_at": "tomorrow"}'
    is 422
}

@test "a tenant says how long each priority may wait, and its queue follows" {
    own_tenant
    a_team
    hands_over '{"priority": 3}'
    local third=$SESSION
    hands_over '{"priority": 2}'
    local second=$SESSION
    [[ $(waiting) == "$second"$'\n'"$third" ]]
    admin PUT /v1/tenant/assignment-policy '{"priority_targets_s": [0, 0, 0, 0, 0]}'
    is 200 '.priority_targets_s == [0, 0, 0, 0, 0]'
    [[ $(waiting) == "$third"$'\n'"$second" ]]
    hands_over '{"priority": 0}'
    [[ $(waiting | tail -n 1) == "$SESSION" ]]
    local bad
    for bad in '[0, 1]' '[5, 4, 3, 2, 1]' '[0, 0, 0, 0, -1]' '"none"'; do
        admin PUT /v1/tenant/assignment-policy "{\"priority_targets_s\": $bad}"
        is 422
    done
}

@test "a changed place in the queue is told, once for each change" {
    own_tenant
    a_team
    hands_over
    local first=$SESSION tenths=200
    hands_over
    local second=$SESSION
    until [[ -n $(events session.position "$second") ]]; do
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
    [[ $(events session.position "$first" | jq -c .queue_position) == 1 ]]
    [[ $(events session.position "$second" | jq -c .queue_position) == 2 ]]
    agent POST "/v1/sessions/$first/close"
    is 200
    tenths=250
    until [[ $(events session.position "$second" | jq -c .queue_position) == $'2\n1' ]]; do
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
}

@test "who may not reply is given nothing, and by hand only with force" {
    a_team
    joins Anna '{"can_reply": false}'
    hands_over
    is 201 '.outcome == "skip"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].rejected[0].reason == "no_reply_permission"' \
        '.items[0].explanation | contains("1 without the permission to reply")'
    agent POST "/v1/sessions/$SESSION/take" "{\"agent_id\": \"$AGENT\"}"
    is 422
    [[ $BODY == *no_reply_permission* ]]
    admin PUT "/v1/agents/$AGENT" '{"name": "Anna", "can_reply": true}'
    is 200 .can_reply
    becomes '.state == "assigned"'
}

@test "a replay tells which past sessions other rules would have treated otherwise" {
    own_tenant
    a_team
    joins Anna '{"capacity_units": 9}'
    admin PUT /v1/rules '{"rules": []}'
    admin POST /v1/rules/publish
    is 200 '.policy_version == 1'
    local from to
    from=$(date -u -d '-1 minute' +%FT%TZ)
    hands_over
    hands_over '{"context": {"vip": true}}'
    local vip=$SESSION
    to=$(date -u -d '+1 minute' +%FT%TZ)
    admin PUT /v1/rules '{"rules": [{"position": 1, "enabled": true,
        "when": {"context.vip": true}, "then": {"stop": "vip_desk"}}]}'
    admin POST /v1/rules/publish
    is 200 '.policy_version == 2'
    local before
    before=$(decisions)
    replay() {
        admin POST /v1/engine/replay "{\"from\": \"$from\", \"to\": \"$to\", \"policy_version\": $1,
            \"against\": $2}"
    }
    replay 2 1
    is 200 '.looked_at == 2 and .changed == 1 and .people == "as_now"' \
        '.items[0].before.outcome == "assign"' \
        '.items[0].after.outcome == "stop" and .items[0].after.reason == "rule:vip_desk"'
    [[ $(field '.items[0].session_id') == "$vip" ]]
    replay 2 null
    is 200 '.looked_at == 2 and .changed == 0'
    replay 9 null
    is 422
    agent POST /v1/engine/replay "{\"from\": \"$from\", \"to\": \"$to\", \"policy_version\": 1}"
    is 403
    [[ $(decisions) == "$before" ]]
}

# paged PATH: every item's id, by pages of two, one a line.
paged() {
    local cursor="" join=\?
    [[ $1 != *\?* ]] || join=\&
    while true; do
        agent GET "$1${join}limit=2${cursor:+&cursor=$cursor}"
        is 200 '.items | length <= 2' || return
        field '.items[].id'
        cursor=$(field '.next_cursor // empty')
        [[ -n $cursor ]] || return 0
    done
}

@test "agents and teams are listed page by page, and narrowed by status, team and agent" {
    own_tenant
    a_team
    local first=$TEAM ids=() i away
    for i in 1 2 3 4 5; do joins "Agent $i" && ids+=("$AGENT"); done
    away=$AGENT
    status "$away" away
    a_team '{"strategy": "fair"}'
    joins Else
    [[ $(paged /v1/agents) == "$(printf '%s\n' "${ids[@]}" "$AGENT" | sort)" ]]
    [[ $(paged "/v1/agents?team_id=$first") == "$(printf '%s\n' "${ids[@]}" | sort)" ]]
    [[ $(paged "/v1/agents?team_id=$first&status=away") == "$away" ]]
    [[ $(paged /v1/teams) == "$(printf '%s\n' "$first" "$TEAM" | sort)" ]]
    agent GET "/v1/teams?agent_id=$AGENT"
    is 200 ".items == [.items[0]] and .items[0].id == \"$TEAM\"" \
        '.items[0].strategy == "fair" and .items[0].member_count == 1'
    # Whoever was taken out is in no list.
    admin DELETE "/v1/agents/$away"
    is 204
    [[ $(paged "/v1/agents?status=away") == "" ]]
    agent GET "/v1/agents?status=asleep"
    is 422 '.errors[0].pointer == "/query/status"'
    agent GET "/v1/agents?team_id=x"
    is 422 '.errors[0].pointer == "/query/team_id"'
    agent GET "/v1/sessions?state=lost"
    is 422 '.errors[0].pointer == "/query/state"'
    own_tenant
    [[ $(paged /v1/agents)$(paged /v1/teams) == "" ]]
}

@test "the queue is read to its end, in the order of service" {
    own_tenant
    a_team
    local priority wanted=()
    for priority in 4 2 0 3 1; do
        hands_over "{\"priority\": $priority}"
        wanted[priority]=$SESSION
    done
    [[ $(paged "/v1/queue?team_id=$TEAM") == "$(printf '%s\n' "${wanted[@]}")" ]]
}

@test "the why of a large team says that a part of it was looked at" {
    own_tenant
    a_team '{"strategy": "least_active"}'
    local i
    for i in {1..20}; do joins "Agent $i"; done
    hands_over
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].explanation | contains("had the least open work")' \
        '.items[0].explanation | contains("The team is large, so only 8 of its members were looked at")'
}
