#!/usr/bin/env bash
# The limit of a room's assignments, through the service.
#
#     room_limit.sh costs|repeats|kills|waits
#
# Needs the environment of `compose/local run`, with MAX_ASSIGNMENTS_PER_WINDOW=5; the first two a
# RATE_LIMIT_WINDOW_MS of some seconds, the last a policy of `refuse` for lock and limit.
set -euo pipefail
# shellcheck source=stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"

CHANNEL=limit-$RANDOM$RANDOM
fail() {
    echo "$* (the last answer: $STATUS $BODY)"
    exit 1
}
# posts MEMBERS [curl option…]: an agent writes, so that no bot does.
posts() {
    messaging POST "/v1/conversations/$CONVERSATION/messages" "$(jq -nc --argjson more "$1" \
        '{sender: {kind: "agent", id: "a"}, text: "topic"} + $more')" "${@:2}"
}
is_assigned() { [[ $STATUS == 201 && $(field .message.thread_state) == assigned ]]; }
has_thread() {
    messaging GET "/v1/messages/$1"
    [[ $(field .thread_state) == assigned ]]
}
over() { sleep "$((RATE_LIMIT_WINDOW_MS / 1000)).3"; }
# counted: how many places of the room are taken, whatever counts them.
counted() {
    local key=rate_limit:room:$CONVERSATION
    if [[ $(redis type "$key") == zset ]]; then redis zcard "$key"; else redis get "$key"; fi
}
has_counted() { [[ $(counted | sed 's/^$/0/') == "$1" ]]; }

eventually 60 are_ready
prepare_channel "$CHANNEL"

costs() {
    local number message
    open_conversation "$CHANNEL"
    for number in {1..5}; do
        posts "{\"external_id\": \"$CONVERSATION-$number\"}"
        is_assigned || fail "a message below the limit was not assigned"
    done
    over
    for number in {1..5}; do
        posts "{\"external_id\": \"$CONVERSATION-$number\"}"
        [[ $STATUS == 200 ]] || fail "a repeat is no repeat"
    done
    eventually 2 has_counted 0 || fail "repeats take $(counted) places"
    posts '{}'
    is_assigned || fail "repeats block the room"

    open_conversation "$CHANNEL"
    for number in {1..5}; do
        posts "{\"reply_to\": \"$(new_uuid)\"}"
        [[ $STATUS == 422 ]] || fail "an answer to nothing was taken"
    done
    eventually 2 has_counted 0 || fail "refusals take $(counted) places"

    # One name in two roles is two messages; the sixth of them all waits for the timer.
    posts "{\"external_id\": \"$CONVERSATION\"}"
    posts '{"text": "another"}' -H "Idempotency-Key: $CONVERSATION"
    is_assigned || fail "a message with a key was not assigned"
    for number in {1..3}; do posts '{}'; done
    is_assigned || fail "the fifth was not assigned"
    posts '{}'
    [[ $(field .message.thread_state) == deferred ]] || fail "the sixth was not deferred"
    message=$(field .message.id)
    eventually 20 has_thread "$message" || fail "the timer did not assign the sixth"

    open_conversation "$CHANNEL"
    take_away postgres
    for number in {1..5}; do
        posts "{\"external_id\": \"$CONVERSATION-$number\"}"
        [[ $STATUS == 503 ]] || fail "there was no database"
    done
    eventually 2 has_counted 0 || fail "failures take $(counted) places"
    bring_back postgres
    eventually 60 are_ready
    echo "nothing was counted for nothing"
}

# Five are let in and then nobody knows what became of them: the process dies before they commit.
repeats() {
    local number most
    open_conversation "$CHANNEL"
    for number in {1..5}; do
        restart_with "message.before_commit:1:die" messaging
        posts "{\"external_id\": \"$CONVERSATION-$number\"}"
        [[ $STATUS == 000 ]] || fail "the process did not die"
        eventually 20 is_ready messaging
    done
    sleep 1
    has_counted 5 || fail "$(counted) places are kept of 5"
    for number in {1..5}; do
        posts "{\"external_id\": \"$CONVERSATION-$number\"}"
        is_assigned || fail "a repeat had no place"
    done
    # The places that were taken first would be free soon.
    for number in {1..40}; do
        posts "{\"external_id\": \"$CONVERSATION-n$number\"}"
        sleep 0.1
    done
    most=$(sql "select max(n) from (select count(*) over (order by created_at
          range between current row and interval '$((RATE_LIMIT_WINDOW_MS - 300)) ms' following) n
        from platform.outbox where target = 'message.assigned'
          and payload ->> 'conversation_id' = '$CONVERSATION') x")
    [[ $most == 5 ]] || fail "$most assignments in a window"
    echo "never more than 5 in a window"
}

kills() {
    local round number keys key
    for round in {1..8}; do
        for number in {1..4}; do
            open_conversation "$CHANNEL"
            (for _ in {1..20}; do posts '{}'; done) &
        done
        sleep "0.$((RANDOM % 5))"
        restart_with "" messaging
        wait
    done
    keys=0
    while read -r key; do
        (($(redis pttl "$key") > 0)) || fail "$key has no end"
        keys=$((keys + 1))
    done < <(redis --scan --pattern 'rate_limit:*' && redis --scan --pattern 'rl:*')
    ((keys >= 16)) || fail "only $keys counters: the test shows nothing"
    echo "$keys counters over $round kills, each with an end"
}

waits() {
    local message
    messaging GET /health
    [[ $(field '.policies | "\(.message_lock) \(.rate_limit)"') == "refuse refuse" ]] ||
        fail "health shows other policies"
    open_conversation "$CHANNEL"
    take_away redis
    posts '{}'
    [[ $STATUS == 201 && $(field .message.thread_state) == deferred ]] ||
        fail "a message was assigned without a limit"
    message=$(field .message.id)
    messaging POST "/v1/messages/$message/auto-assign"
    [[ $STATUS == 503 ]] || fail "a message was assigned without a lock"
    bring_back redis
    eventually 30 has_thread "$message" || fail "the timer did not assign it"
    echo "it waited for Redis"
}

"$1"
