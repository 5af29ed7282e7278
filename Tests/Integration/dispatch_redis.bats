#!/usr/bin/env bats
# What dispatch-worker keeps in Redis, and what happens when it is gone: locks that prove nothing, a
# projection that can be made again.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

setup_file() { local_channel; }

# between KEY MIN MAX: its time to live in milliseconds.
between() {
    local left
    left=$(redis pttl "$1")
    ((left > $2 && left <= $3)) || { echo "$1 lives for $left ms" && return 1; }
}

@test "the dispatch lock lives for five minutes, and without it there is still no second message" {
    sends "locked $TAG" "$LOCAL" && becomes sent
    local key="mr:dispatch:{$SWITCHBOARD_TENANT}:$ID"
    between "$key" 280000 300000
    # It runs out, and the event comes again, five times.
    redis del "$key" >/dev/null
    for _ in 1 2 3 4 5; do
        redis xadd switchboard:events '*' id "$(cat /proc/sys/kernel/random/uuid)" \
            name message_request.accepted tenant "$SWITCHBOARD_TENANT" key "$ID" at x \
            data "{\"id\": \"$ID\", \"generation\": 1}" >/dev/null
    done
    sends "after it" && becomes sent
    [[ $(outbox "$LOCAL" | grep -cx "locked $TAG") == 1 ]]
    agent GET "/v1/message-requests?q=locked%20$TAG"
    [[ $(field '.items[0].status') == sent ]]
}

@test "slack: the send lock lives for ten minutes, belongs to its attempt, and stays while unknown" {
    slack xoxb-good C0BATS park
    stand_in '{"fault": "slow", "delay_ms": 1500}'
    sends "slow $TAG" "$SLACK" && becomes sending
    local key="mr:send:{$SWITCHBOARD_TENANT}:$ID" owner
    between "$key" 580000 600000
    owner=$(redis get "$key")
    [[ $(psql -qtA "$DATABASE_URL" -c "select attempt_token from dispatch.message_requests where id = '$ID'") == "$owner" ]]
    becomes sent
    [[ $(redis exists "$key") == 0 ]]
    stand_in '{"fault": "reset_after_acceptance"}'
    sends "unclear $TAG" "$SLACK" && becomes unknown
    key="mr:send:{$SWITCHBOARD_TENANT}:$ID"
    [[ $(redis exists "$key") == 1 ]]
    # It runs out: nobody sends again what may have been sent.
    redis del "$key" >/dev/null
    never sent 30
    [[ $(delivered "unclear $TAG") == 1 ]]
}

@test "what is to be sent is read from Redis, from PostgreSQL when Redis has lost it" {
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$LOCAL\"}, \"reason\": \"looks\"}"
    local pause
    pause=$(field .id)
    sends "first text" && becomes dispatched
    local key="mr:projection:{$SWITCHBOARD_TENANT}:$ID" tenths=50
    while ((tenths-- > 0)) && [[ $(redis exists "$key") == 0 ]]; do sleep 0.1; done
    [[ $(redis hget "$key" document | jq -r .text) == "first text" ]]
    redis hset "$key" document \
        "$(redis hget "$key" document | jq -c '.text = "from Redis"')" >/dev/null
    sends "second text" && becomes dispatched
    redis del "mr:projection:{$SWITCHBOARD_TENANT}:$ID" >/dev/null
    admin DELETE "/v1/pauses/$pause"
    becomes sent
    tenths=50
    while ((tenths-- > 0)) && ! outbox "$LOCAL" | grep -qx "from Redis"; do sleep 0.1; done
    outbox "$LOCAL" | grep -qx "from Redis"
    outbox "$LOCAL" | grep -qx "second text"
}

@test "what became of a message is in the projection and in the stream within a second" {
    local key finished event
    sends "outcome $TAG" "$LOCAL" && becomes sent
    key="mr:projection:{$SWITCHBOARD_TENANT}:$ID"
    sleep 1
    [[ $(redis hget "$key" status) == sent ]]
    [[ $(redis hget "$key" provider_ts) == "$(field .provider_ts)" ]]
    finished=$(psql -qtA "$DATABASE_URL" -c "select (extract(epoch from finished_at) * 1000)::bigint
        from dispatch.message_requests where id = '$ID'")
    # An entry's id begins with when it was written.
    event=$(redis --json xrevrange switchboard:events + - count 200 | jq -r --arg id "$ID" \
        '[.[] | select(.[1] | index("message_request.sent") and index($id)) | .[0]][0]')
    echo "finished at $finished, told with $event"
    ((${event%-*} - finished < 1000))
}

@test "a command makes the projection again from PostgreSQL" {
    sends "projected $TAG" && becomes sent
    local key="mr:projection:{$SWITCHBOARD_TENANT}:$ID"
    redis del "$key" >/dev/null
    run "$SWITCHBOARD_BIN/dispatch-worker" rebuild-projection --tenant "$SWITCHBOARD_TENANT"
    [[ $status == 0 && $output == *"projected "*" message requests"* ]]
    [[ $(redis hget "$key" status) == sent ]]
    [[ $(redis hget "$key" document | jq -r .text) == "projected $TAG" ]]
}

@test "the keys of one tenant share its hash tag" {
    sends "tagged $TAG" && becomes sent
    local keys
    keys=$(redis --scan | grep -F "$ID")
    [[ $(wc -l <<<"$keys") -ge 2 ]]
    [[ $(grep -cF "{$SWITCHBOARD_TENANT}" <<<"$keys") == "$(wc -l <<<"$keys")" ]]
}

@test "when Redis has forgotten everything, what is due later has its job again at once" {
    # All but the first wait for their slots, in jobs that are put off by up to eleven seconds.
    another_channel "$TAG-slow" "$LOCAL" C0SLOW '{"rate": {"per_second": 1, "burst": 1}}'
    for i in {1..12}; do sends "forgotten $TAG $i" "$TAG-slow"; done
    local waiting="select count(*) from dispatch.message_requests
        where channel_code = '$TAG-slow' and status <> 'sent' and next_attempt_at > now() + interval '3 s'"
    for _ in {1..50}; do (($(sql "$waiting") > 3)) && break || sleep 0.1; done
    (($(sql "$waiting") > 3))
    # They were accepted longer ago than events are read again.
    sql "delete from platform.outbox where target = 'message_request.accepted' and published_at is not null"
    # Processes look once a second whose turn it is.
    sleep 1.2
    redis FLUSHALL >/dev/null
    for _ in {1..40}; do [[ $(outbox "$TAG-slow" | wc -l) == 12 ]] && break || sleep 0.5; done
    [[ $(outbox "$TAG-slow" | sort | uniq -d) == "" && $(outbox "$TAG-slow" | wc -l) == 12 ]]
}
