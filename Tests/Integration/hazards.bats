#!/usr/bin/env bats
# The hazards of the design, each with what would go wrong without its rule.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153
load stack

setup_file() {
    load stack
    CHANNEL=hazards-$RANDOM$RANDOM
    export CHANNEL
    prepare_channel "$CHANNEL"
}
setup() { open_conversation "$CHANNEL"; }

emits() { # KEY VERSION
    printf "select platform.emit('messaging', id, code, 'test.hazard', '%s', %s, '{}')
        from platform.tenants where code = '%s';" "$1" "$2" "$SWITCHBOARD_TENANT"
}
is_published() {
    [[ $(sql "select bool_and(published_at is not null) from platform.outbox where key = '$1'") == t ]]
}

@test "H2: no function of the schemas notifies, so no commit waits for another's" {
    [[ $(sql "select coalesce(string_agg(p.oid::regproc::text, ' '), '') from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('platform', 'messaging', 'assignment', 'dispatch')
        and p.prosrc ~* '[[:space:];]notify[[:space:]]|pg_notify'") == "" ]]
    # What a service does beside its functions takes no lock of NOTIFY either.
    says "topic" && [[ $STATUS == 201 ]]
    [[ $(sql "select count(*) from pg_locks where locktype = 'object'
        and classid = 'pg_database'::regclass and database = 0") == 0 ]]
}

@test "H3: a long transaction hides nobody's events, and its own come when it commits" {
    local long=long-$RANDOM$RANDOM
    # psql reads on, so that the transaction stays open for as long as we like.
    mkfifo "$BATS_TEST_TMPDIR/in"
    psql --no-psqlrc -qAtX "$DATABASE_URL" <"$BATS_TEST_TMPDIR/in" >/dev/null 3>&- &
    local client=$!
    exec 8>"$BATS_TEST_TMPDIR/in"
    printf 'begin; %s\n' "$(emits "$long" 1)" >&8
    eventually 5 a_transaction_is_open
    says "topic" && [[ $STATUS == 201 ]]
    eventually 5 is_published "$CONVERSATION"
    a_transaction_is_open
    printf 'commit;\n' >&8
    exec 8>&-
    wait "$client"
    eventually 5 is_published "$long"
}
a_transaction_is_open() {
    [[ $(sql "select count(*) from pg_stat_activity where state = 'idle in transaction'
        and query like '%test.hazard%'") == 1 ]]
}

@test "H3: two writers of one key: ids, versions and the stream keep the same order" {
    local i pids=()
    for i in {1..20}; do
        says "topic $i" 3>&- &
        pids+=($!)
        replies "reply $i" 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    eventually 20 is_published "$CONVERSATION"
    [[ $(sql "select count(*) >= 40 from platform.outbox
        where key = '$CONVERSATION' and kind = 'event'") == t ]]
    [[ $(sql "select count(*) from (select key_version, lag(key_version) over (order by id) before
        from platform.outbox where key = '$CONVERSATION' and kind = 'event') o
        where before > key_version") == 0 ]]
    redis --json XRANGE switchboard:events - + |
        jq -r --arg key "$CONVERSATION" '.[] | .[1] | [range(0; length; 2) as $i
            | {key: .[$i], value: .[$i + 1]}] | from_entries | select(.key == $key) | .version' \
            >"$BATS_TEST_TMPDIR/versions"
    (($(wc -l <"$BATS_TEST_TMPDIR/versions") >= 40))
    sort -n -c "$BATS_TEST_TMPDIR/versions"
}

# twice COMMAND…: the answer to a request and to its repeat, byte by byte.
twice() {
    local first status key=twice-$RANDOM$RANDOM
    "$@" -H "Idempotency-Key: $key"
    first=$BODY status=$STATUS
    [[ $status == 20* ]] || { echo "$* answered $STATUS $BODY" && return 1; }
    # Whatever the request set going has been done by now.
    eventually 20 outbox_is_empty
    "$@" -H "Idempotency-Key: $key" -D "$BATS_TEST_TMPDIR/head"
    [[ $STATUS == "$status" && $BODY == "$first" ]] || {
        printf '%s\nfirst  %s %s\nrepeat %s %s\n' "$*" "$status" "$first" "$STATUS" "$BODY"
        return 1
    }
    grep -qi '^Idempotency-Replayed: true' "$BATS_TEST_TMPDIR/head"
}

@test "H6: a repeat answers what the first request did, whatever has happened since" {
    prepare_team
    twice says "hello" '{}'
    says "what is replayed is not read anew"
    twice replies "good morning"
    twice messaging POST "/v1/messages/$(field .message.id)/auto-assign" ""
    twice messaging POST "/v1/conversations/$CONVERSATION/handover" "{\"team_id\": \"$TEAM\"}"
    local session
    session=$(field .session.id)
    twice dispatch POST /v1/message-requests "{\"channel_code\": \"$CHANNEL\", \"text\": \"x\"}"
    twice engine POST "/v1/sessions/$session/close" '{}'
    twice messaging POST /v1/conversations \
        "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"h6-$RANDOM$RANDOM\"}}"
}

growing="platform.outbox platform.idempotency platform.audit assignment.assignment_decisions
    dispatch.attempts"

@test "H19: what only grows is partitioned a week ahead; a service that starts makes what is missing" {
    local table ahead
    ahead=$(date -u -d '+6 days' +%Y%m%d)
    for table in $growing; do
        [[ $(sql "select relkind from pg_class where oid = to_regclass('$table')") == p ]]
        exists "${table}_$ahead"
        sql "drop table ${table}_$ahead"
    done
    restart_with "" messaging
    for table in $growing; do exists "${table}_$ahead"; done
}
exists() { [[ $(sql "select to_regclass('$1') is not null") == t ]]; }

@test "H20: three replicas of each service under load leave room in 100 connections" {
    cd "$BATS_TEST_DIRNAME/../.." || return
    compose/local run --replicas 3 -- bash Tests/Integration/connections.sh
}

make_key() {
    KEY=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$SWITCHBOARD_TENANT" --role viewer |
        tail -n 1)
    KEY_ID=${KEY#sb_}
    KEY_ID=${KEY_ID%_*}
}
key_is() {
    local url
    for url in "$MESSAGING_URL" "$ASSIGNMENT_ENGINE_URL" "$DISPATCH_WORKER_URL"; do
        call "$KEY" GET "$url/health"
        [[ $STATUS == "$1" ]] || return 1
    done
}

@test "H21: a revoked key is refused at once by every service" {
    make_key
    key_is 200
    "$SWITCHBOARD_BIN/messaging" keys revoke "$KEY_ID"
    eventually 1 key_is 401
    [[ $(sql "select count(*) from platform.audit where action = 'key.revoke'
        and subject = '$KEY_ID'") == 1 ]]
    run "$SWITCHBOARD_BIN/messaging" keys revoke "$KEY_ID"
    [[ $status -ne 0 && $output == *"there is no valid key '$KEY_ID'"* ]]
}

@test "H21: without Redis a revoked key is refused within 5 s" {
    make_key
    key_is 200
    take_away redis
    "$SWITCHBOARD_BIN/messaging" keys revoke "$KEY_ID"
    eventually 6 key_is 401
    mend_stack
}

@test "H21: a key is looked up once in 5 s, not at every request" {
    make_key
    local before asked=0 end=$((SECONDS + 4))
    before=$(lookups)
    while ((SECONDS < end)); do
        call "$KEY" GET "$MESSAGING_URL/v1/handler/status"
        [[ $STATUS == 200 ]]
        asked=$((asked + 1))
    done
    # A session that has nothing to do tells its counts ten seconds late.
    eventually 15 was_looked_up_since "$before"
    ((asked >= 40 && $(lookups) - before <= 5))
}
was_looked_up_since() { (($(lookups) > $1)); }
lookups() {
    sql "select idx_scan + seq_scan from pg_stat_user_tables
        where schemaname = 'platform' and relname = 'api_keys'"
}

@test "C2: one message request becomes one job, however often its event is delivered" {
    local text=c2-$RANDOM$RANDOM id entry
    dispatch POST /v1/message-requests "{\"channel_code\": \"$CHANNEL\", \"text\": \"$text\"}"
    id=$(field .id)
    eventually 20 request_is sent "$id"
    entry=$(redis --json XRANGE switchboard:events - + | jq -c --arg id "$id" '[.[] | .[1] |
        select(index("message_request.accepted") and (tostring | contains($id)))][0]')
    mapfile -t entry < <(jq -r '.[]' <<<"$entry")
    local i skipped
    skipped=$(metric "$DISPATCH_WORKER_URL" dispatch_skipped_total)
    for i in 1 2 3 4 5; do
        # Not even the lock is there to help: the state in PostgreSQL decides.
        redis DEL "mr:dispatch:{$SWITCHBOARD_TENANT}:$id" >/dev/null
        redis XADD switchboard:events '*' "${entry[@]}" >/dev/null
    done
    eventually 10 all_events_read
    dispatch GET "/v1/message-requests/$id"
    [[ $(field .status) == sent && $(field '.attempts | length') == 1 ]]
    [[ $(delivered "$CHANNEL" "$text") == 1 ]]
    # Each of the five is seen to be one too many.
    eventually 5 has_skipped $((skipped + 5))
}
has_skipped() { [[ $(metric "$DISPATCH_WORKER_URL" dispatch_skipped_total) == "$1" ]]; }
all_events_read() {
    dispatch GET /health
    [[ $(field .stream.lag) == 0 ]]
}

@test "metrics show the pools of each service: connections, who waits, commands and requests under way" {
    local name url
    for url in "$MESSAGING_URL" "$ASSIGNMENT_ENGINE_URL" "$DISPATCH_WORKER_URL"; do
        curl -sS --max-time 5 "$url/metrics" >"$BATS_TEST_TMPDIR/metrics"
        for name in postgres_pool_connected postgres_readers_connected \
            'redis_commands_total{server="redis"}'; do
            awk -v name="$name" '$1 == name && $2 > 0 { found = 1 } END { exit !found }' \
                "$BATS_TEST_TMPDIR/metrics"
        done
        for name in postgres_pool_in_use postgres_pool_waiting postgres_pool_exhausted_total \
            postgres_reads_in_flight http_client_in_flight http_client_waiting \
            'redis_commands_pending{server="redis"}'; do
            grep -qF "$name " "$BATS_TEST_TMPDIR/metrics"
        done
    done
}

@test "D11: health shows components, round trips, policies, lags and versions" {
    local service
    for service in messaging engine dispatch; do
        "$service" GET /health
        [[ $STATUS == 200 && $(field .status) == ready && $(field .version) == *.*.* ]]
        [[ $(field '.postgres.round_trip_ms > 0 and .redis.round_trip_ms > 0') == true ]]
        [[ $(field '.postgres.server_version >= 15 and (.redis.server_version | tostring
            | startswith("7") or startswith("8"))') == true ]] || field .
        [[ $(field .redis.maxmemory_policy) == noeviction && $(field .redis.mode) != null ]]
        [[ $(field '.policies | length > 0') == true && $(field '.degraded | type') == object ]]
        [[ $(field '.outbox.pending >= 0 and .outbox.oldest_s >= 0') == true ]]
    done
    messaging GET /health
    [[ $(field '.policies | keys_unsorted | sort | join(" ")') == \
        "ai_job_status caches conversation_lock events message_lock presence rate_limit realtime sessions" ]]
    engine GET /health
    [[ $(field .rr_provider) == redis && $(field '.stream.reports_lag | type') == number ]]
    for service in engine dispatch; do
        "$service" GET /health
        [[ $(field '.stream.lag | type') == number ]]
    done
}
