#!/usr/bin/env bats
# What callers report, and what is counted of it and of the product's own events.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153,SC2317

load assignment

setup() { own_tenant; }

# events COUNT NAME AT: a body with that many of them.
events() {
    local i ids=()
    for ((i = 0; i < $1; i++)); do ids+=("$(new_id)"); done
    printf '%s\n' "${ids[@]}" | jq -Rn --arg name "$2" --arg at "$3" \
        '{events: [inputs | {id: ., name: $name, at: $at, properties: {page: 1}}]}'
}

# counts PATH JQ-EXPRESSION: waits until it is true of the report.
counts() {
    local tenths=80
    while ((tenths-- > 0)); do
        agent GET "/v1/reports/$1"
        [[ $STATUS == 200 ]] || return 1
        ! jq -e "$2" <<<"$BODY" >/dev/null || return 0
        sleep 0.1
    done
    echo "not so: $2 in $BODY"
    return 1
}

redis() { redis-cli -u "$REDIS_URL" --no-auth-warning; }

readonly DAY="from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z"

@test "reported events are counted once, by minute and by hour" {
    local body
    body=$(events 3 page.viewed 2026-11-01T10:15:30Z)
    agent POST /v1/events "$body"
    is 202 '.accepted == 3'
    # Again, as a caller does that saw no answer.
    agent POST /v1/events "$body"
    is 202
    agent POST /v1/events "$(events 2 page.left 2026-11-01T10:16:00Z)"
    is 202
    counts "events?$DAY" '.items == [{"at": "2026-11-01T10:00:00.000Z", "counts": {"page.left": 2, "page.viewed": 3}}]'
    counts "events?$DAY&interval=minute" '[.items[].at] == ["2026-11-01T10:15:00.000Z", "2026-11-01T10:16:00.000Z"]'
}

@test "counting an event costs the same however many were counted that day" {
    # What a connection does that begins with the day: it plans while nothing has been counted yet,
    # and keeps that plan. The blocks read are what the statement costs, whatever else runs.
    local batch="select assignment.count_events((select jsonb_agg(jsonb_build_object(
        'id', gen_random_uuid(), 'tenant', '$TENANT', 'source', 'analytics', 'name', 'n',
        'at', now())) from generate_series(1, "
    local script="begin; truncate assignment.counted_events;" i
    for i in {1..7}; do script+="$batch 2)));"; done
    for i in {1..12}; do script+="$batch 500)));"; done
    local blocks
    blocks=$(psql --no-psqlrc -qAtX -v ON_ERROR_STOP=1 "$DATABASE_URL" <<<"$script
        explain (analyze, buffers, format json) $batch 100))); rollback;" |
        sed -n '/^\[/,$p' | jq '.[0].Plan["Shared Hit Blocks"]')
    echo "$blocks blocks for 100 events"
    ((blocks > 100 && blocks < 6000))
}

@test "a report is CSV for who asks for that" {
    agent POST /v1/events "$(events 1 page.viewed 2026-11-01T10:15:30Z)"
    counts "events?$DAY" '.items | length == 1'
    agent GET "/v1/reports/events?$DAY" "" -H 'Accept: text/csv'
    [[ $STATUS == 200 && $BODY == $'at,name,count\r\n2026-11-01T10:00:00.000Z,page.viewed,1\r\n' ]]
}

@test "assignments and the queue are counted from the product's own events" {
    a_team
    hands_over
    joins Anna
    becomes '.state == "assigned"'
    agent POST "/v1/sessions/$SESSION/close"
    counts assignments '[.items[].counts["session.assigned"] // 0] | add == 1'
    counts assignments '[.items[].counts["session.closed"] // 0] | add == 1'
    counts queue '[.items[].counts["session.queued"] // 0] | add == 1'
}

@test "what cannot be counted is refused, and other tenants' counts are not seen" {
    agent POST /v1/events '{"events": []}'
    is 422 '.errors[0].pointer == "/events"'
    agent POST /v1/events '{"events": [{"id": "x", "name": "Bad Name", "at": "today", "extra": 1}]}'
    is 422 '[.errors[].pointer] | sort == ["/events/0/at", "/events/0/extra", "/events/0/id", "/events/0/name"]'
    events 1001 x 2026-11-01T00:00:00Z | jq -c . >"$BATS_TEST_TMPDIR/many"
    agent POST /v1/events "@$BATS_TEST_TMPDIR/many"
    is 422 '.errors[0].pointer == "/events"'
    agent GET /v1/reports/weather
    is 404
    agent GET "/v1/reports/events?interval=day"
    is 422 '.errors[0].pointer == "/query/interval"'
    agent GET "/v1/reports/events?from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z"
    is 422 '.errors[0].pointer == "/query/from"'
    agent GET "/v1/reports/events?$DAY"
    is 200 '.items == []'
    ask "" GET /v1/reports/events
    is 401
}

@test "two processors share the work; what a killed one left is finished, and counted once" {
    # Redis gives an entry to one of the group; a dead one leaves its part unacknowledged.
    HOST=127.0.0.1 PORT=${ASSIGNMENT_ENGINE_URL##*:} REPORTS_CLAIM_IDLE_MS=1000 \
        "$SWITCHBOARD_BIN/assignment-engine" serve >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
    local second=$! tenths=100 i
    until grep -q '"serving"' "$BATS_TEST_TMPDIR/log" || ((tenths-- == 0)); do sleep 0.1; done
    for i in {1..20}; do
        agent POST /v1/events "$(events 50 shared 2026-11-01T12:00:00Z)"
        is 202
    done
    # Together, so that no live one is quicker.
    for i in {1..10}; do
        agent POST /v1/events "$(events 1 other 2026-11-01T12:00:00Z)"
        printf '%s\n' MULTI \
            "XADD analytics:events * id $(new_id) name shared tenant $TENANT at 2026-11-01T12:00:00Z data {}" \
            "XREADGROUP GROUP reports dead COUNT 10 STREAMS analytics:events >" EXEC |
            redis >>"$BATS_TEST_TMPDIR/read"
    done
    (($(grep -c '^shared' "$BATS_TEST_TMPDIR/read") >= 10))
    counts "events?$DAY" '[.items[].counts.shared // 0] | add == 1010'
    # Two that live and the dead one, and nothing left to anybody.
    local members="XINFO CONSUMERS analytics:events reports"
    (($(redis <<<"$members" | grep -c '^name$') >= 3))
    [[ $(redis <<<"$members" | grep -A 1 '^pending$' | grep -cv -e '^pending$' -e '^--$' -e '^0$') == 0 ]]
    kill -KILL "$second"
}
