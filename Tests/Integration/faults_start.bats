#!/usr/bin/env bats
# What the executables do with an environment that is not complete, and with one that has no Redis.

# start SERVICE [NAME=VALUE…]: the executable with nothing in its environment but that.
start() {
    local service=$1
    shift
    cd "$BATS_TEST_TMPDIR" || return
    timeout 20 env -i "$@" "$SWITCHBOARD_BIN/$service" serve
}

@test "a service without its secrets refuses to start and names all that is missing" {
    local service
    for service in messaging assignment-engine dispatch-worker; do
        run start "$service"
        [[ $status -ne 0 && $status -ne 124 ]]
        [[ $output == *"DATABASE_URL is missing"* && $output == *"SERVICE_TOKEN is missing"* ]]
        [[ $output == *"SECRETS_KEY is missing"* ]]
    done
}

@test "a service with one secret missing or malformed names that one" {
    run start messaging "DATABASE_URL=$DATABASE_URL" "SECRETS_KEY=$SECRETS_KEY"
    [[ $status -ne 0 && $output == *"SERVICE_TOKEN is missing"* && $output != *"SECRETS_KEY is"* ]]
    run start messaging "DATABASE_URL=$DATABASE_URL" "SERVICE_TOKEN=x" "SECRETS_KEY=c2hvcnQ="
    [[ $status -ne 0 && $output == *SECRETS_KEY* && $output != *c2hvcnQ=* ]]
    run start messaging "DATABASE_URL=$DATABASE_URL" "SERVICE_TOKEN=x" "SECRETS_KEY=$SECRETS_KEY" \
        REDIS_MODE=perhaps PORT=many
    [[ $status -ne 0 && $output == *REDIS_MODE* && $output == *PORT* ]]
    [[ $output != *"$SECRETS_KEY"* ]]
}

# serves SERVICE [NAME=VALUE…]: runs it beside the stack; its address is in URL.
serves() {
    local service=$1 port
    shift
    for _ in {1..20}; do
        port=$((10240 + RANDOM % 12000))
        (exec 9<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    URL=http://127.0.0.1:$port
    cd "$BATS_TEST_TMPDIR" || return
    env -i "DATABASE_URL=$DATABASE_URL" "SERVICE_TOKEN=$SERVICE_TOKEN" "SECRETS_KEY=$SECRETS_KEY" \
        HOST=127.0.0.1 "PORT=$port" "$@" "$SWITCHBOARD_BIN/$service" serve >log 2>&1 3>&- &
    PID=$!
    for _ in {1..200}; do
        curl -sf -o /dev/null --max-time 2 "$URL/healthz" && return 0
        sleep 0.1
    done
    cat log
    return 1
}
teardown() {
    [[ -z ${PID:-} ]] || { kill "$PID" 2>/dev/null && wait "$PID"; } || true
}
end_service() {
    kill "$PID" && wait "$PID"
    PID=""
}
readiness() { curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$URL/readyz"; }
health() {
    curl -s --max-time 5 -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" "$URL/health" | jq -r "$1"
}

# Nobody listens on port 1.
@test "a Redis that is named is required by dispatch-worker: it starts and is not ready" {
    serves dispatch-worker REDIS_HOST=127.0.0.1 REDIS_PORT=1
    [[ $(readiness) == 503 && $(health .redis.mode) == required ]]
    [[ $(health '.reasons | join(" ")') == *"redis is away"* ]]
}

@test "a Redis that is named is optional for messaging: it starts and is ready without" {
    serves messaging REDIS_URL=redis://127.0.0.1:1/0
    [[ $(readiness) == 200 && $(health .redis.mode) == optional ]]
}

@test "REDIS_URL wins over REDIS_HOST, and REDIS_PASSWORD fills in what the URL lacks" {
    local password=${REDIS_URL#*default:} server=${REDIS_URL#*@}
    serves messaging "REDIS_URL=redis://$server" "REDIS_PASSWORD=${password%%@*}" \
        REDIS_HOST=127.0.0.1 REDIS_PORT=1
    [[ $(health .redis.connected) == true ]]
}

# Databases of one server are as good as servers of their own.
@test "queues and caches are on servers of their own, where they are named" {
    local base=${REDIS_URL%/*} conversation
    sb() {
        curl -sS --max-time 10 -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
            -H 'Content-Type: application/json' "$URL/v1/$1" "${@:2}"
    }
    serves messaging "REDIS_URL=$REDIS_URL" "REDIS_QUEUE_URL=$base/6" "REDIS_CACHE_URL=$base/7"
    curl -sS -X PUT -H "Authorization: Bearer $SWITCHBOARD_ADMIN_KEY" -H 'Content-Type: application/json' \
        "$DISPATCH_WORKER_URL/v1/workspaces/apart" -d '{"provider": "local"}' >/dev/null
    curl -sS -X PUT -H "Authorization: Bearer $SWITCHBOARD_ADMIN_KEY" -H 'Content-Type: application/json' \
        "$DISPATCH_WORKER_URL/v1/channels/apart" \
        -d '{"workspace_code": "apart", "provider_channel_id": "C0APART"}' >/dev/null
    opens() {
        conversation=$(sb conversations -d '{"channel_code": "apart", "contact": {"external_id": "a"}}' |
            jq -er .id)
    }
    until_true 10 opens
    sb "conversations/$conversation/messages?mode=async" \
        -d '{"sender": {"kind": "contact", "id": "a"}, "text": "apart"}' | jq -e .job >/dev/null
    sb "conversations/$conversation/messages" | jq -e '.items | length >= 1' >/dev/null
    [[ $(keys 6 'bull:*:auto-assign-message:*') -ge 1 && $(keys 7 '*') -ge 1 ]]
    [[ $(keys 7 'bull:*') == 0 && $(keys 6 'cache:*') == 0 ]]
    end_service
    serves dispatch-worker "REDIS_URL=$REDIS_URL" "REDIS_QUEUE_URL=$base/6"
    sweeps() { [[ $(keys 6 dispatch:sweep) == 1 ]]; }
    until_true 10 sweeps
    end_service
    run start dispatch-worker "DATABASE_URL=$DATABASE_URL" "SERVICE_TOKEN=x" \
        "SECRETS_KEY=$SECRETS_KEY" REDIS_QUEUE_URL=redis+cluster://127.0.0.1:7000/6
    [[ $status -ne 0 && $output == *REDIS_QUEUE_URL* && $output == *cluster* ]]
}
keys() { redis-cli -u "$REDIS_URL" --no-auth-warning -n "$1" --scan --pattern "$2" | wc -l; }
until_true() {
    local tenths=$(($1 * 10))
    shift
    while ((tenths-- > 0)); do
        ! "$@" || return 0
        sleep 0.1
    done
    return 1
}

@test "REDIS_MODE=disabled asks for no Redis, although one is named" {
    serves messaging "REDIS_URL=$REDIS_URL" REDIS_MODE=disabled
    [[ $(readiness) == 200 && $(health .redis.mode) == disabled ]]
}

@test "assignment-engine that starts without Redis counts turns in memory and says so" {
    serves assignment-engine REDIS_URL=redis://127.0.0.1:1/0
    [[ $(readiness) == 200 && $(health .rr_provider) == memory ]]
}

# A server of its own that the test may kill; sets OTHER.
other_redis() {
    local port
    for _ in {1..20}; do
        port=$((10240 + RANDOM % 12000))
        (exec 9<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    OTHER=redis://127.0.0.1:$port/0
    redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$BATS_TEST_TMPDIR" \
        >"$BATS_TEST_TMPDIR/redis.log" 2>&1 3>&- &
    OTHER_PID=$!
    other_answers() { [[ $(redis-cli -u "$OTHER" ping) == PONG ]]; }
    until_true 10 other_answers
}
end_other() {
    kill -KILL "$OTHER_PID"
    wait "$OTHER_PID" || true
}
reasons() { curl -s --max-time 5 "$URL/readyz" | jq -c "$1"; }

@test "a server of caches that is away is told, and keeps nobody from serving" {
    other_redis
    serves dispatch-worker "REDIS_URL=$REDIS_URL" "REDIS_CACHE_URL=$OTHER"
    [[ $(readiness) == 200 && $(reasons .degraded_reasons) == "[]" ]]
    [[ $(health .redis_cache.connected) == true && $(health .redis_queue) == null ]]
    end_other
    is_told() { [[ $(reasons .degraded_reasons) == '["redis_cache is away (REDIS_CACHE_URL)"]' ]]; }
    until_true 10 is_told
    [[ $(readiness) == 200 && $(health .status) == ready ]]
    [[ $(health .redis_cache.connected) == false && $(health .redis.connected) == true ]]
    [[ $(health '.degraded_reasons[0]') == "redis_cache is away (REDIS_CACHE_URL)" ]]
}

@test "a server of queues that is away makes not ready who needs it, and is told by who does not" {
    other_redis
    serves dispatch-worker "REDIS_URL=$REDIS_URL" "REDIS_QUEUE_URL=$OTHER"
    [[ $(readiness) == 200 ]]
    end_other
    is_unready() { [[ $(readiness) == 503 ]]; }
    until_true 10 is_unready
    [[ $(reasons .reasons) == '["redis_queue is away (REDIS_QUEUE_URL)"]' ]]
    [[ $(health .redis_queue.connected) == false && $(health .redis.connected) == true ]]
    end_service
    serves messaging "REDIS_URL=$REDIS_URL" "REDIS_QUEUE_URL=$OTHER"
    [[ $(readiness) == 200 ]]
    [[ $(reasons .degraded_reasons) == '["redis_queue is away (REDIS_QUEUE_URL)"]' ]]
}
