#!/usr/bin/env bats
# Two instances of messaging, one of which dies, and the Redis of either. Each test begins and ends with
# a stack that is whole.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153
load stack

setup_file() {
    load stack
    CHANNEL=two-$RANDOM$RANDOM
    export CHANNEL
    prepare_channel "$CHANNEL"
}
setup() {
    open_conversation "$CHANNEL"
    SOCKET=s-$RANDOM$RANDOM
    CACHE_PORT=$((20000 + RANDOM % 4000)) PORT=$((24000 + RANDOM % 4000))
    redis-server --port "$CACHE_PORT" --bind 127.0.0.1 --save '' --appendonly no \
        --dir "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/redis.log" 2>&1 3>&- &
    CACHE=$!
    HOST=127.0.0.1 PORT=$PORT REDIS_CACHE_URL=redis://127.0.0.1:$CACHE_PORT USER_PRESENCE_TTL_MS=3000 \
        PRESENCE_GRACE_MS=2000 "$SWITCHBOARD_BIN/messaging" serve \
        >"$BATS_TEST_TMPDIR/second.log" 2>&1 3>&- &
    SECOND_PID=$!
    export SECOND_PID SECOND_URL=http://127.0.0.1:$PORT
    eventually 20 is_up
}
teardown() {
    kill -KILL "$SECOND_PID" "$CACHE" 2>/dev/null || true
    mend_stack
}
is_up() { [[ $(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "$SECOND_URL/readyz") == 200 ]]; }

second() { call "$SWITCHBOARD_ADMIN_KEY" "$1" "$SECOND_URL$2" "${@:3}"; }
# joins_at messaging|second USER SOCKET
joins_at() {
    "$1" PUT "/v1/user-sessions/$3" \
        "{\"user_id\": \"$2\", \"conversation_id\": \"$CONVERSATION\"}"
    [[ $STATUS == 20[01] ]]
}
# seen_at messaging|second USERS…: those who are there, by name.
seen_at() {
    "$1" GET "/v1/conversations/$CONVERSATION/presence"
    [[ $(field '[.users[].user_id] | sort | join(" ")') == "${*:2}" ]]
}
# The integrations of the second instance that are in this state, by name.
integrations() {
    second GET /v1/admin/integrations
    field "[.items[] | select(.status == \"$1\") | .name] | sort | join(\" \")"
}
integrations_are() { [[ $(integrations "$1") == "$2" ]]; }

@test "who joins at one instance is seen at the other in less than a second, and so is who goes" {
    local began=${EPOCHREALTIME/./}
    joins_at messaging anna "$SOCKET"
    eventually 5 seen_at second anna
    (((${EPOCHREALTIME/./} - began) < 1000000))
    began=${EPOCHREALTIME/./}
    second DELETE "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 204 ]]
    eventually 5 seen_at messaging
    (((${EPOCHREALTIME/./} - began) < 1000000))
}

@test "a WebSocket whose instance is killed goes on at the other, and misses nothing" {
    run timeout 100 python3 "$BATS_TEST_DIRNAME/socket_resume.py" "$CONVERSATION"
    echo "$output"
    [[ $status == 0 && $output == *"none is missing, none came twice"* ]]
}

@test "a Socket.IO client that polls one instance goes over to a WebSocket at the other" {
    run timeout 100 python3 "$BATS_TEST_DIRNAME/socketio_relay.py"
    echo "$output"
    [[ $status == 0 && $output == *"with every event in order"* ]]
}

@test "Redis restarts: who is there stays, those of other instances too, and nobody hears of it" {
    joins_at messaging ben "$SOCKET-ben"
    python3 "$BATS_TEST_DIRNAME/socket_stays.py" "$SECOND_URL" anna "$CONVERSATION" 40 \
        >"$BATS_TEST_TMPDIR/events" 3>&- &
    local client=$!
    eventually 10 seen_at second "anna ben"
    eventually 10 grep -q '"presence.joined"' "$BATS_TEST_TMPDIR/events"
    redis FLUSHALL
    # Anna's next sign of life brings her back; Ben's client gives none, and is not there.
    eventually 3 seen_at messaging anna
    messaging POST /v1/presence/heartbeat "{\"user_id\": \"ben\", \"connection_id\": \"$SOCKET-ben\"}"
    eventually 3 seen_at second "anna ben"
    take_away redis
    seen_at second "anna ben"
    sleep 1 # in which signs of life are given to nobody
    seen_at second "anna ben"
    bring_back redis
    eventually 10 redis_is_connected
    eventually 5 seen_at messaging anna || seen_at messaging "anna ben"
    kill "$client"
    run jq -r 'select(.type == "presence.left" and .data.user_id == "anna") | .type' \
        "$BATS_TEST_TMPDIR/events"
    [[ -z $output ]]
}

@test "each use of Redis is shown as it is: by its own server, with what is done instead" {
    local caches="message_cache message_invalidation message_query_cache session_cache \
thread_invalidation thread_query_cache"
    local others="distributed_locking presence_tracking rate_limiting socket_io_adapter"
    eventually 5 integrations_are fallback ""
    second GET "/v1/conversations/$CONVERSATION/threads"
    second GET "/v1/conversations/$CONVERSATION/threads"
    second GET /v1/admin/integrations
    [[ $(field '[.items[] | select(has("hits") and has("misses")) | .name] | sort | join(" ")') == \
        "message_cache message_query_cache session_cache thread_query_cache" ]]
    (($(field '.items[] | select(.name == "thread_query_cache") | .hits') > 0))
    kill -KILL "$CACHE"
    eventually 5 integrations_are fallback "$caches"
    [[ $(integrations active) == "$others" ]]
    [[ $(field '[.items[] | select(.status == "fallback") | .instead | length > 0] | all') == true ]]
    second GET "/v1/user-sessions/$SOCKET"
    second GET /v1/admin/integrations
    (($(field '.items[] | select(.name == "session_cache") | .degraded_total') > 0))
    take_away redis
    eventually 5 integrations_are active ""
    bring_back redis
    eventually 20 integrations_are active "$others"
}
