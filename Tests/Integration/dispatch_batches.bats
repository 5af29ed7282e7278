#!/usr/bin/env bats
# Many messages at the same moment: what goes to PostgreSQL together, what waits for one channel, and
# what a process that ends, or dies, has in hand.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

setup_file() { local_channel; }
teardown() {
    sql "drop trigger if exists poison on dispatch.message_requests;
        drop trigger if exists delay on dispatch.message_requests" >/dev/null
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
# sends_many COUNT TEXT CHANNEL: so many that become due at the same moment.
sends_many() {
    sql "select count(dispatch.accept(t.id, t.code, gen_random_uuid(), jsonb_build_object(
            'channel_code', '$3', 'text', '$2 ' || lpad(n::text, 3, '0')),
            null, null, null, null, null, 'test', 'r'))
        from platform.tenants t, generate_series(1, $1) n where t.code = '$SWITCHBOARD_TENANT'" >/dev/null
}
# How many of a channel are in a state.
count() { sql "select count(*) from dispatch.message_requests where channel_code = '$1' and status = '$2'"; }
are() { [[ $(count "$1" "$2") == "$3" ]]; }
metric() { curl -sS --max-time 5 "$DISPATCH_WORKER_URL/metrics" | awk -v name="$1" 'index($0, name) == 1 { sum += $NF } END { print sum + 0 }'; }
# in_background SQL: a folder in which `rc` will be.
in_background() {
    local folder
    folder=$(mktemp -d "$BATS_TEST_TMPDIR/XXXXXX")
    (
        psql --no-psqlrc -qAtX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1" >"$folder/out" 2>"$folder/err" 3>&-
        echo $? >"$folder/rc"
    ) >/dev/null 2>&1 3>&- &
    echo "$folder"
}
fast() { another_channel "$1" "$LOCAL" "C-$1" '{"rate": {"per_second": 1000, "burst": 100}}'; }

@test "one message that the database refuses holds none of those up that go with it" {
    fast "$TAG-poison"
    # It cannot begin, or cannot be recorded: each time in the middle of others.
    sql "
        create or replace function dispatch.test_poison() returns trigger language plpgsql as \$\$
        begin
          if new.text like '% 007' and new.status = 'sending' then raise 'poisoned'; end if;
          if new.text like '% 013' and new.status = 'sent' then raise 'poisoned'; end if;
          return new;
        end \$\$;
        create trigger poison before update on dispatch.message_requests
          for each row execute function dispatch.test_poison()"
    sends_many 40 "poison $TAG" "$TAG-poison"
    within 20 are "$TAG-poison" sent 38
    sql "drop trigger poison on dispatch.message_requests; drop function dispatch.test_poison()"
    # The first is tried again; the other one's lease runs out, now, and it is found to be delivered.
    sql "update dispatch.message_requests set lease_until = now()
        where channel_code = '$TAG-poison' and status = 'sending'"
    within 20 are "$TAG-poison" sent 40
    [[ $(outbox "$TAG-poison" | sort | uniq -d) == "" ]]
    [[ $(outbox "$TAG-poison" | wc -l) == 40 ]]
}

@test "what waits long for one channel is laid aside, and comes up in order at the channel's rate" {
    another_channel "$TAG-crowd" "$LOCAL" C0CROWD '{"rate": {"per_second": 1, "burst": 1}}'
    # Nobody gives slots out before the channel takes more.
    redis set dispatch:sweep another px 120000 >/dev/null
    sends_many 100 "crowd $TAG" "$TAG-crowd"
    aside() { sql "select count(*) from dispatch.message_requests where channel_code = '$TAG-crowd' and parked_at is not null"; }
    settled() { (($(aside) + $(sql "select count(*) from dispatch.message_requests where
        channel_code = '$TAG-crowd' and (status = 'sent' or next_attempt_at > now())") >= 100)) && (($(aside) > 20)); }
    within 30 settled
    # They rest: whoever is laid aside is not looked at again meanwhile.
    [[ $(sql "select min(next_attempt_at) > now() + interval '1 hour' from dispatch.message_requests
        where channel_code = '$TAG-crowd' and parked_at is not null") == t ]]
    # The channel takes more, and the sweep gives out what lies ahead, the first ones first.
    another_channel "$TAG-crowd" "$LOCAL" C0CROWD '{"rate": {"per_second": 50, "burst": 5}}'
    local last
    last=$(sql "select min(text) from dispatch.message_requests where channel_code = '$TAG-crowd' and parked_at is not null")
    sweeps() { redis del dispatch:sweep >/dev/null && [[ $(aside) == 0 ]]; }
    within 15 sweeps
    released() { [[ $(sql "select count(*) from dispatch.message_requests where channel_code = '$TAG-crowd' and status <> 'sent' and text >= '$last'") == 0 ]]; }
    within 40 released
    [[ $(outbox "$TAG-crowd" | sort | uniq -d) == "" ]]
}

# late_by SECONDS: the first message of a channel is held up for so long between its slot and its post.
late_by() {
    local channel=$TAG-late-${1/./} apart
    another_channel "$channel" "$LOCAL" C0LATE '{"rate": {"per_second": 1, "burst": 1}}'
    sql "create or replace function dispatch.test_delay() returns trigger language plpgsql as \$\$ begin
          if new.text = 'late $channel' and new.status = 'sending' and new.attempts = 1 then
            perform pg_sleep($1); end if;
          return new;
        end \$\$;
        create or replace trigger delay before update on dispatch.message_requests
          for each row execute function dispatch.test_delay()"
    sends "late $channel" "$channel"
    local first=$ID
    sleep 0.2
    sends "next $channel" "$channel" && becomes sent 100
    ID=$first
    becomes sent 100
    apart=$(sql "select extract(epoch from max(delivered_at) - min(delivered_at))
        from dispatch.local_outbox where channel_code = '$channel'")
    echo "$apart s apart"
    [[ $(sql "select $apart > 0.95") == t ]]
}

@test "what is late after its slot keeps the channel's distance, and one that is later than the next slot takes another" {
    late_by 0.7
    late_by 1.4
    sql "drop trigger delay on dispatch.message_requests; drop function dispatch.test_delay()"
}

@test "the end of a pause and what is put off meanwhile wait for each other in one order" {
    fast "$TAG-circle"
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$TAG-circle\"}, \"reason\": \"circle\"}"
    local pause ids tenant putting ending holding
    pause=$(field .id)
    sends "circle 1 $TAG" "$TAG-circle" && becomes dispatched
    sends "circle 2 $TAG" "$TAG-circle" && becomes dispatched
    tenant=$(sql "select id from platform.tenants where code = '$SWITCHBOARD_TENANT'")
    mapfile -t ids < <(sql "select id from dispatch.message_requests where channel_code = '$TAG-circle' order by id")
    # Somebody holds the first; the end of the pause waits for it, and then whoever has both in hand,
    # the last one named first.
    holding=$(in_background "begin; select 1 from dispatch.message_requests where id = '${ids[0]}' for update;
        select pg_sleep(1.5); commit")
    sleep 0.4
    ending=$(in_background "select dispatch.end_pause('$tenant', '$pause', 'test', 'r'); commit;
        select dispatch.release_held(1000)")
    sleep 0.4
    putting=$(in_background "select * from dispatch.postpone_many(
        '[{\"tenant_id\": \"$tenant\", \"id\": \"${ids[1]}\", \"generation\": 1, \"wait_ms\": 1000},
          {\"tenant_id\": \"$tenant\", \"id\": \"${ids[0]}\", \"generation\": 1, \"wait_ms\": 1000}]', '1 hour')")
    local folder
    for folder in "$holding" "$ending" "$putting"; do
        within 10 test -e "$folder/rc"
        [[ $(<"$folder/rc") == 0 ]] || { cat "$folder/err" && false; }
    done
}

@test "a full backlog refuses what is new; a repeat with its key gets its first answer" {
    fast "$TAG-full"
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$TAG-full\"}, \"reason\": \"full\"}"
    local pause
    pause=$(field .id)
    asks() { agent POST /v1/message-requests "{\"channel_code\": \"$TAG-full\", \"text\": \"$2\"}" -H "Idempotency-Key: $TAG-$1"; }
    asks first one
    [[ $STATUS == 202 ]]
    ID=$(field .id)
    becomes dispatched
    admin PUT /v1/tenant/dispatch-policy '{"max_queued": 1}'
    refused() { asks "other-$RANDOM" new && [[ $STATUS == 429 && $(field .code) == tenant_backlog ]]; }
    within 5 refused
    asks first one
    [[ $STATUS == 202 && $(field .id) == "$ID" ]]
    asks first another
    [[ $STATUS == 422 && $(field .code) == idempotency_key_reused ]]
    admin PUT /v1/tenant/dispatch-policy '{"max_queued": 1000000}'
    admin DELETE "/v1/pauses/$pause"
    becomes sent
}

@test "slack: the metrics count what became of attempts, limits and what is unknown" {
    slack
    local sent limited unknown observed waited
    sent=$(metric 'dispatch_attempts_total{provider="slack",status="sent"}')
    limited=$(metric dispatch_rate_limited_total)
    unknown=$(metric dispatch_unknown_total)
    observed=$(metric dispatch_send_seconds_count)
    waited=$(metric dispatch_wait_seconds_count)
    sends "metrics $TAG 1" "$SLACK" && becomes sent
    stand_in '{"fault": "ratelimited", "retry_after": 1}'
    sends "metrics $TAG 2" "$SLACK" && becomes sent 100
    stand_in '{"fault": "reset_after_acceptance"}'
    sends "metrics $TAG 3" "$SLACK" && becomes unknown
    [[ $(metric 'dispatch_attempts_total{provider="slack",status="sent"}') == $((sent + 2)) ]]
    [[ $(metric dispatch_rate_limited_total) == $((limited + 1)) ]]
    [[ $(metric dispatch_unknown_total) == $((unknown + 1)) ]]
    [[ $(metric dispatch_send_seconds_count) == $((observed + 4)) ]]
    [[ $(metric dispatch_wait_seconds_count) == $((waited + 4)) ]]
    becomes sent 200
}

@test "slack: what a person should look at is counted by what it is, and is there before it happens" {
    slack xoxb-good C0ATTENTION park
    local code counts=()
    for code in unknown_answer our_bug unknown_parked; do counts+=("$(attention "$code")"); done
    stand_in '{"fault": "error", "code": "a_code_of_tomorrow"}'
    sends "attention $TAG 1" "$SLACK" && becomes failed
    [[ $(attention unknown_answer) == $((counts[0] + 1)) ]]
    stand_in '{"fault": "error", "code": "method_deprecated"}'
    sends "attention $TAG 2" "$SLACK" && becomes failed
    [[ $(attention our_bug) == $((counts[1] + 1)) ]]
    stand_in '{"fault": "reset_before_acceptance"}'
    sends "attention $TAG 3" "$SLACK" && becomes unknown
    local tenths=100
    until [[ $(attention unknown_parked) == $((counts[2] + 1)) ]]; do ((tenths-- > 0)) && sleep 0.1; done
    # What is known to be the message's own fault needs nobody.
    stand_in '{"fault": "error", "code": "is_archived"}'
    sends "attention $TAG 4" "$SLACK" && becomes failed
    [[ $(attention unknown_answer) == $((counts[0] + 1)) ]]
}
# attention CODE: its count; fails where it is not shown.
attention() {
    curl -sS --max-time 5 "$DISPATCH_WORKER_URL/metrics" |
        grep -F "dispatch_needs_attention_total{code=\"$1\"} " | cut -d ' ' -f 2 | grep .
}

@test "slack: the gauges show how many requests are in each state, and how old the oldest due one is" {
    slack xoxb-good C0GAUGES park
    another_channel "$TAG-held" "$LOCAL" C0HELD
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$TAG-held\"}, \"reason\": \"gauges\"}"
    local pause
    pause=$(field .id)
    sends_many 3 "gauges $TAG" "$TAG-held"
    stand_in '{"fault": "reset_after_acceptance"}'
    sends "gauges $TAG unknown" "$SLACK" && becomes unknown
    stand_in '{"fault": "hang"}'
    sends "gauges $TAG sending" "$SLACK" && becomes sending
    counted() { sql "select count(*) from dispatch.message_requests where status in ($1)"; }
    shown() { metric "dispatch_jobs{state=\"$1\""; }
    agree() {
        [[ $(shown waiting) == $(counted "'accepted', 'dispatched'") && $(shown waiting) -ge 3 ]] &&
            [[ $(shown unknown) == $(counted "'unknown'") && $(shown unknown) -ge 1 ]] &&
            [[ $(shown sending) == $(counted "'sending'") && $(shown sending) -ge 1 ]] &&
            [[ $(metric dispatch_oldest_due_seconds | jq '. > 1 and . < 60') == true ]]
    }
    within 12 agree
    # The bucket of this tenant has them.
    local bucket
    bucket=$(sql "select right(id::text, 1) from platform.tenants where code = '$SWITCHBOARD_TENANT'")
    [[ $(metric "dispatch_jobs{state=\"waiting\",tenant_bucket=\"$bucket\"}") -ge 3 ]]
    stand_in '{"reset": true}'
    admin DELETE "/v1/pauses/$pause"
}

@test "to look a message up costs the same, however many workspaces its tenant has" {
    local read
    sends "looked up $TAG" "$LOCAL" && becomes sent
    read=$(sql "begin;
        insert into dispatch.workspaces (tenant_id, code, provider)
          select id, '$TAG-' || n, 'local' from platform.tenants, generate_series(1, 500) n
           where code = '$SWITCHBOARD_TENANT';
        select count(f.status) from platform.tenants t
          cross join dispatch.resolve_many(array[t.id], array['$ID'::uuid], array[true]) f
         where t.code = '$SWITCHBOARD_TENANT';
        select idx_tup_fetch + seq_tup_read from pg_stat_xact_user_tables
         where relid = 'dispatch.workspaces'::regclass;
        rollback")
    # It was found, and one workspace was read for it.
    [[ $read == 1$'\n'1 ]]
}
