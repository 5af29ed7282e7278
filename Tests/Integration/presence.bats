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

@test "a known socket needs no SQL; a session in the cache lasts a day, one that ended is gone" {
    joins anna "$SOCKET"
    local ttl
    ttl=$(redis ttl "$(key "$SOCKET")")
    ((ttl > 86390 && ttl <= 86400))
    # With the row gone only the cache can know.
    psql "$DATABASE_URL" -Xqc "delete from messaging.user_sessions where socket_id = '$SOCKET'"
    agent GET "/v1/user-sessions/$SOCKET"
    [[ $STATUS == 200 && $(field .user_id) == anna ]]
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
