#!/usr/bin/env bats
# The shared counter is away: at the start, at run time, and back. Each test has an instance of its
# own with a Redis of its own, which it may stop.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153,SC2317

load assignment

# Prints a port from the thousand that begin at $1 on which nobody listens.
free_port() {
    local port
    while port=$(($1 + RANDOM % 1000)); do
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
    done
}

setup() {
    REDIS_PORT=$(free_port 20000)
    PORT=$(free_port 18000)
    ASSIGNMENT_ENGINE_URL=http://127.0.0.1:$PORT
    export ASSIGNMENT_ENGINE_URL
    own_tenant
    ENGINE="" REDIS=""
}

teardown() {
    local pid
    for pid in $ENGINE; do kill -KILL "$pid" 2>/dev/null || true; done
    [[ -z $REDIS ]] || kill -KILL "$REDIS" 2>/dev/null || true
}

redis_up() {
    redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save "" --dir "$BATS_TEST_TMPDIR" \
        >/dev/null 2>&1 3>&- &
    REDIS=$!
    local tenths=100
    until redis-cli -p "$REDIS_PORT" PING >/dev/null 2>&1 || ((tenths-- == 0)); do sleep 0.1; done
}
redis_down() {
    kill -KILL "$REDIS"
    wait "$REDIS" 2>/dev/null || true
}

# engine_up [VARIABLE=VALUE…]
engine_up() {
    # What an instance before it said is no sign of this one.
    : >"$BATS_TEST_TMPDIR/log"
    env HOST=127.0.0.1 PORT="$PORT" REDIS_URL="redis://127.0.0.1:$REDIS_PORT/0" "$@" \
        "$SWITCHBOARD_BIN/assignment-engine" serve >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
    ENGINE=$!
    local tenths=200
    until grep -q '"serving"' "$BATS_TEST_TMPDIR/log" || ((tenths-- == 0)); do sleep 0.1; done
}

# provider NAME: waits until /health names it.
provider() {
    local tenths=150
    while ((tenths-- > 0)); do
        agent GET /health
        [[ $(field .rr_provider) != "$1" ]] || return 0
        sleep 0.1
    done
    echo "still $BODY"
    return 1
}

@test "started without Redis it counts in memory, and joins the others when Redis is there" {
    engine_up
    provider memory
    a_team
    joins Anna
    hands_over
    is 201 '.outcome == "assign"'
    redis_up
    provider redis
    hands_over
    is 201 '.outcome == "assign"'
    [[ $(redis-cli -p "$REDIS_PORT" GET "assignment:rr:$TEAM") == 1 ]]
    # Nothing else of it is in Redis but the streams.
    redis-cli -p "$REDIS_PORT" KEYS "*" >"$BATS_TEST_TMPDIR/keys"
    [[ $(grep -vc -e "^assignment:rr:" -e ":events$" "$BATS_TEST_TMPDIR/keys") == 0 ]]
}

@test "two instances that count in memory are not ready; with Redis both are" {
    engine_up
    local first=$ENGINE port=$PORT log=$BATS_TEST_TMPDIR/log
    PORT=$(free_port 19000) BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR/second
    mkdir "$BATS_TEST_TMPDIR"
    engine_up
    local second=$ENGINE
    ENGINE="$first $second"
    ready() {
        local tenths=300
        until [[ $(curl -s -o "$BATS_TEST_TMPDIR/ready" -w '%{http_code}' \
            "http://127.0.0.1:$1/readyz") == "$2" ]]; do
            ((tenths-- > 0)) || { cat "$BATS_TEST_TMPDIR/ready" "$log" && return 1; }
            sleep 0.1
        done
    }
    ready "$port" 503
    grep -q "counts in memory here and in" "$BATS_TEST_TMPDIR/ready"
    ready "$PORT" 503
    redis_up
    ready "$port" 200
    ready "$PORT" 200
    # Alone again it may count in memory: whoever is gone is forgotten.
    redis_down
    kill -KILL "$first" "$second"
    PORT=$(free_port 21000) BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR/third
    mkdir "$BATS_TEST_TMPDIR"
    engine_up
    ENGINE="$first $second $ENGINE"
    ready "$PORT" 200
}

@test "Redis stopped at run time: outcome error, nothing of the owner changes, a timer tries again" {
    redis_up
    engine_up
    provider redis
    a_team
    joins Anna
    redis_down
    hands_over
    is 503 '.outcome == "error" and .reason == "redis_unavailable" and .retryable'
    local row="from assignment.sessions where id = '$SESSION'"
    [[ $(psql "$DATABASE_URL" -qAtc "select state, assignee_id is null, version, assignment_seq,
        last_reason is null, last_error $row") == "queued|t|1|0|t|redis_unavailable" ]]
    agent GET "/v1/agents/$AGENT"
    is 200 '.active_units == 0'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].outcome == "error"' \
        '.items[0].explanation | startswith("Nothing was changed: the shared round-robin counter")'
    redis_up
    becomes '.state == "assigned"' 150
    [[ $(psql "$DATABASE_URL" -qAtc "select last_error is null $row") == t ]]
}

@test "a handover that ended as an error is not kept under its key: the repeat runs again" {
    redis_up
    engine_up
    provider redis
    a_team
    joins Anna
    redis_down
    local same
    same="{\"conversation_id\": \"$(new_id)\", \"contact_id\": \"c\"}"
    hands_over "$same" -H "Idempotency-Key: key-$TEAM"
    is 503 .retryable
    redis_up
    local tenths=150
    until agent GET /health && [[ $(field .redis.connected) == true ]]; do
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
    hands_over "$same" -H "Idempotency-Key: key-$TEAM"
    # The timer may have been faster.
    is 200 '.outcome == "assign"'
    # That is final: a repeat changes nothing.
    agent POST "/v1/sessions/$SESSION/close"
    hands_over "$same" -H "Idempotency-Key: key-$TEAM"
    is 200 '.outcome == "assign" and .session.state == "assigned"'
}

@test "with RR_RUNTIME_FALLBACK=memory Redis stopped at run time fails nobody" {
    redis_up
    engine_up RR_RUNTIME_FALLBACK=memory
    provider redis
    a_team
    joins Anna
    redis_down
    hands_over
    is 201 '.outcome == "assign"'
}

@test "a strategy without a counter does not need Redis" {
    redis_up
    engine_up
    provider redis
    a_team '{"strategy": "fair"}'
    joins Anna
    redis_down
    hands_over
    is 201 '.outcome == "assign"'
    agent POST /v1/events "{\"events\": [{\"id\": \"$(new_id)\", \"name\": \"x\", \"at\": \"2026-11-01T00:00:00Z\"}]}"
    is 503 '.retryable'
}

@test "a restart of the instance goes on with the turn" {
    redis_up
    engine_up
    provider redis
    a_team
    local agents=() i
    for i in 1 2 3; do joins "agent $i" && agents+=("$AGENT"); done
    mapfile -t agents < <(printf '%s\n' "${agents[@]}" | sort)
    hands_over
    [[ $(field .agent_id) == "${agents[0]}" ]]
    kill -KILL "$ENGINE"
    wait "$ENGINE" 2>/dev/null || true
    engine_up
    provider redis
    hands_over
    [[ $(field .agent_id) == "${agents[1]}" ]]
}

@test "events are read on a connection of their own: while it is cut, assignments go on" {
    redis_up
    engine_up
    provider redis
    a_team
    joins Anna '{"capacity_units": 100}'
    local id i cut=0
    for i in {1..10}; do
        for id in $(redis-cli -p "$REDIS_PORT" CLIENT LIST |
            sed -n 's/^id=\([0-9]*\) .* cmd=xreadgroup .*/\1/p'); do
            cut=$((cut + $(redis-cli -p "$REDIS_PORT" CLIENT KILL ID "$id")))
        done
        hands_over
        is 201 '.outcome == "assign"'
    done
    ((cut > 0))
    [[ $(redis-cli -p "$REDIS_PORT" GET "assignment:rr:$TEAM") == 10 ]]
    provider redis
}
