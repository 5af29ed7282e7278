#!/usr/bin/env bats
# Sessions of sockets, and who is there. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() { make_channel; }
setup() {
    open_conversation
    SOCKET=s-$RANDOM$RANDOM
}

# joins USER SOCKET
joins() {
    agent PUT "/v1/user-sessions/$2" "{\"user_id\": \"$1\", \"conversation_id\": \"$CONVERSATION\"}"
}
# there USER CONNECTIONS: whether the conversation's presence says so.
there() {
    agent GET "/v1/conversations/$CONVERSATION/presence"
    [[ $(field ".users[] | select(.user_id == \"$1\") | .connections") == "${2:-}" ]]
}
redis() { redis-cli -u "$REDIS_URL" "$@"; }
key() { echo "session:{$SWITCHBOARD_TENANT}:$1"; }

@test "a session is made, found, gone on with and ended" {
    joins anna "$SOCKET"
    [[ $STATUS == 201 && $(field .user_id) == anna ]]
    local session
    session=$(field .session_id)
    joins anna "$SOCKET"
    [[ $STATUS == 200 && $(field .session_id) == "$session" ]]
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 200 && $(field .conversation_id) == "$CONVERSATION" ]]
    agent DELETE "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 204 ]]
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 404 ]]
    agent DELETE "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 404 ]]
}

@test "a socket stays its user's; what no socket can be called is refused" {
    joins anna "$SOCKET"
    joins ben "$SOCKET"
    [[ $STATUS == 409 && $(field .code) == socket_taken ]]
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $(field .user_id) == anna ]]
    joins anna "a%20b"
    [[ $STATUS == 422 ]]
    agent PUT "/v1/user-sessions/$SOCKET" \
        '{"user_id": "anna", "conversation_id": "018f0000-0000-7000-8000-000000000000"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /conversation_id ]]
}

@test "a late goodbye does not end the session that came after" {
    joins anna "$SOCKET"
    local first
    first=$(field .session_id)
    agent DELETE "/v1/user-sessions/$SOCKET?session_id=$first"
    joins anna "$SOCKET"
    [[ $STATUS == 201 && $(field .session_id) != "$first" ]]
    agent DELETE "/v1/user-sessions/$SOCKET?session_id=$first"
    [[ $STATUS == 404 ]]
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 200 ]]
}

# ages SOCKET: its row was last looked at more than two minutes ago.
ages() {
    local entry
    entry=$(redis get "$(key "$1")")
    redis set "$(key "$1")" "$((${entry%% *} - 121000)) ${entry#* }" KEEPTTL
}

@test "a known socket needs no SQL; a session in the cache lasts a day, one that ended is gone" {
    joins anna "$SOCKET"
    local ttl
    ttl=$(redis ttl "$(key "$SOCKET")")
    ((ttl > 86390 && ttl <= 86400))
    redis expire "$(key "$SOCKET")" 100
    # Behind the service's back: what is answered is what was read, and every use puts its end off.
    sql "update messaging.user_sessions set user_id = 'ben' where socket_id = '$SOCKET'"
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 200 && $(field .user_id) == anna ]]
    ttl=$(redis ttl "$(key "$SOCKET")")
    ((ttl > 86390))
    # Not for longer than two minutes: then the row is looked at again.
    ages "$SOCKET"
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 200 && $(field .user_id) == ben ]]
    # One whose end the cache did not hear of (Redis was away) is gone then, however often it is used.
    sql "delete from messaging.user_sessions where socket_id = '$SOCKET'"
    ages "$SOCKET"
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 404 ]]
    # With the cache gone the row is read, and the cache filled.
    redis del "$(key "$SOCKET")"
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 404 ]]
    joins anna "$SOCKET"
    redis del "$(key "$SOCKET")"
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 200 && $(redis get "$(key "$SOCKET")") == *anna* ]]
    # A slow reader that found the row before it went fills nothing in.
    agent DELETE "/v1/user-sessions/$SOCKET"
    [[ $(redis set "$(key "$SOCKET")" stale NX) == "" ]]
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 404 ]]
}

@test "a session lasts as long as it is used: its row's end is put off with the cache's" {
    local left="select extract(epoch from expires_at - now())::int from messaging.user_sessions
        where socket_id = '$SOCKET'"
    joins anna "$SOCKET"
    sql "update messaging.user_sessions set expires_at = now() + interval '1 minute',
        last_seen_at = now() - interval '6 minutes' where socket_id = '$SOCKET'"
    ages "$SOCKET"
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 200 ]]
    (($(sql "$left") > 86390))
    # So it is by signs of life alone.
    sql "update messaging.user_sessions set expires_at = now() + interval '1 minute',
        last_seen_at = now() - interval '6 minutes' where socket_id = '$SOCKET'"
    ages "$SOCKET"
    agent POST /v1/presence/heartbeat "{\"user_id\": \"anna\", \"connection_id\": \"$SOCKET\"}"
    (($(sql "$left") > 86390))
}

@test "a connection puts the ends of its sessions off together, and hears which have ended" {
    local sockets="array['$SOCKET-1', '$SOCKET-2', '$SOCKET-3']" sessions i
    for i in 1 2 3; do
        joins anna "$SOCKET-$i"
        sessions+="${sessions:+,}'$(field .session_id)'::uuid"
    done
    sql "update messaging.user_sessions set expires_at = now() + interval '1 minute',
        last_seen_at = now() - interval '6 minutes' where socket_id like '$SOCKET-%'"
    # The second socket has another session by now.
    agent DELETE "/v1/user-sessions/$SOCKET-2"
    joins ben "$SOCKET-2"
    [[ $(sql "select messaging.touch_sessions(tenant_id, $sockets, array[$sessions], '1 day')
        from messaging.user_sessions where socket_id = '$SOCKET-1'") == "$SOCKET-2" ]]
    [[ $(sql "select count(*) from messaging.user_sessions where socket_id like '$SOCKET-%'
        and user_id = 'anna' and expires_at > now() + interval '23 hours'") == 2 ]]
}

@test "who comes into a second conversation is still in the first, until it is left" {
    local first=$CONVERSATION second
    joins anna "$SOCKET"
    open_conversation
    second=$CONVERSATION
    joins anna "$SOCKET"
    [[ $(field '.conversation_ids | sort | join(" ")') == "$(printf '%s\n' "$first" "$second" |
        sort | xargs)" ]]
    there anna 1
    CONVERSATION=$first there anna 1
    agent DELETE "/v1/user-sessions/$SOCKET/conversations/$second"
    [[ $STATUS == 200 && $(field '.conversation_ids | join(" ")') == "$first" ]]
    [[ $(field .conversation_id) == null ]]
    there anna ""
    CONVERSATION=$first there anna 1
    agent DELETE "/v1/user-sessions/$SOCKET-none/conversations/$first"
    [[ $STATUS == 404 ]]
    # Its end is the end of all.
    agent DELETE "/v1/user-sessions/$SOCKET"
    CONVERSATION=$first there anna ""
}

@test "a session is in a hundred conversations at most" {
    joins anna "$SOCKET"
    sql "insert into messaging.session_rooms (tenant_id, conversation_id, socket_id, is_open)
        select tenant_id, gen_random_uuid(), socket_id, false
          from messaging.user_sessions, generate_series(1, 99) where socket_id = '$SOCKET'"
    joins anna "$SOCKET"
    [[ $STATUS == 200 ]]
    open_conversation
    joins anna "$SOCKET"
    [[ $STATUS == 409 && $(field .code) == too_many_conversations ]]
}

@test "over a WebSocket: joined, opened, left, and cut off without a goodbye" {
    cd "$BATS_TEST_DIRNAME/../.." || return
    PRESENCE_GRACE_MS=500 USER_PRESENCE_TTL_MS=3000 run compose/local run -- \
        python3 Tests/Integration/socket_rooms.py
    echo "$output"
    [[ $status == 0 && $output == *"each room by itself"* ]]
}

@test "two tabs: the user stays until the last one closes" {
    joins anna "$SOCKET-1"
    there anna 1
    joins anna "$SOCKET-2"
    there anna 2
    joins ben "$SOCKET-3"
    agent DELETE "/v1/user-sessions/$SOCKET-1"
    there anna 1
    agent DELETE "/v1/user-sessions/$SOCKET-2"
    there anna ""
    there ben 1
}

@test "a connection that crashed is gone when its time is up; a heartbeat puts that off" {
    joins anna "$SOCKET"
    local score now
    score=$(redis zscore "presence:{$SWITCHBOARD_TENANT}:users" "4|anna|$SOCKET")
    now=$(redis time | head -n 1)
    ((${score%.*} / 1000 - now <= 90 && ${score%.*} / 1000 - now >= 85))
    # As if its time were up.
    redis zadd "presence:{$SWITCHBOARD_TENANT}:users" 1 "4|anna|$SOCKET"
    there anna ""
    agent POST /v1/presence/heartbeat "{\"user_id\": \"anna\", \"connection_id\": \"$SOCKET\"}"
    [[ $STATUS == 200 && $(field .ttl_ms) == 90000 ]]
    there anna 1
}

@test "presence of a conversation that is not the tenant's answers 404" {
    agent GET /v1/conversations/018f0000-0000-7000-8000-000000000000/presence
    [[ $STATUS == 404 ]]
}

@test "who came and went is told after the grace time; a reload and a second tab are not" {
    cd "$BATS_TEST_DIRNAME/../.." || return
    PRESENCE_GRACE_MS=1000 USER_PRESENCE_TTL_MS=3000 run compose/local run -- \
        Tests/Integration/presence_grace.sh
    echo "$output"
    [[ $status == 0 && $output == *"only then"* ]]
}

@test "a room is a conversation: room_id says the same" {
    agent PUT "/v1/user-sessions/$SOCKET" "{\"user_id\": \"anna\", \"room_id\": \"$CONVERSATION\"}"
    [[ $STATUS == 201 && $(field .conversation_id) == "$CONVERSATION" ]]
    there anna 1
    agent PUT "/v1/user-sessions/$SOCKET" "{\"user_id\": \"anna\", \"room_id\": \"$CONVERSATION\",
        \"conversation_id\": \"$CONVERSATION\"}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /room_id ]]
    run curl -sN --max-time 2 -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
        "$MESSAGING_URL/v1/stream?room_id=$CONVERSATION"
    [[ $output == *"retry: "* ]]
    agent GET "/v1/stream?room_id=x"
    [[ $STATUS == 422 ]]
}
