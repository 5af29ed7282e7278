#!/usr/bin/env bats
# The queue between accepting and sending: one job a request in its tenant's BullMQ queue, which is
# a hint that Redis may lose and PostgreSQL makes good.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

setup_file() { local_channel; }

queue_key() { echo "bull:{$SWITCHBOARD_TENANT}:send-message:$1"; }
# queue COMMAND …: another client of the tenant's queue.
queue() {
    "$SWITCHBOARD_BIN/dispatch-worker" queue "$1" -q send-message \
        --prefix "bull:{$SWITCHBOARD_TENANT}" "${@:2}"
}
job_state() { queue state "$1"; }
within() {
    local tenths=$(($1 * 10))
    shift
    while ((tenths-- > 0)); do
        ! "$@" || return 0
        sleep 0.1
    done
    return 1
}
pauses() {
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$LOCAL\"}, \"reason\": \"looks\"}"
    PAUSE=$(field .id)
}
goes_on() { admin DELETE "/v1/pauses/$PAUSE"; }
has_job() { [[ $(redis exists "$(queue_key "$1.1")") == 1 ]]; }
has_no_job() { [[ $(redis exists "$(queue_key "$1.1")") == 0 ]]; }
is_delayed() { [[ -n $(redis zscore "$(queue_key delayed)" "$1") ]]; }
# A sweep is due; one may come before what it is to find is overdue.
sent_by_a_sweep() {
    redis del dispatch:sweep >/dev/null
    becomes sent 10
}
# What Redis knows of sending is gone, and the next sweep is at once.
forgets() { redis flushall >/dev/null; }

@test "a request has one job, which holds its reference and nothing else" {
    pauses
    sends "one job $TAG" "$LOCAL" '{"thread_ts": "1.000001", "metadata": {"a": "b"}}'
    becomes dispatched && within 5 is_delayed "$ID.1"
    [[ $(redis hget "$(queue_key "$ID.1")" name) == send-message ]]
    [[ $(redis hget "$(queue_key "$ID.1")" data | jq -cS .) == \
        "$(jq -ncS --arg id "$ID" --arg tenant "$SWITCHBOARD_TENANT" \
            '{messageRequestId: $id, tenant: $tenant, threadTs: "1.000001"}')" ]]
    [[ $(redis hget "$(queue_key meta)" opts.maxLenEvents) == 500 ]]
    # Its event comes again and again, also without the lock.
    local n
    for n in 1 2 3 4 5; do
        redis del "mr:dispatch:{$SWITCHBOARD_TENANT}:$ID" >/dev/null
        redis xadd switchboard:events '*' id "$(cat /proc/sys/kernel/random/uuid)" \
            name message_request.accepted tenant "$SWITCHBOARD_TENANT" key "$ID" at x \
            data "{\"id\": \"$ID\", \"generation\": 1}" >/dev/null
    done
    goes_on
    becomes sent
    # Nothing stays of a job that is done.
    within 5 has_no_job "$ID"
    [[ $(outbox "$LOCAL" | grep -cx "one job $TAG") == 1 ]]
}

@test "Redis forgets everything: what waits has its job again, and is sent once" {
    pauses
    local ids=() n
    for n in 1 2 3; do sends "forgotten $TAG $n" && becomes dispatched && ids+=("$ID"); done
    within 5 is_delayed "$ID.1"
    local held=$ID
    sends "later $TAG" "$LOCAL" "{\"send_at\": \"$(date -u -d '+2 seconds' +%FT%TZ)\"}"
    becomes dispatched
    forgets
    has_no_job "$held"
    goes_on
    for ID in "${ids[@]}"; do becomes sent 150; done
    for n in 1 2 3; do [[ $(outbox "$LOCAL" | grep -cx "forgotten $TAG $n") == 1 ]]; done
    # It was not due yet when the sweep came that followed the loss; the next one is let in at once.
    later() { redis del dispatch:sweep >/dev/null && outbox "$LOCAL" | grep -qx "later $TAG"; }
    within 15 later
}

@test "a job that is lost alone is missed by the sweep and made again" {
    sends "lost alone $TAG" "$LOCAL" "{\"send_at\": \"$(date -u -d '+2 seconds' +%FT%TZ)\"}"
    becomes dispatched && within 5 has_job "$ID"
    queue remove "$ID.1" --yes
    has_no_job "$ID"
    within 10 sent_by_a_sweep
    [[ $(curl -sS "$DISPATCH_WORKER_URL/metrics" | awk '/^dispatch_jobs_requeued_total/ {print $2}') != 0 ]]
}

@test "what was dispatched late has its job, and is not looked for again; what is brought forward is" {
    # In one transaction, so that nobody sends it meanwhile.
    local found
    found=$(psql -qtAX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "begin;
        create temp table late on commit drop as
          select t.id as tenant, ((dispatch.accept(t.id, t.code, gen_random_uuid(),
              jsonb_build_object('channel_code', '$LOCAL', 'text', 'late'), null, null, null, null,
              null, 'test', 'r'))->'request'->>'id')::uuid as id
            from platform.tenants t where code = '$SWITCHBOARD_TENANT';
        update dispatch.message_requests m set next_attempt_at = now() - interval '5 s'
          from late where m.tenant_id = late.tenant and m.id = late.id;
        select d.dispatched from late, dispatch.mark_dispatched(array[tenant], array[id], array[1]) d;
        select count(*) from late join dispatch.unqueued(1000, interval '3 s') u using (id);
        update dispatch.message_requests m set next_attempt_at = now() - interval '6 s'
          from late where m.tenant_id = late.tenant and m.id = late.id;
        select count(*) from late join dispatch.unqueued(1000, interval '3 s') u using (id);
        select dispatch.note_queued(array[tenant], array[id], array[1]) from late;
        select count(*) from late join dispatch.unqueued(1000, interval '3 s') u using (id);
        rollback")
    [[ $(xargs <<<"$found") == "t 0 1 0" ]]
}

@test "a job that cannot be queued frees its lock; the request goes when the queue works again" {
    redis del "$(queue_key meta)" >/dev/null
    redis set "$(queue_key meta)" broken >/dev/null
    sends "unqueued $TAG" && becomes dispatched
    unlocked() { [[ $(redis exists "mr:dispatch:{$SWITCHBOARD_TENANT}:$ID") == 0 ]]; }
    within 5 unlocked
    has_no_job "$ID"
    redis del "$(queue_key meta)" >/dev/null
    within 10 sent_by_a_sweep
    [[ $(outbox "$LOCAL" | grep -cx "unqueued $TAG") == 1 ]]
}

@test "a job of another producer whose request is nowhere yet waits for it, and sends it" {
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    queue add send-message "{\"messageRequestId\": \"$id\", \"tenant\": \"$SWITCHBOARD_TENANT\"}" --id early
    within 8 is_delayed early
    # It is stored without the event that would make a job of its own.
    sql "begin; select dispatch.accept(id, code, '$id', jsonb_build_object('channel_code', '$LOCAL',
            'text', 'early $TAG'), null, null, null, null, null, 'test', 'r')
            from platform.tenants where code = '$SWITCHBOARD_TENANT';
        delete from platform.outbox where key = '$id'; commit" >/dev/null
    ID=$id
    becomes sent 100
    [[ $(outbox "$LOCAL" | grep -cx "early $TAG") == 1 ]]
}

@test "a job whose request stays nowhere is given up after a minute, not before" {
    local id past
    id=$(cat /proc/sys/kernel/random/uuid)
    past=$((($(date +%s) - 61) * 1000))
    queue add send-message "{\"messageRequestId\": \"$id\", \"tenant\": \"$SWITCHBOARD_TENANT\"}" \
        --id old --opts "{\"timestamp\": $past}"
    gone() { [[ $(redis exists "$(queue_key old)") == 0 ]]; }
    within 8 gone
}

@test "a job that is none of ours fails for good, and says why" {
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    queue add send-message "{\"messageRequestId\": \"$id\", \"tenant\": \"somebody-else\"}" --id foreign
    queue add send-message "{\"messageRequestId\": \"$id\", \"tenant\": \"$SWITCHBOARD_TENANT\", \"token\": \"x\"}" --id odd
    failed() { [[ $(job_state foreign) == failed && $(job_state odd) == failed ]]; }
    within 10 failed
    [[ $(redis hget "$(queue_key odd)" failedReason) == *"the member 'token' is unknown"* ]]
    queue remove foreign --yes
    queue remove odd --yes
}

@test "a policy sets how a tenant is served; above its backlog nothing more is accepted" {
    agent GET /v1/tenant/dispatch-policy
    [[ $(field .max_in_flight) == 8 && $(field .weight) == 1 ]]
    pauses
    sends "backlog $TAG" && becomes dispatched && within 5 has_job "$ID"
    admin PUT /v1/tenant/dispatch-policy '{"max_queued": 1, "weight": 2}'
    [[ $STATUS == 200 && $(field .max_queued) == 1 && $(field .max_in_flight) == 8 ]]
    refused() {
        agent POST /v1/message-requests "{\"channel_code\": \"$LOCAL\", \"text\": \"too many\"}"
        [[ $STATUS == 429 && $(field .code) == tenant_backlog && $(field .retry_after_ms) -gt 0 ]]
    }
    within 5 refused
    admin PUT /v1/tenant/dispatch-policy '{"max_queued": 1000000, "weight": 1}'
    accepted() { sends "after it $TAG"; }
    within 5 accepted
    goes_on
    becomes sent
    admin PUT /v1/tenant/dispatch-policy '{"weight": 0}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /weight ]]
}

@test "slack: two tenants with channels of the same names post each under its own token" {
    slack xoxb-team-T0MINE C0SHARED
    local other=team-$RANDOM$RANDOM key n found
    key=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$other" --role admin | tail -n 1)
    ask "$key" PUT "/v1/workspaces/$SLACK" \
        "{\"provider\": \"slack\", \"token\": \"xoxb-team-T0OTHER\", \"api_base_url\": \"$SLACK_STAND_IN_URL/api\"}"
    [[ $STATUS == 201 ]]
    ask "$key" PUT "/v1/channels/$SLACK" \
        "{\"workspace_code\": \"$SLACK\", \"provider_channel_id\": \"C0SHARED\", \"rate\": {\"per_second\": 50, \"burst\": 10}}"
    [[ $STATUS == 201 ]]
    # Some have to be looked for: a look is made under the own token as well, and none is sent twice.
    stand_in '{"fault": "reset_after_acceptance", "count": 4}'
    for n in {1..10}; do
        sends "own $TAG T0MINE $n" "$SLACK"
        ask "$key" POST /v1/message-requests "{\"channel_code\": \"$SLACK\", \"text\": \"own $TAG T0OTHER $n\"}"
        [[ $STATUS == 202 ]]
    done
    within 60 all_twenty
    found=$(posts "own $TAG" | jq -r '"\(.team) \(.text)"' | sort)
    [[ $(wc -l <<<"$found") == 20 && $(uniq <<<"$found" | wc -l) == 20 ]]
    [[ $(awk '$1 != $4' <<<"$found") == "" ]] || { echo "$found" && false; }
}
all_twenty() {
    [[ $(sql "select count(*) from dispatch.message_requests where channel_code = '$SLACK' and status = 'sent'") == 20 ]]
}

@test "one tenant's backlog does not hold another's messages up" {
    local other key
    other=fair-$RANDOM$RANDOM
    key=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$other" --role admin | tail -n 1)
    ask "$key" PUT /v1/workspaces/w '{"provider": "local"}'
    ask "$key" PUT /v1/channels/c '{"workspace_code": "w", "provider_channel_id": "C", "rate": {"per_second": 1000, "burst": 100}}'
    [[ $STATUS == 201 ]]
    another_channel "$TAG-fair" "$LOCAL" C0FAIR '{"rate": {"per_second": 1000, "burst": 100}}'
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$TAG-fair\"}, \"reason\": \"backlog\"}"
    PAUSE=$(field .id)
    sql "select count(dispatch.accept(t.id, t.code, gen_random_uuid(), jsonb_build_object('channel_code',
            '$TAG-fair', 'text', 'backlog'), null, null, null, null, null, 'test', 'r'))
        from platform.tenants t, generate_series(1, 800) where t.code = '$SWITCHBOARD_TENANT'" >/dev/null
    waits() { [[ $(sql "select count(*) from dispatch.message_requests
        where channel_code = '$TAG-fair' and job_due_at is null") == 0 ]]; }
    within 20 waits
    goes_on
    local n
    for n in 1 2 3 4 5 6 7 8 9 10; do
        ask "$key" POST /v1/message-requests '{"channel_code": "c", "text": "quick"}'
        [[ $STATUS == 202 ]]
    done
    quick() { [[ $(sql "select count(*) from dispatch.local_outbox o join platform.tenants t
        on t.id = o.tenant_id where t.code = '$other'") == 10 ]]; }
    within 20 quick
    all() { [[ $(sql "select count(*) from dispatch.local_outbox where channel_code = '$TAG-fair'") == 800 ]]; }
    # What a worker had in its hands when the pause ended is not put off by it any more.
    within 20 all
    # When the other's last one left, most of the backlog was still there.
    local behind
    behind=$(sql "select count(*) from dispatch.local_outbox where channel_code = '$TAG-fair'
        and delivered_at > (select max(o.delivered_at) from dispatch.local_outbox o
            join platform.tenants t on t.id = o.tenant_id where t.code = '$other')")
    echo "$behind of 800 left later" | sed 's/^/# /' >&3
    ((behind > 200))
}
