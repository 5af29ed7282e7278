#!/usr/bin/env bats
# Redis killed and back. Each test begins and ends with a stack that is whole.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153
load stack

setup_file() {
    load stack
    CHANNEL=redis-$RANDOM$RANDOM
    export CHANNEL
    prepare_channel "$CHANNEL"
}
setup() { open_conversation "$CHANNEL"; }
teardown() { mend_stack; }

degraded() {
    messaging GET /health
    field ".degraded.$1 // 0"
}

degraded_since() { (($(degraded "$1") >= $2)); }

# Posts, lists and assigns again and again until the file `stop` appears; notes every status.
traffic() {
    local number=0 folder=$BATS_TEST_TMPDIR
    until [[ -e $folder/stop ]]; do
        number=$((number + 1))
        says "topic $number" "{\"external_id\": \"$CONVERSATION-$number\"}"
        printf 'post %s %s\n' "$STATUS" "$BODY" >>"$folder/statuses"
        messaging POST "/v1/messages/$(field .message.id)/auto-assign"
        printf 'assign %s %s\n' "$STATUS" "$BODY" >>"$folder/statuses"
        messaging GET "/v1/conversations/$CONVERSATION/messages"
        printf 'list %s\n' "$STATUS" >>"$folder/statuses"
        sleep 0.05
    done
}

redis_answers() { [[ $(redis PING 2>/dev/null) == PONG ]]; }

@test "Redis killed and back: messaging answers throughout, and is connected again within 2 s" {
    local before back
    before=$(degraded lock)
    traffic 3>&- &
    local traffic=$!
    eventually 10 grep -q '^list' "$BATS_TEST_TMPDIR/statuses"
    take_away redis
    eventually 10 degraded_since lock $((before + 20))
    bring_back redis
    eventually 10 redis_answers
    back=${EPOCHREALTIME/./}
    eventually 10 redis_is_connected
    (((${EPOCHREALTIME/./} - back) <= 2000000))
    touch "$BATS_TEST_TMPDIR/stop"
    wait "$traffic"
    # The room's limit is shared by nature: with Redis it may say 429 to an assignment by hand.
    run grep -vE '^(post 20[01]|assign (200|429)|list 200)' "$BATS_TEST_TMPDIR/statuses"
    [[ -z $output ]]
    (($(metric "$MESSAGING_URL" redis_degraded_total) >= 20))
    # Stored once each, and none assigned to two threads.
    [[ $(sql "select count(*) = count(distinct external_id) from messaging.messages
        where conversation_id = '$CONVERSATION' and external_id is not null") == t ]]
}

@test "without Redis a message is assigned once, however many ask at once" {
    local i pids=()
    says hello
    local message
    message=$(field .message.id)
    sql "update messaging.messages set thread_id = null, thread_state = 'deferred', method = null
        where id = '$message'"
    take_away redis
    for i in {1..20}; do
        (messaging POST "/v1/messages/$message/auto-assign" &&
            printf '%s %s\n' "$STATUS" "$(field .thread_id)" >"$BATS_TEST_TMPDIR/answer.$i") 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    run sort -u "$BATS_TEST_TMPDIR"/answer.*
    [[ ${#lines[@]} == 1 && ${lines[0]} == 200\ *-* ]]
}

@test "an operation without Redis warns once a minute, however often it is asked for" {
    restart_with "" messaging
    local begin i
    begin=$(wc -l <"$(log_of messaging.1)")
    take_away redis
    for i in {1..15}; do says "topic $i" && [[ $STATUS == 201 ]]; done
    run bash -c "tail -n +$begin '$(log_of messaging.1)' | grep 'working without Redis' |
        jq -r .op | sort | uniq -c | awk '{ print \$1 \" \" \$2 }'"
    [[ $output == *"1 lock"* && $output == *"1 rate_limit"* ]]
    run grep -v '^1 ' <<<"$output"
    [[ -z $output ]]
    # Nor does anything else flood: the outage is not told more often than about twice a second.
    (($(tail -n "+$begin" "$(log_of messaging.1)" | grep -c '"level":"warning"') <= 60))
}

@test "round robin without Redis: outcome error, 503, nothing changed; a timer assigns it later" {
    prepare_team
    local body session units
    body=$(jq -nc --arg id "$CONVERSATION" --arg team "$TEAM" \
        '{conversation_id: $id, contact_id: "c", team_id: $team, source: "handover"}')
    take_away redis
    # Another test's session may have found this agent before.
    engine GET "/v1/agents/$AGENT"
    units=$(field .active_units)
    engine POST /v1/sessions "$body" -D "$BATS_TEST_TMPDIR/head"
    [[ $STATUS == 503 && $(field .outcome) == error && $(field .retryable) == true ]]
    [[ $(field .reason) == redis_unavailable && $(field .agent_id) == null ]]
    grep -qi '^Retry-After: [0-9]' "$BATS_TEST_TMPDIR/head"
    session=$(field .session.id)
    engine GET "/v1/sessions/$session"
    [[ $(field .state) == queued && $(field .assignee_id) == null ]]
    engine GET "/v1/agents/$AGENT"
    [[ $(field .active_units) == "$units" ]]
    engine GET "/v1/sessions/$session/decisions"
    [[ $(field '.items[0].outcome') == error ]]
    engine GET /health
    [[ $(field '.degraded.round_robin >= 1') == true && $(field .stream.lag) == null ]]
    bring_back redis
    eventually 30 has_owner "$session"
    engine GET "/v1/sessions/$session/decisions"
    [[ $(field '[.items[] | select(.outcome == "assign")] | length') == 1 ]]
    [[ $(field '.items[0].source') == timer || $(field '.items[0].source') == queue ]]
    engine GET "/v1/agents/$AGENT"
    (($(field .active_units) > units))
}
has_owner() {
    engine GET "/v1/sessions/$1"
    [[ $(field .state) == assigned ]]
}

@test "dispatch-worker without Redis accepts and does not send; it sends once when Redis is back" {
    local id text=redis-$RANDOM$RANDOM
    take_away redis
    eventually 10 is_away dispatch-worker
    dispatch GET /readyz
    [[ $STATUS == 503 && $(field '.reasons[0]') == "redis is away"* ]]
    dispatch POST /v1/message-requests "{\"channel_code\": \"$CHANNEL\", \"text\": \"$text\"}"
    [[ $STATUS == 202 ]]
    id=$(field .id)
    # Longer than the lead of the projector, after which the worker would take it by itself.
    run eventually 4 is_delivered_once "$CHANNEL" "$text"
    [[ $status -ne 0 ]]
    dispatch GET "/v1/message-requests/$id"
    [[ $(field .status) == accepted && $(field '.attempts | length') == 0 ]]
    bring_back redis
    eventually 30 request_is sent "$id"
    [[ $(field '.attempts | length') == 1 && $(delivered "$CHANNEL" "$text") == 1 ]]
}

@test "events that wait for Redis do not hide the calls of other services" {
    local text=hidden-$RANDOM$RANDOM
    take_away redis
    sql "select count(platform.emit('messaging', t.id, t.code, 'test.filler', 'filler', g, '{}'))
        from platform.tenants t, generate_series(1, 600) g where t.code = '$SWITCHBOARD_TENANT'"
    replies "$text"
    [[ $STATUS == 202 ]]
    eventually 10 request_exists "$(field .message_request_id)"
}

@test "a Redis that forgot everything: nothing accepted is lost or doubled" {
    local i texts=()
    for i in {1..10}; do
        texts+=("forgotten-$RANDOM$RANDOM")
        replies "${texts[-1]}"
        [[ $STATUS == 202 ]]
        ((i % 3)) || redis FLUSHALL >/dev/null
    done
    for i in "${texts[@]}"; do eventually 30 is_delivered_once "$CHANNEL" "$i"; done
    eventually 30 outbox_is_empty
    for i in "${texts[@]}"; do is_delivered_once "$CHANNEL" "$i"; done
}

@test "lock:message:<id> is held while a message is assigned, for 30 s at most" {
    local message ttl pid
    says hello
    message=$(field .message.id)
    sql "update messaging.messages set thread_id = null, thread_state = 'deferred', method = null
        where id = '$message'"
    restart_with message.before_assign:1:hang messaging
    messaging POST "/v1/messages/$message/auto-assign" "" --max-time 1
    [[ $STATUS == 000 ]]
    ttl=$(redis PTTL "lock:message:$message")
    ((ttl > 0 && ttl <= 30000))
    pid=$(pid_of messaging.1)
    kill -KILL "$pid"
    eventually 20 has_changed messaging.1 "$pid"
    # The holder is dead and its lock still there: it ends by itself, and nobody else may free it.
    ttl=$(redis PTTL "lock:message:$message")
    ((ttl > 0 && ttl <= 30000))
    redis PEXPIRE "lock:message:$message" 300 >/dev/null
    eventually 20 is_ready messaging
    insist 200 messaging POST "/v1/messages/$message/auto-assign"
}

# The tests of messaging that need nothing which instances share by Redis.
@test "the contract of messaging holds with Redis away" {
    take_away redis
    bats --tap --filter-tags '!shared' "$BATS_TEST_DIRNAME/messaging.bats"
}

@test "one messaging without any Redis holds its whole contract" {
    cd "$BATS_TEST_DIRNAME/../.." || return
    compose/local run --no-redis -- bats --tap Tests/Integration/messaging.bats
}
