#!/usr/bin/env bats
# assignment-engine over its API: every route, what it answers and how it refuses.

# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2016,SC2030,SC2031,SC2153

load assignment

@test "operations answer" {
    ask "" GET /healthz
    is 200
    ask "" GET /readyz
    is 200 '.status == "ready"'
    agent GET /health
    is 200 '.rr_provider == "redis" or .rr_provider == "memory"'
    ask "" GET /openapi.json
    is 200 '.paths["/v1/sessions"].post.summary != null'
}

@test "every route stands in the OpenAPI document" {
    ask "" GET /openapi.json
    is 200 '.paths as $paths | [
        ["/v1/teams/{id}", "put", "get", "delete"],
        ["/v1/teams/{id}/members/{agent_id}", "put", "delete"],
        ["/v1/agents/{id}", "put", "get", "delete"],
        ["/v1/agents/{id}/status", "put"], ["/v1/agents/{id}/heartbeat", "post"],
        ["/v1/schedules/{id}", "put", "get"], ["/v1/contacts/{id}/owner", "put"],
        ["/v1/contacts/{id}/blocked-agents", "put"],
        ["/v1/tenant/assignment-policy", "put", "get"],
        ["/v1/rules", "put", "get"], ["/v1/rules/publish", "post"], ["/v1/rules/rollback", "post"],
        ["/v1/sessions", "post", "get"], ["/v1/sessions/{id}", "get"],
        ["/v1/sessions/{id}/decisions", "get"],
        ["/v1/queue", "get"], ["/v1/queue/drain", "post"], ["/v1/engine/simulate", "post"],
        ["/v1/events", "post"], ["/v1/reports/{kind}", "get"],
        (("handover", "assign", "take", "transfer", "accept", "decline", "replied", "close",
            "return-to-bot", "on-hold", "resume", "reopen")
            | ["/v1/sessions/{id}/" + ., "post"])
        ] | all(.[]; . as $route | all($route[1:][]; $paths[$route[0]][.] != null))'
}

@test "without a key 401, with too low a role 403, with another method 405" {
    ask "" GET /v1/queue
    is 401 '.code == "unauthorized"'
    agent PUT "/v1/teams/$(new_id)" '{"name": "x"}'
    is 403
    agent POST /v1/queue/drain
    is 403
    agent PUT /v1/queue '{}'
    is 405
    admin PUT "/v1/teams/$(new_id)" "" -H 'Content-Type: text/plain' --data-binary '{"name": "x"}'
    is 415
}

@test "a body that is not JSON is 400; unknown, missing and wrong members are 422 and named" {
    admin PUT "/v1/teams/$(new_id)" '{"name": '
    is 400 '.code == "invalid_json"'
    admin PUT "/v1/teams/$(new_id)" '{"nam": "x", "strategy": "lottery"}'
    is 422 '[.errors[].pointer] | sort == ["/nam", "/name", "/strategy"]'
    agent POST /v1/sessions '{"conversation_id": "x", "contact_id": "", "priority": 5, "source": "me"}'
    is 422 '[.errors[].pointer] | sort == ["/contact_id", "/conversation_id", "/priority", "/source"]'
    agent PUT "/v1/agents/$(new_id)/status" '{"status": "asleep"}'
    is 422 '.errors[0].pointer == "/status"'
    agent GET "/v1/queue?team_id=x"
    is 422 '.errors[0].pointer == "/query/team_id"'
    agent GET "/v1/sessions?limit=0"
    is 422 '.errors[0].pointer == "/query/limit"'
}

@test "what does not exist is 404, and so is another tenant's" {
    local stranger
    stranger=$(key "other-$RANDOM$RANDOM" admin)
    a_team
    joins Anna
    hands_over
    is 201
    for path in "/v1/teams/$TEAM" "/v1/agents/$AGENT" "/v1/sessions/$SESSION" \
        "/v1/sessions/$SESSION/decisions"; do
        ask "$stranger" GET "$path"
        is 404 '.code == "not_found"'
    done
    ask "$stranger" POST "/v1/sessions/$SESSION/close"
    is 404
    ask "$stranger" PUT "/v1/agents/$AGENT/status" '{"status": "offline"}'
    is 404
    ask "$stranger" PUT "/v1/teams/$TEAM/members/$AGENT" '{}'
    is 404
    ask "$stranger" GET /v1/sessions
    is 200 '.items == []'
    agent GET "/v1/teams/$(new_id)"
    is 404
    agent GET /v1/agents/nobody
    is 404
    agent POST "/v1/agents/$(new_id)/heartbeat"
    is 404
    agent POST "/v1/sessions/$(new_id)/assign"
    is 404
}

@test "teams, members and agents are made, read, changed and taken out" {
    a_team '{"strategy": "fair"}'
    is 201 '.strategy == "fair"'
    joins Anna '{"capacity_units": 5, "skills": [{"name": "tax", "level": 3}]}' '{"weight": 50}'
    agent GET "/v1/agents/$AGENT"
    is 200 '.capacity_units == 5 and .skills[0].level == 3 and .present and .status == "online"'
    agent GET "/v1/teams/$TEAM"
    is 200 '.members[0].weight == 50 and .members[0].auto_assign'
    admin PUT "/v1/teams/$TEAM" '{"name": "Renamed"}'
    is 200 '.name == "Renamed" and .strategy == "fair"'
    agent POST "/v1/agents/$AGENT/heartbeat"
    is 200 .present
    admin DELETE "/v1/teams/$TEAM/members/$AGENT"
    is 200 '.members == []'
    admin DELETE "/v1/teams/$TEAM/members/$AGENT"
    is 404
}

@test "a handover is given to the one who is there, and says so" {
    a_team
    joins Anna
    hands_over '{"priority": 1, "context": {"vip": true}}'
    is 201 '.outcome == "assign" and .reason == "assigned" and .strategy == "round_robin"'
    [[ $(field .agent_id) == "$AGENT" && $(field .session.state) == assigned ]]
    [[ $(field .session.assignee_id) == "$AGENT" && $(field .session.context.vip) == true ]]
    local decision
    decision=$(field .decision_id)
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items | length == 1' '.items[0].outcome == "assign" and .items[0].source == "handover"'
    [[ $(field '.items[0].id') == "$decision" ]]
    [[ $(field '.items[0].explanation') == "Anna got it: of 1 candidate, "* ]]
    agent GET "/v1/agents/$AGENT"
    is 200 '.active_units == 1 and .last_assigned_at != null'
}

@test "a second handover of the conversation finds the session and its owner" {
    a_team
    joins Anna
    local conversation
    conversation=$(new_id)
    hands_over "{\"conversation_id\": \"$conversation\"}"
    is 201
    local first=$SESSION
    hands_over "{\"conversation_id\": \"$conversation\"}"
    is 200 '.outcome == "assign" and .reason == "already_assigned"'
    [[ $SESSION == "$first" && $(field .agent_id) == "$AGENT" ]]
}

@test "an idempotency key makes one session; another body is refused" {
    a_team
    local body key=k-$RANDOM$RANDOM
    body="{\"conversation_id\": \"$(new_id)\", \"contact_id\": \"c\", \"source\": \"handover\", \"team_id\": \"$TEAM\"}"
    agent POST /v1/sessions "$body" -H "Idempotency-Key: $key"
    is 201
    local first=$BODY
    agent POST /v1/sessions "$body" -H "Idempotency-Key: $key" -D "$BATS_TEST_TMPDIR/head"
    is 201
    [[ $BODY == "$first" ]]
    grep -qi '^idempotency-replayed: true' "$BATS_TEST_TMPDIR/head"
    agent POST /v1/sessions "${body/handover/handover }" -H "Idempotency-Key: $key"
    is 422 '.code == "idempotency_key_reused"'
}

@test "outcome skip: it stays queued with its reason and goes to whoever comes" {
    a_team
    hands_over
    is 201 '.outcome == "skip" and .reason == "no_members" and .agent_id == null' \
        '.session.state == "queued" and .session.queue_position == 1'
    local waiting=$SESSION
    hands_over
    is 201 '.session.queue_position == 2'
    agent GET "/v1/queue?team_id=$TEAM"
    is 200 '.items | length == 2'
    [[ $(field '.items[0].id') == "$waiting" ]]
    joins Anna
    SESSION=$waiting
    becomes '.state == "assigned"'
    agent GET "/v1/sessions/$waiting/decisions"
    is 200 '.items[0].outcome == "assign" and .items[0].source == "queue"' \
        '.items[-1].outcome == "skip" and .items[-1].source == "handover"'
}

@test "turns go round among those who are there" {
    a_team
    local names=() i
    for i in 1 2 3; do joins "agent $i" '{"capacity_units": 10}' && names+=("$AGENT"); done
    local got=()
    for i in {1..9}; do hands_over && got+=("$(field .agent_id)"); done
    [[ $(printf '%s\n' "${got[@]}" | sort | uniq -c | awk '{print $1}' | sort -u) == 3 ]]
    [[ ${got[0]} == "${got[3]}" && ${got[1]} == "${got[4]}" && ${got[2]} == "${got[5]}" ]]
}

@test "nobody gets more than the capacity; closing gives it back and drains the queue" {
    a_team
    joins Anna '{"capacity_units": 2}'
    hands_over
    local first=$SESSION
    hands_over
    hands_over
    is 201 '.outcome == "skip" and .session.state == "queued"'
    agent POST "/v1/sessions/$first/close" '{"reason": "done"}'
    is 200 '.state == "closed" and .assignee_id == null'
    becomes '.state == "assigned"'
    agent POST "/v1/sessions/$first/close"
    is 200 '.state == "closed"'
    agent GET "/v1/agents/$AGENT"
    is 200 '.active_units == 2'
}

@test "an operator drains the queue by hand; assign runs the engine for one session" {
    a_team
    hands_over
    agent POST "/v1/sessions/$SESSION/assign"
    is 200 '.outcome == "skip"'
    admin POST /v1/queue/drain "{\"team_id\": \"$TEAM\"}"
    is 200 '.assigned == 0'
}

@test "lists are paged and narrowed" {
    a_team
    for _ in 1 2 3; do hands_over; done
    agent GET "/v1/sessions?team_id=$TEAM&limit=2"
    is 200 '.items | length == 2'
    agent GET "/v1/sessions?team_id=$TEAM&limit=2&cursor=$(field .next_cursor)"
    is 200 '(.items | length) == 1 and .next_cursor == null'
    agent GET "/v1/sessions?team_id=$TEAM&state=assigned"
    is 200 '.items == []'
}

@test "another service may ask on behalf of a tenant" {
    as_service POST /v1/sessions \
        "{\"conversation_id\": \"$(new_id)\", \"contact_id\": \"c\", \"source\": \"handover\"}"
    is 201
}

@test "every field and parameter of the published document says what it means" {
    local silent
    silent=$(curl -sS --max-time 20 "$ASSIGNMENT_ENGINE_URL/openapi.json" | jq -c '
        [paths as $p | select($p[-2]? == "properties") | getpath($p) as $field
         | select(($field | type) == "object" and ($field | has("description") | not))
         | $p | map(tostring) | join("/")]
        + [.paths | to_entries[] | .key as $path | .value[] | .parameters[]?
         | select((.description // "") == "") | "\($path) \(.name)"]')
    echo "$silent"
    [[ $silent == "[]" ]]
}
