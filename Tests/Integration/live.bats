#!/usr/bin/env bats
# What happens in a conversation, as it happens. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() { make_channel; }
setup() {
    open_conversation
    EVENTS=$BATS_TEST_TMPDIR/events TOLD=$BATS_TEST_TMPDIR/told
    FOLLOWERS=()
}
teardown() { leave; }

leave() {
    # Without names `wait` would wait for the runner's own child too, which counts down the time.
    ((${#FOLLOWERS[@]} > 0)) || return 0
    kill "${FOLLOWERS[@]}" 2>/dev/null || true
    wait "${FOLLOWERS[@]}" 2>/dev/null || true
    FOLLOWERS=()
}

# An agent writes: no bot answers, so it is known what follows.
writes() { says "$1" '{"sender": {"kind": "agent", "id": "anna"}}'; }

# follow SECONDS OPTION…: follows CONVERSATION in the background, into $EVENTS.
follow() {
    leave
    : >"$EVENTS"
    rm -f "$TOLD"
    python3 "$BATS_TEST_DIRNAME/follow.py" "$MESSAGING_URL" "$SWITCHBOARD_AGENT_KEY" "$1" \
        "$CONVERSATION" --told "$TOLD" "${@:2}" >"$EVENTS" 3>&- &
    FOLLOWERS+=($!)
    eventually 10 test -s "$TOLD"
}
types() { jq -rs 'map(.type) | join(" ")' "$EVENTS"; }
has_types() { [[ $(types) == "$1" ]]; }
head_seq() {
    psql "$DATABASE_URL" -XAtqc "select event_seq from messaging.conversations
        where id = '$CONVERSATION'"
}
# Whether the file holds each seq from $1 to $2 once, in order.
is_whole() {
    jq -es --argjson from "$1" --argjson to "$2" \
        'map(.seq) == [range($from; $to + 1)]' "${3:-$EVENTS}" >/dev/null
}

@test "events come as they happen, each with its place in the conversation" {
    follow 30
    writes "where is my refund"
    local message thread
    message=$(field .message.id) thread=$(field .assignment.thread_id)
    eventually 5 has_types "thread.created message.created"
    agent PATCH "/v1/messages/$message" '{"text": "where is my money"}'
    agent PATCH "/v1/threads/$thread" '{"title": "Money"}'
    agent POST "/v1/threads/$thread/archive"
    agent POST "/v1/threads/$thread/unarchive"
    agent DELETE "/v1/messages/$message"
    # The thread was named after the text: it is renamed with it, then by hand.
    eventually 5 has_types "thread.created message.created message.updated thread.updated \
thread.updated thread.archived thread.unarchived message.deleted"
    is_whole 1 8
    [[ $(jq -rs 'map(.conversation_id) | unique | join(" ")' "$EVENTS") == "$CONVERSATION" ]]
    [[ $(jq -rs '.[1].data.id' "$EVENTS") == "$message" ]]
    # Long after the others: the deleted text is not in the log.
    follow 30 --since 0
    eventually 5 is_whole 1 8
    [[ $(grep -c refund "$EVENTS") == 0 ]]
}

@test "an owner that changes and a delivery are events" {
    follow 30
    agent POST "/v1/conversations/$CONVERSATION/replies" \
        '{"text": "hi", "sender": {"kind": "agent", "id": "a"}}'
    as_service POST /v1/internal/delivery "{\"message_request_id\":
        \"$(field .message_request_id)\", \"generation\": 9, \"version\": 9,
        \"status\": \"sent\", \"provider_ts\": \"1.2\"}"
    [[ $(field .outcome) == applied ]]
    as_service POST /v1/internal/assignment "{\"conversation_id\": \"$CONVERSATION\",
        \"session_id\": \"018f0000-0000-7000-8000-000000000001\", \"version\": 1,
        \"state\": \"queued\"}"
    [[ $(field .outcome) == applied ]]
    # shellcheck disable=SC2016 # for jq
    eventually 5 jq -es 'any(.type == "conversation.owner" and .data.owner_kind == "none") and
        any(.type == "message.delivery" and .data.delivery.state == "delivered")' "$EVENTS"
    # The reply gets its thread meanwhile, which is an event as well.
    eventually 5 is_whole_to_head
}
is_whole_to_head() { is_whole 1 "$(head_seq)"; }

@test "a client goes on after the seq it names; a place that cannot be is told to start anew" {
    writes "one topic"
    writes "another matter"
    follow 20 --since 2
    eventually 5 is_whole 3 "$(head_seq)"
    follow 20 --since 9999
    eventually 5 has_types resync_required
    [[ $(jq -r .seq "$EVENTS") == "$(head_seq)" ]]
    writes "parking permits expire during winter holidays"
    eventually 5 has_types "resync_required thread.created message.created"
}

@test "a history that is gone is one resync_required, and what follows comes" {
    writes "one topic"
    psql "$DATABASE_URL" -Xqc "delete from messaging.conversation_events
        where conversation_id = '$CONVERSATION'"
    follow 20 --since 0
    eventually 5 has_types resync_required
    writes "parking permits expire during winter holidays"
    eventually 5 has_types "resync_required thread.created message.created"
}

@test "several conversations come in one stream, whose place names each of them" {
    local first=$CONVERSATION
    writes "one topic"
    open_conversation
    writes "another matter"
    run curl -sN --max-time 2 -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
        "$MESSAGING_URL/v1/stream?conversation_id=$first&conversation_id=$CONVERSATION&since=$first:1"
    [[ $output == *"id: $first:2"* && $output != *"$CONVERSATION\",\"data"* ]]
    run curl -sN --max-time 2 -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
        -H "Last-Event-ID: $first:1,$CONVERSATION:1" \
        "$MESSAGING_URL/v1/stream?conversation_id=$first&conversation_id=$CONVERSATION"
    [[ $(grep -c '^data:' <<<"$output") == 2 ]]
    # The last place names both; which came first is not said.
    [[ $(grep '^id:' <<<"$output" | tail -n 1) == "id: $first:2,$CONVERSATION:2" ]]
}

@test "what cannot be followed is refused before the stream begins" {
    agent GET "/v1/stream"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /query/conversation_id ]]
    agent GET "/v1/stream?conversation_id=x"
    [[ $STATUS == 422 ]]
    agent GET "/v1/stream?conversation_id=$CONVERSATION&since=-1"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /query/since ]]
    agent GET "/v1/stream?conversation_id=018f0000-0000-7000-8000-000000000000"
    [[ $STATUS == 404 ]]
    ask nonsense GET "/v1/stream?conversation_id=$CONVERSATION"
    [[ $STATUS == 401 ]]
}

# With KEY, KEY_ID of a new key: a stream, a WebSocket and a Socket.IO client in the background.
follow_with_key() {
    KEY=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$SWITCHBOARD_TENANT" --role viewer |
        tail -n 1)
    KEY_ID=${KEY#sb_} KEY_ID=${KEY_ID%%_*}
    python3 "$BATS_TEST_DIRNAME/held.py" "$MESSAGING_URL" "$KEY" "$CONVERSATION" \
        >"$EVENTS" 3>&- &
    FOLLOWERS+=($!)
    eventually 15 grep -q ready "$EVENTS"
}
are_cut() { [[ $(grep -c '^cut' "$EVENTS") == 3 ]]; }

@test "who revokes a key cuts off those who follow by it, at once" {
    follow_with_key
    # Not by a limit of time: they are there as long as the key is.
    writes "one topic"
    eventually 5 test "$(grep -c '^event' "$EVENTS")" -ge 1
    "$SWITCHBOARD_BIN/messaging" keys revoke "$KEY_ID"
    eventually 2 are_cut
    grep -qx 'cut websocket 1008' "$EVENTS"
}

@test "a revocation that Redis does not tell of is found within seconds" {
    follow_with_key
    REDIS_URL=redis://127.0.0.1:1 "$SWITCHBOARD_BIN/messaging" keys revoke "$KEY_ID"
    eventually 8 are_cut
}
