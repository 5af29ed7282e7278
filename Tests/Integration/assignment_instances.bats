#!/usr/bin/env bats
# Four instances behind one port: one owner, capacity that holds, turns without a repeat.

# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153,SC2317

load assignment

setup_file() {
    local port=${ASSIGNMENT_ENGINE_URL##*:} i
    # What others left waiting for anybody would go to these agents.
    own_tenant
    INSTANCES=""
    for i in 1 2 3; do
        # Without the runner's own descriptor, which it would hold open.
        HOST=127.0.0.1 PORT=$port "$SWITCHBOARD_BIN/assignment-engine" serve \
            >"$BATS_FILE_TMPDIR/engine.$i.log" 2>&1 3>&- &
        INSTANCES+="$! "
    done
    export INSTANCES
    for i in {1..100}; do
        [[ $(grep -l '"serving"' "$BATS_FILE_TMPDIR"/engine.*.log 2>/dev/null | wc -l) != 3 ]] || return 0
        sleep 0.1
    done
    return 1
}

teardown_file() {
    local pid
    for pid in $INSTANCES; do kill -CONT "$pid" && kill -KILL "$pid"; done 2>/dev/null || true
}

# together COUNT FUNCTION: that many at once; each writes its answer's status and body to a file.
together() {
    local i pids=()
    rm -f "$BATS_TEST_TMPDIR"/answer.*
    for ((i = 0; i < $1; i++)); do
        ("$2" "$i" && printf '%s\n%s\n' "$STATUS" "$BODY" >"$BATS_TEST_TMPDIR/answer.$i") &
        pids+=($!)
    done
    wait "${pids[@]}"
}
answers() { cat "$BATS_TEST_TMPDIR"/answer.* | grep -c "$1" || true; }

# agents COUNT JSON: sets AGENTS.
agents() {
    local i
    AGENTS=()
    for ((i = 0; i < $1; i++)); do joins "agent $i" "$2" "${3:-{\}}" && AGENTS+=("$AGENT"); done
}
# What the team's agents carry, one number a line.
loads() {
    psql "$DATABASE_URL" -qAtc "select active_units from assignment.agents where id in
        (select agent_id from assignment.team_candidates where team_id = '$TEAM')"
}
total() { loads | awk '{ sum += $1 } END { print sum }'; }

@test "fifty agents take one session at once: one has it, the others are told who" {
    a_team
    agents 10 '{}' '{"auto_assign": false}'
    hands_over
    one() { agent POST "/v1/sessions/$SESSION/take" "{\"agent_id\": \"${AGENTS[$(($1 % 10))]}\"}"; }
    together 50 one
    # The one who has it may have asked five times.
    [[ $(answers '^200') == 5 && $(answers '"already_assigned"') == 45 ]]
    [[ $(total) == 1 ]]
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '[.items[] | select(.outcome == "assign")] | length == 1'
}

@test "fifty runs for one session at once: one owner, one decision that assigns, one unit taken" {
    a_team
    hands_over
    agents 5 '{}' '{"auto_assign": false}'
    for AGENT in "${AGENTS[@]}"; do
        psql "$DATABASE_URL" -qc "update assignment.team_candidates set auto_assign = true
            where team_id = '$TEAM' and agent_id = '$AGENT'"
    done
    one() { agent POST "/v1/sessions/$SESSION/assign"; }
    together 50 one
    becomes '.state == "assigned"'
    [[ $(total) == 1 ]]
    agent GET "/v1/sessions/$SESSION/decisions?limit=200"
    is 200 '[.items[] | select(.outcome == "assign")] | length == 1'
}

@test "capacity holds: forty handovers at once fill six places and queue the rest" {
    a_team
    agents 3 '{"capacity_units": 2}'
    one() { hands_over; }
    together 40 one
    [[ $(answers '"outcome":"assign"') == 6 && $(answers '"outcome":"skip"') == 34 ]]
    [[ $(loads | sort -u) == 2 ]]
    agent GET "/v1/sessions?team_id=$TEAM&state=queued&limit=200"
    is 200 '.items | length == 34' 'all(.items[]; .reason != null)'
}

@test "a team's cap holds under parallel handovers" {
    a_team '{"capacity_units": 1, "strategy": "least_active"}'
    agents 4 '{"capacity_units": 9}'
    one() { hands_over; }
    together 30 one
    [[ $(answers '"outcome":"assign"') == 4 && $(total) == 4 ]]
}

@test "turns go round over all instances without a repeat" {
    a_team
    agents 4 '{"capacity_units": 100}'
    one() { hands_over; }
    together 40 one
    [[ $(answers '^201') == 40 ]]
    loads
    [[ $(loads | sort -u) == 10 ]]
}

@test "fair shares follow the weights" {
    a_team '{"strategy": "fair"}'
    joins Anna '{"capacity_units": 100}' '{"weight": 300}'
    local anna=$AGENT
    joins Ben '{"capacity_units": 100}' '{"weight": 100}'
    for _ in {1..20}; do hands_over; done
    agent GET "/v1/agents/$anna"
    is 200 '.active_units == 15'
}

@test "one instance killed, one paused, under load: everything is assigned or queued with a reason" {
    a_team
    agents 5 '{"capacity_units": 4}'
    local pids
    read -ra pids <<<"$INSTANCES"
    # A paused instance answers nothing until it goes on; its clients give up and ask again.
    one() {
        local conversation
        conversation=$(new_id)
        for _ in {1..15}; do
            hands_over "{\"conversation_id\": \"$conversation\"}" --max-time 2 2>/dev/null || true
            [[ $STATUS != 20[01] ]] || return 0
            sleep 0.2
        done
    }
    (sleep 0.3 && kill -KILL "${pids[0]}" && kill -STOP "${pids[1]}" && sleep 3 && kill -CONT "${pids[1]}") &
    local chaos=$!
    together 30 one
    wait "$chaos"
    [[ $(answers '^20[01]') == 30 ]]
    local query="from assignment.sessions where team_id = '$TEAM'"
    [[ $(psql "$DATABASE_URL" -qAtc "select count(*) $query") == 30 ]]
    [[ $(psql "$DATABASE_URL" -qAtc "select count(*) $query and state = 'assigned'") == 20 ]]
    [[ $(psql "$DATABASE_URL" -qAtc "select count(*) $query and state = 'queued' and last_reason is null") == 0 ]]
    [[ $(loads | sort -u) == 4 ]]
}
