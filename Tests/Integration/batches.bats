#!/usr/bin/env bats
# Messages of one conversation that arrive at once are written together. Needs the environment of
# `compose/local run`.
# shellcheck disable=SC2030,SC2031 # each test has a conversation of its own

bats_require_minimum_version 1.5.0

setup_file() {
    CHANNEL=batches-$RANDOM$RANDOM
    export CHANNEL
    curl -sS --fail-with-body -X POST "$MESSAGING_URL/v1/internal/channels" \
        -H "Authorization: Bearer $SERVICE_TOKEN" -H "Switchboard-Tenant: $SWITCHBOARD_TENANT" \
        -H 'Content-Type: application/json' \
        -d "{\"code\": \"$CHANNEL\", \"kind\": \"local\", \"version\": 1}"
}

setup() {
    CONVERSATION=$(new_conversation)
    BODIES=()
    STARTED=()
}

# Only what the test started: the runner has a child of its own, which counts down the test's time.
teardown() { ((${#STARTED[@]} == 0)) || wait "${STARTED[@]}"; }

new_conversation() {
    curl -sS --fail-with-body "$MESSAGING_URL/v1/conversations" \
        -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" -H 'Content-Type: application/json' \
        -d "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"c-$RANDOM$RANDOM\"}}" |
        jq -r .id
}

db() { psql --no-psqlrc -qAtX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1"; }

# says TEXT [JSON members…]: one more body for `post_bodies`.
says() {
    BODIES+=("$(jq -nc --arg text "$1" --argjson more "${2:-{\}}" \
        '{sender: {kind: "contact", id: "ann"}, text: $text} + $more')")
}

# Posts all bodies at once; then `status N` and `answer N` tell about the N-th, from 1.
post_bodies() {
    local number
    for number in "${!BODIES[@]}"; do
        printf '%s' "${BODIES[number]}" >"$BATS_TEST_TMPDIR/$((number + 1)).body"
        ((number == 0)) || echo next
        printf '%s = "%s"\n' url "$MESSAGING_URL/v1/conversations/$CONVERSATION/messages" \
            header "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
            header "Content-Type: application/json" max-time 20 \
            data-binary "@$BATS_TEST_TMPDIR/$((number + 1)).body" \
            output "$BATS_TEST_TMPDIR/$((number + 1)).json" \
            write-out "$((number + 1)) %{http_code}\\n"
    done >"$BATS_TEST_TMPDIR/config"
    curl -sS -Z --parallel-immediate --parallel-max 300 -K "$BATS_TEST_TMPDIR/config" \
        >"$BATS_TEST_TMPDIR/statuses"
}
status() { sed -n "s/^$1 //p" "$BATS_TEST_TMPDIR/statuses"; }
answer() { jq -r "$2" "$BATS_TEST_TMPDIR/$1.json"; }
count_of() { grep -cs " $1\$" "$BATS_TEST_TMPDIR/statuses" || true; }

# Somebody else holds the conversation's row, so that a first message waits in the database and
# all others wait behind it.
hold_conversation() {
    db "begin; select 1 from messaging.conversations where id = '$CONVERSATION' for update;
        select pg_sleep($1); commit" >/dev/null &
    STARTED+=($!)
    wait_for "select count(*) from pg_stat_activity
        where query like '%$CONVERSATION%' and wait_event = 'PgSleep'" 1
    curl -sS -o /dev/null "$MESSAGING_URL/v1/conversations/$CONVERSATION/messages" \
        -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" -H 'Content-Type: application/json' \
        -d '{"sender": {"kind": "contact", "id": "ann"}, "text": "the first one"}' &
    STARTED+=($!)
    wait_for "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
        and query like '%messaging.post_batch(%'" 1
}

wait_for() {
    local tries=100
    while ((tries-- > 0)); do
        [[ $(db "$1") == "$2" ]] && return 0
        sleep 0.02
    done
    echo "never $2: $1" >&2
    return 1
}

# Lets the conversation go once so many more requests than $IN_FLIGHT are in messaging's hands: on a
# busy machine they take their time to come.
let_go_when_there() {
    local tries=200
    until ((tries-- == 0)) || (($(in_flight) >= IN_FLIGHT + $1)); do sleep 0.02; done
    db "select pg_cancel_backend(pid) from pg_stat_activity
        where query like '%$CONVERSATION%' and wait_event = 'PgSleep'" >/dev/null
}
in_flight() { curl -sS "$MESSAGING_URL/metrics" | sed -n 's/^http_requests_in_flight //p'; }

# How many messages of people there are, and the last number among them.
stored() {
    db "select count(*), max(seq) from messaging.messages
        where conversation_id = '$CONVERSATION' and sender_kind = 'contact'"
}

largest_batch() {
    db "select max(n) from (select count(*) n from messaging.messages
        where conversation_id = '$CONVERSATION' group by created_at) b"
}

@test "messages at once are written together, and each gets its own answer" {
    local number
    IN_FLIGHT=$(in_flight)
    hold_conversation 8
    for number in {1..6}; do says "message $number"; done
    says "no such message" '{"reply_to": "00000000-0000-4000-8000-000000000000"}'
    says "no such thread" '{"thread_id": "00000000-0000-4000-8000-000000000000"}'
    says "twice" "{\"external_id\": \"x-$CONVERSATION\"}"
    says "twice" "{\"external_id\": \"x-$CONVERSATION\"}"
    let_go_when_there 11 &
    STARTED+=($!)
    post_bodies
    for number in {1..6}; do
        [[ $(status "$number") == 201 && $(answer "$number" .message.text) == "message $number" ]]
    done
    [[ $(status 7) == 422 && $(answer 7 '.errors[0].pointer') == /reply_to ]]
    [[ $(status 8) == 422 && $(answer 8 '.errors[0].pointer') == /thread_id ]]
    [[ $(for number in 9 10; do status "$number"; done | sort | xargs) == "200 201" ]]
    [[ $(answer 9 .message.id) == "$(answer 10 .message.id)" ]]
    # The first one, 6, and one of the two: without a gap.
    [[ $(stored) == "8|8" ]]
    (($(largest_batch) >= 5))
}

@test "messages written together join the thread that the first of them makes" {
    local number
    IN_FLIGHT=$(in_flight)
    hold_conversation 8
    for number in {1..5}; do
        says "will the parcel from Oslo come today?" '{"sender": {"kind": "contact", "id": "bob"}}'
    done
    let_go_when_there 6 &
    STARTED+=($!)
    post_bodies
    [[ $(count_of 201) == 5 ]]
    (($(largest_batch) >= 3))
    [[ $(db "select count(distinct thread_id), sum(created_thread::int) from messaging.messages
        where conversation_id = '$CONVERSATION' and sender_id = 'bob'") == "1|1" ]]
}

@test "a statement that fails for one message fails for no other" {
    local number other
    other=$(new_conversation)
    # The same external id, uncommitted in another conversation: the batch learns of it too late.
    db "begin; select outcome from platform.tenants t, messaging.post_batch('lexical-v1', '1 s', '1 s',
          10, jsonb_build_array(jsonb_build_object('tenant', t.id, 'code', t.code,
            'conversation', '$other', 'seen', 0, 'force', true,
            'items', jsonb_build_array(jsonb_build_object('id', platform.uuid_v7(),
              'sender_kind', 'contact', 'sender_id', 'bob', 'text', 'early',
              'external_id', 'race-$other', 'choice', 'new_thread', 'title', 'early', 'terms', '',
              'mentions', '[]'::jsonb, 'actor', 'bats')))), true)
        where t.code = '$SWITCHBOARD_TENANT';
        select pg_sleep(1.4); commit" >/dev/null &
    STARTED+=($!)
    wait_for "select count(*) from pg_stat_activity
        where query like '%race-$other%' and wait_event = 'PgSleep'" 1
    hold_conversation 0.5
    for number in {1..10}; do says "message $number"; done
    says "late" "{\"external_id\": \"race-$other\"}"
    post_bodies
    for number in {1..10}; do [[ $(status "$number") == 201 ]]; done
    [[ $(status 11) == 200 && $(answer 11 .message.conversation_id) == "$other" ]]
    [[ $(stored) == "11|11" ]]
}

@test "only so many wait for one conversation: the rest is told to come again" {
    local number tries=3
    for number in {1..290}; do says "message $number"; done
    # 256 wait behind the first one. On a busy machine the others may come after these have gone.
    until ((tries-- == 0)) || (($(count_of 503) > 0)); do
        CONVERSATION=$(new_conversation)
        hold_conversation 1.7
        post_bodies
        cut -d' ' -f2 "$BATS_TEST_TMPDIR/statuses" | sort | uniq -c
        (($(count_of 201) >= 256 && $(count_of 201) + $(count_of 503) == 290))
        # Numbers may be in between: the bot answers meanwhile.
        [[ $(stored) == "$(($(count_of 201) + 1))|"* ]]
        (($(largest_batch) <= 64))
    done
    number=$(sed -n 's/ 503$//p' "$BATS_TEST_TMPDIR/statuses" | head -n 1)
    [[ $(answer "$number" .code) == unavailable ]]
}

@test "the same id under another tenant's key stays 404 while it is written to" {
    local key number
    key=$(cd "$BATS_TEST_TMPDIR" && "$SWITCHBOARD_BIN/messaging" keys create --tenant strangers \
        --role agent | tail -n 1)
    hold_conversation 0.6
    for number in {1..5}; do says "message $number"; done
    post_bodies &
    local posting=$!
    [[ $(curl -sS -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $key" \
        -H 'Content-Type: application/json' -d "${BODIES[0]}" \
        "$MESSAGING_URL/v1/conversations/$CONVERSATION/messages") == 404 ]]
    wait "$posting"
    [[ $(count_of 201) == 5 ]]
}

@test "what is written together is what would be written one by one" {
    # Lists of messages that answer, repeat or close one another, in conversations of each owner.
    run -0 --separate-stderr python3 "$BATS_TEST_DIRNAME/posts_together.py" "$CHANNEL" 40
    for outcome in created duplicate replayed reused invalid closed elsewhere; do
        [[ $(jq ".$outcome" <<<"$output") -gt 0 ]] || { echo "$output" >&2 && false; }
    done
}
