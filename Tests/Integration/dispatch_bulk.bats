#!/usr/bin/env bats
# What concerns very many messages at once: the end of a pause, retention, cancelling by key, replays.
# None of it may be one long statement, and none may hold the others up.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

# As slow together in either: one statement for all of them would be ended by its time limit.
setup_file() {
    if [[ -n ${SWITCHBOARD_LONG:-} ]]; then
        export BATS_TEST_TIMEOUT=300 MANY=60000 SLOW=0.0001
    else
        export MANY=15000 SLOW=0.0006
    fi
    local_channel
}
teardown() {
    sql "drop trigger if exists slow on dispatch.message_requests;
        drop trigger if exists broken on dispatch.pauses;
        drop function if exists dispatch.test_slow(); drop function if exists dispatch.test_broken()"
}

within() {
    local tenths=$(($1 * 10))
    shift
    while ((tenths-- > 0)); do
        ! "$@" || return 0
        sleep 0.1
    done
    return 1
}
tenant_id() { sql "select id from platform.tenants where code = '${1:-$SWITCHBOARD_TENANT}'"; }
# rows COUNT CHANNEL COLUMNS VALUES: so many requests of the tenant, stored as they are.
rows() {
    sql "insert into dispatch.message_requests (tenant_id, id, tenant, channel_code, text, ${3:-metadata})
        select t.id, platform.uuid_v7(), t.code, '$2', 'bulk', ${4:-'{}'}
          from platform.tenants t, generate_series(1, $1) n where t.code = '$SWITCHBOARD_TENANT'"
}
pauses() {
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"$1\", \"code\": \"$2\"}, \"reason\": \"bulk\"}"
    [[ $STATUS == 201 ]]
    PAUSE=$(field .id)
}
count() { sql "select count(*) from dispatch.message_requests where channel_code = '$1' and $2"; }

@test "the end of a pause that holds very many messages is there at once; they go in batches, in order" {
    local channel=$TAG-many other
    another_channel "$channel" "$LOCAL" C0MANY
    pauses template "$TAG-t"
    other=$PAUSE
    pauses channel "$channel"
    # Due no sooner than in an hour, so that they are let go and not sent.
    local columns="status, send_at, next_attempt_at, job_due_at, last_error" held
    held="'dispatched', now() + interval '1 hour', now() + interval '2 hours', now() + interval '2 hours', 'channel_paused: bulk'"
    rows "$MANY" "$channel" "$columns" "$held"
    rows 10 "$channel" "$columns, template_code" "$held, '$TAG-t'"
    rows 1 "$channel" "$columns, deadline_at" "$held, now() + interval '1 second'"
    sql "create function dispatch.test_slow() returns trigger language plpgsql as \$\$ begin
          perform pg_sleep($SLOW);
          return new;
        end \$\$;
        create trigger slow before update on dispatch.message_requests for each row
          when (old.channel_code = '$channel') execute function dispatch.test_slow()"
    sleep 3
    local began=$SECONDS
    admin DELETE "/v1/pauses/$PAUSE"
    [[ $STATUS == 200 && $((SECONDS - began)) -le 3 ]]
    # What comes now is not held, whatever still is to be let go.
    sends prompt "$channel" && becomes sent
    local waits="next_attempt_at > now() + interval '90 minutes'"
    let_go() { [[ $(count "$channel" "$waits and template_code is null") == 0 ]]; }
    within 90 let_go
    # The first came first.
    [[ $(sql "select bool_and(ordered) from (select updated_at >= lag(updated_at) over (order by id) as ordered
        from dispatch.message_requests where channel_code = '$channel' and send_at is not null
          and template_code is null) x") == t ]]
    # The other pause holds its own until it ends too.
    [[ $(count "$channel" "$waits") == 10 ]]
    admin DELETE "/v1/pauses/$other"
    none() { [[ $(count "$channel" "$waits") == 0 ]]; }
    within 30 none
    # The deadline passed in the pause, which gave its time back.
    [[ $(count "$channel" "deadline_at is not null and deadline_at > created_at + interval '3 seconds' and status = 'dispatched'
        or deadline_at is not null and status = 'expired' and deadline_at > created_at + interval '3 seconds'") == 1 ]]
    sql "delete from dispatch.message_requests where channel_code = '$channel'"
}

@test "what is being put off for a pause while it ends is let go too" {
    local channel=$TAG-race tenant id folder
    another_channel "$channel" "$LOCAL" C0RACE
    pauses channel "$channel"
    sends race "$channel" && becomes dispatched
    id=$ID
    tenant=$(tenant_id)
    held() { agent GET "/v1/message-requests/$id" && [[ $(field .error) == channel_paused* ]]; }
    within 5 held
    # It is put off under the pause, and that is committed after the pause has ended.
    folder=$(mktemp -d "$BATS_TEST_TMPDIR/XXXXXX")
    (
        psql -qAtX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "begin;
            select dispatch.postpone('$tenant', '$id', 1, '1 hour', 'channel_paused: bulk', 'pause', '1 day');
            select pg_sleep(1.5); commit" >"$folder/out" 2>&1 3>&-
        echo $? >"$folder/rc"
    ) >/dev/null 2>&1 3>&- &
    sleep 0.5
    admin DELETE "/v1/pauses/$PAUSE"
    [[ $STATUS == 200 ]]
    within 5 test -e "$folder/rc"
    [[ $(<"$folder/rc") == 0 ]]
    ID=$id
    becomes sent 60
}

@test "a part of the sweep that fails holds none of the others up" {
    local channel=$TAG-parts
    another_channel "$channel" "$LOCAL" C0PARTS '{"unknown_policy": "park"}'
    sql "create function dispatch.test_broken() returns trigger language plpgsql as \$\$ begin
          raise 'broken'; end \$\$;
        create trigger broken before update on dispatch.pauses for each row
          when (old.reason = 'broken') execute function dispatch.test_broken()"
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$TAG-none\"}, \"reason\": \"broken\",
        \"expires_at\": \"$(date -u -d '+1 second' +%FT%TZ)\"}"
    [[ $STATUS == 201 ]]
    sleep 2
    rows 1 "$channel" "status, attempts, attempt_token, lease_until, begun_at" \
        "'sending', 1, gen_random_uuid(), now() - interval '1 second', now()"
    rows 1 "$channel" "status, deadline_at, next_attempt_at, job_due_at" \
        "'dispatched', now() - interval '1 second', now() + interval '1 hour', now() + interval '1 hour'"
    settled() { [[ $(count "$channel" "status = 'unknown'") == 1 && $(count "$channel" "status = 'expired'") == 1 ]]; }
    within 10 settled
    sql "drop trigger broken on dispatch.pauses"
    sql "delete from dispatch.pauses where reason = 'broken'"
}

@test "what nobody keeps any more is deleted in batches until nothing is left, by itself" {
    local other=$TAG-keeps channel=$TAG-old
    "$SWITCHBOARD_BIN/messaging" keys create --tenant "$other" --role admin >/dev/null
    sql "insert into dispatch.policies (tenant_id, retention_days) values ('$(tenant_id "$other")', 3650)"
    # The other tenant's are older, and stay.
    sql "insert into dispatch.message_requests (tenant_id, id, tenant, channel_code, text, status, finished_at)
        select id, platform.uuid_v7(), code, '$channel', 'kept', 'sent', now() - interval '900 days'
          from platform.tenants, generate_series(1, 700) where code = '$other'"
    rows 2300 "$channel" "status, finished_at" "'sent', now() - interval '800 days'"
    rows 5 "$channel" "status, finished_at" "'sent', now() - interval '3 days'"
    sql "insert into dispatch.threads (tenant_id, channel_code, thread_key, root_id, updated_at)
        select id, '$channel', 'k' || n, gen_random_uuid(), now() - interval '100 days'
          from platform.tenants, generate_series(1, 1300) n where code = '$SWITCHBOARD_TENANT'"
    # One batch takes no more than it may, and says where to go on.
    [[ $(sql "select gone from dispatch.clean_requests('$(tenant_id)', 300)") == 300 ]]
    [[ $(sql "select next from dispatch.clean_requests('$(tenant_id)', 300)") == "$(tenant_id)" ]]
    clean() {
        [[ $(count "$channel" "text = 'bulk'") == 5 ]] &&
            [[ $(sql "select count(*) from dispatch.threads where channel_code = '$channel'") == 0 ]]
    }
    # Within two rounds of a minute.
    within 75 clean
    [[ $(count "$channel" "text = 'kept'") == 700 ]]
    admin PUT /v1/tenant/dispatch-policy '{"retention_days": 91}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /retention_days ]]
    # Attempts stay for as long as any request may.
    [[ $(sql "select keep >= interval '97 days' from platform.partitioned where table_name = 'dispatch.attempts'") == t ]]
    sql "delete from dispatch.message_requests where channel_code = '$channel'"
}

@test "a cancellation key reaches what waits behind 10,000 that were sent, in batches, and says whether there are more" {
    local channel=$TAG-key
    another_channel "$channel" "$LOCAL" C0KEY
    rows 10100 "$channel" "status, finished_at, cancellation_key" "'sent', now(), '$TAG-key'"
    rows 1200 "$channel" "status, next_attempt_at, job_due_at, cancellation_key" \
        "'dispatched', now() + interval '1 hour', now() + interval '1 hour', '$TAG-key'"
    local cancelled=0 calls=0
    while ((calls++ < 10)); do
        admin POST /v1/message-requests/cancel "{\"cancellation_key\": \"$TAG-key\"}"
        [[ $STATUS == 200 ]]
        cancelled=$((cancelled + $(field .cancelled)))
        [[ $(field .more) == true ]] || break
    done
    [[ $cancelled == 1200 && $(count "$channel" "status = 'cancelled'") == 1200 ]]
    # A batch takes no more than it may.
    rows 3 "$channel" "status, next_attempt_at, job_due_at, cancellation_key" \
        "'dispatched', now() + interval '1 hour', now() + interval '1 hour', '$TAG-two'"
    local answer
    answer=$(sql "select dispatch.cancel_key('$(tenant_id)', '$TAG-two', null, 2, 'test', null, 'r')")
    [[ $(jq -c '[.cancelled, .last != null]' <<<"$answer") == '[2,true]' ]]
    answer=$(sql "select dispatch.cancel_key('$(tenant_id)', '$TAG-two', null, 2, 'test', null, 'r')")
    [[ $(jq -c '[.cancelled, .last != null]' <<<"$answer") == '[1,false]' ]]
    sql "delete from dispatch.message_requests where channel_code = '$channel'"
}

@test "a preview counts all, however many causes there are; a replay goes in batches" {
    local channel=$TAG-causes
    another_channel "$channel" "$LOCAL" C0CAUSES '{"rate": {"per_second": 1000, "burst": 100}}'
    rows 750 "$channel" "status, finished_at, last_error" "'failed', now(), 'cause_' || n % 250"
    local filter="{\"channel_code\": \"$channel\"}"
    admin POST /v1/message-requests/replay "{\"filter\": $filter, \"dry_run\": true}"
    [[ $STATUS == 200 && $(field .count) == 750 && $(field .per_call) == 10000 ]]
    [[ $(field '.causes | length') == 200 && $(field '.causes[0].count') == 3 ]]
    local answer
    answer=$(sql "select dispatch.replay('$(tenant_id)', '$filter', 50, null, 100, 'test', null, 'r')")
    [[ $(jq -c '[.replayed, .last != null]' <<<"$answer") == '[100,true]' ]]
    admin POST /v1/message-requests/replay "{\"filter\": $filter, \"per_second\": 50}"
    [[ $STATUS == 202 && $(field .replayed) == 650 && $(field .more) == false && $(field .last_at) != null ]]
    [[ $(count "$channel" "status = 'failed'") == 0 ]]
    # One call takes each of them once, and spreads them all.
    [[ $(sql "select max(generation) || ' ' || count(distinct next_attempt_at) from dispatch.message_requests
        where channel_code = '$channel'") == "2 "* ]]
    sql "delete from dispatch.message_requests where channel_code = '$channel'"
}
