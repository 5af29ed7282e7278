#!/usr/bin/env bats
# Many messages to a Slack that resets, limits, fails, hangs and answers nonsense: each has to be
# there once. 500 of them, or 5,000 with SWITCHBOARD_LONG=1.
# shellcheck disable=SC2030,SC2031,SC2153

load ../Integration/dispatch_support
load ../Integration/postgres

setup_file() {
    CHANNELS=20
    if [[ -n ${SWITCHBOARD_LONG:-} ]]; then COUNT=5000 WAIT=1500; else COUNT=500 WAIT=240; fi
    export CHANNELS COUNT WAIT BATS_TEST_TIMEOUT=$((WAIT + 240))
    TAG=proof-$RANDOM$RANDOM
    # What must not be found anywhere but sealed in the database.
    CANARY=canary$RANDOM$RANDOM$RANDOM
    export TAG CANARY
}

# accepts FIRST LAST: so many at once, by one curl on a few connections.
accepts() {
    local n
    for ((n = $1; n <= $2; n++)); do
        printf 'next\nurl = "%s/v1/message-requests"\nheader = "Authorization: Bearer %s"\n' \
            "$DISPATCH_WORKER_URL" "$SWITCHBOARD_AGENT_KEY"
        printf 'header = "Content-Type: application/json"\ndata = "%s"\noutput = "/dev/null"\nwrite-out = "%%{http_code}\\n"\n' \
            "{\\\"channel_code\\\": \\\"$TAG-$((n % CHANNELS))\\\", \\\"text\\\": \\\"$TAG $n\\\"}"
    done | sed 1d >"$BATS_TEST_TMPDIR/config"
    curl -sS --no-progress-meter --parallel --parallel-max 16 --max-time 60 -K "$BATS_TEST_TMPDIR/config" |
        sort | uniq -c | awk '{print $2 "x" $1}'
}

left() {
    psql -qtA "$DATABASE_URL" -c "select count(*) from dispatch.message_requests
        where channel_code like '$TAG-%' and status <> 'sent'"
}

@test "every message is with Slack once, whatever breaks, and nothing stays unknown" {
    [[ -n $SLACK_STAND_IN_URL ]] || skip "SLACK_STANDIN_URL is not set"
    stand_in '{"reset": true}'
    admin PUT "/v1/workspaces/$TAG" "{\"provider\": \"slack\", \"token\": \"xoxb-$CANARY\", \"signing_secret\": \"sign-$CANARY\", \"api_base_url\": \"$SLACK_STAND_IN_URL/api\"}"
    [[ $STATUS == 201 ]]
    local n
    for ((n = 0; n < CHANNELS; n++)); do
        another_channel "$TAG-$n" "$TAG" "C0PROOF$n" '{"rate": {"per_second": 10, "burst": 3}}'
    done
    stand_in '{"chaos": {"seed": 7, "delay_ms": 200, "per_mille": {"reset_before_acceptance": 50,
        "reset_after_acceptance": 50, "ratelimited": 20, "5xx": 10, "hang": 2, "html": 10,
        "cut_json": 10, "slow": 20}}}'
    local began=$SECONDS
    [[ $(accepts 1 "$COUNT") == "202x$COUNT" ]]
    # Redis forgets everything in the middle of it.
    sleep 3
    redis-cli -u "$REDIS_URL" --no-auth-warning flushall >/dev/null
    stand_in '{"forgive": true}'
    # Nor does it matter that PostgreSQL is torn down while messages are on their way.
    [[ -z ${SWITCHBOARD_STACK:-} ]] || restart_immediately
    while ((SECONDS - began < WAIT)) && [[ $(left 2>/dev/null) != 0 ]]; do sleep 1; done
    local deliveries
    deliveries=$(curl -sS --fail --max-time 20 "$SLACK_STAND_IN_URL/_deliveries")
    jq -r '.deliveries[].text' <<<"$deliveries" | sort >"$BATS_TEST_TMPDIR/delivered"
    for ((n = 1; n <= COUNT; n++)); do echo "$TAG $n"; done | sort >"$BATS_TEST_TMPDIR/wanted"
    {
        echo "took $((SECONDS - began)) s for $COUNT"
        echo "left: $(left)"
        echo "duplicates: $(uniq -d "$BATS_TEST_TMPDIR/delivered" | wc -l)"
        echo "lost: $(comm -13 "$BATS_TEST_TMPDIR/delivered" "$BATS_TEST_TMPDIR/wanted" | wc -l)"
        jq -c '.calls, .violations' <<<"$deliveries"
        psql -qtA "$DATABASE_URL" -c "select a.status, a.error, count(*) from dispatch.attempts a
            join dispatch.message_requests m on m.tenant_id = a.tenant_id and m.id = a.message_request_id
            where m.channel_code like '$TAG-%' group by 1, 2 order by 3 desc"
    } | sed 's/^/# /' >&3
    diff "$BATS_TEST_TMPDIR/wanted" "$BATS_TEST_TMPDIR/delivered"
    [[ $(left) == 0 ]]
    [[ $(jq -c .violations <<<"$deliveries") == '[]' ]]
}

@test "no planted secret is in Redis, in the logs, in the stored documents or in what errors say" {
    [[ -n $SLACK_STAND_IN_URL ]] || skip "SLACK_STANDIN_URL is not set"
    local dump=$BATS_TEST_TMPDIR/dump
    redis-cli -u "$REDIS_URL" --scan >"$dump"
    # Compressed, a secret could not be seen.
    redis-cli -u "$REDIS_URL" config set rdbcompression no >/dev/null
    redis-cli -u "$REDIS_URL" --no-auth-warning --rdb "$dump.rdb" >/dev/null 2>&1
    # What is there is found there: the dump would show the secret.
    grep -aq "$TAG" "$dump.rdb"
    cat "$dump.rdb" >>"$dump"
    [[ -s $dump ]]
    ! grep -aq "$CANARY" "$dump" || return 1
    [[ -z ${SWITCHBOARD_STACK:-} ]] || ! grep -rq "$CANARY" "$SWITCHBOARD_STACK/log" || return 1
    psql -qtA "$DATABASE_URL" -c "select event::text from (select payload::text as event from platform.outbox
        union all select before::text || after::text from platform.audit
        union all select to_jsonb(m)::text from dispatch.message_requests m) x" >"$dump"
    ! grep -aq "$CANARY" "$dump" || return 1
    admin GET "/v1/workspaces/$TAG"
    [[ $BODY != *"$CANARY"* ]]
    admin PUT "/v1/workspaces/$TAG" "{\"provider\": \"pigeon\", \"token\": \"xoxb-$CANARY\"}"
    [[ $STATUS == 422 && $BODY != *"$CANARY"* ]]
    admin PUT "/v1/workspaces/$TAG" "{\"provider\": \"slack\", \"token\": \"xoxb- $CANARY\"}"
    [[ $STATUS == 422 && $BODY != *"$CANARY"* ]]
}
