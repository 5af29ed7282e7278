#!/usr/bin/env bats
# Who is there is measured, not only chosen. An instance of its own has a short memory for signs of
# life.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153,SC2317

load assignment

setup() {
    local port=$((18000 + RANDOM % 2000)) tenths=200
    env HOST=127.0.0.1 PORT="$port" PRESENCE_TTL_MS=1500 "$SWITCHBOARD_BIN/assignment-engine" \
        serve >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
    ENGINE=$!
    ASSIGNMENT_ENGINE_URL=http://127.0.0.1:$port
    export ASSIGNMENT_ENGINE_URL
    until grep -q '"serving"' "$BATS_TEST_TMPDIR/log" || ((tenths-- == 0)); do sleep 0.1; done
}

teardown() { kill -KILL "$ENGINE" 2>/dev/null || true; }

# present true|false: waits until AGENT is or is not there.
present() {
    local tenths=60
    while ((tenths-- > 0)); do
        agent GET "/v1/agents/$AGENT"
        [[ $(field .present) != "$1" ]] || return 0
        sleep 0.1
    done
    return 1
}

@test "an agent that falls silent gets nothing, loses unanswered work after the grace, and comes back" {
    a_team '{"offline_grace_s": 1}'
    joins Anna
    hands_over
    is 201 '.outcome == "assign"'
    present false
    agent GET "/v1/agents/$AGENT"
    is 200 '.status == "online"'
    local first=$SESSION
    hands_over
    is 201 '.outcome == "skip"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[-1].counts == {"offline": 1}'
    SESSION=$first
    becomes '.state == "queued" and .reason != "assigned"'
    agent POST "/v1/agents/$AGENT/heartbeat"
    is 200 .present
    becomes '.state == "assigned"'
}

@test "signs of life keep an agent there" {
    a_team '{"offline_grace_s": 0}'
    joins Anna
    hands_over
    for _ in {1..15}; do
        agent POST "/v1/agents/$AGENT/heartbeat"
        is 200 .present
        sleep 0.2
    done
    agent GET "/v1/sessions/$SESSION"
    is 200 '.state == "assigned"'
}

@test "in manual mode the choice alone counts" {
    a_team
    joins Anna '{"presence_mode": "manual"}'
    local manual=$AGENT
    joins Ben
    present false
    agent GET "/v1/agents/$manual"
    is 200 .present
    hands_over
    [[ $(field .agent_id) == "$manual" ]]
}
