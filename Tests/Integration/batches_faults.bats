#!/usr/bin/env bats
# Messages to different conversations are written together: what happens to all when the process
# dies, or one of them cannot be written. Needs the environment of `compose/local run`.
# shellcheck disable=SC2154 # stack.bash sets STATUS and BODY

load stack

setup_file() {
    load stack
    CHANNEL=together-$RANDOM$RANDOM
    CONVERSATIONS=$BATS_FILE_TMPDIR/conversations
    export CHANNEL CONVERSATIONS
    insist 200 as_service POST "$MESSAGING_URL/v1/internal/channels" \
        "{\"code\": \"$CHANNEL\", \"kind\": \"local\", \"version\": 1}"
    sql "insert into messaging.contacts (tenant_id, channel_code, external_id)
          select id, '$CHANNEL', n::text from platform.tenants, generate_series(1, 40) n
           where code = '$SWITCHBOARD_TENANT';
        insert into messaging.conversations (tenant_id, channel_code, contact_id, owner_kind)
          select tenant_id, channel_code, id, 'human' from messaging.contacts
           where channel_code = '$CHANNEL' returning id" >"$CONVERSATIONS"
}

teardown() {
    [[ -z ${HOLDER:-} ]] || wait "$HOLDER"
    mend_stack
}

# post_to_all TEXT: to each conversation at once, with a key of its own that is the same each time;
# `statuses` then has a line for each: its number, the status, seconds, and whether it was a replay.
post_to_all() {
    local id number=0
    while read -r id; do
        number=$((number + 1))
        ((number == 1)) || echo next
        printf '%s = "%s"\n' url "$MESSAGING_URL/v1/conversations/$id/messages" \
            header "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
            header "Content-Type: application/json" header "Idempotency-Key: $1-$number" \
            max-time 20 output "$BATS_TEST_TMPDIR/$number.json" \
            data-binary "{\\\"sender\\\": {\\\"kind\\\": \\\"contact\\\", \\\"id\\\": \\\"ann\\\"}, \\\"text\\\": \\\"$1\\\"}" \
            write-out "$number %{http_code} %{time_total} %header{idempotency-replayed}\\n"
    done <"$CONVERSATIONS" >"$BATS_TEST_TMPDIR/config"
    curl -sS -Z --parallel-immediate --parallel-max 100 -K "$BATS_TEST_TMPDIR/config" \
        >"$BATS_TEST_TMPDIR/statuses" 2>/dev/null || true
}
# lines STATUS: how many got it.
lines() { awk -v status="$1" '$2 == status' "$BATS_TEST_TMPDIR/statuses" | wc -l; }
# stored TEXT: how many messages there are, in how many conversations.
stored() {
    sql "select count(*), count(distinct conversation_id) from messaging.messages
        where channel_code = '$CHANNEL' and text = '$1'"
}

@test "messages to different conversations share commits" {
    post_to_all together
    [[ $(lines 201) == 40 && $(stored together) == "40|40" ]]
    (($(sql "select max(n) from (select count(*) n from messaging.messages
        where channel_code = '$CHANNEL' and text = 'together' group by created_at) b") >= 4))
}

@test "messaging killed between a shared commit and its answers: repeats get those messages" {
    local kept
    restart_with message.committed:12:die messaging
    post_to_all killed
    kept=$(sql "select count(*) from messaging.messages
        where channel_code = '$CHANNEL' and text = 'killed'")
    # More were stored than were answered.
    ((kept >= 12 && $(lines 201) < kept))
    eventually 20 is_ready messaging
    post_to_all killed
    [[ $(lines 201) == 40 && $(stored killed) == "40|40" ]]
    [[ $(awk '$4 == "true"' "$BATS_TEST_TMPDIR/statuses" | wc -l) == "$kept" ]]
    # Each left its two events, once.
    [[ $(sql "select count(*), count(distinct payload ->> 'message_id') from platform.outbox o
        join messaging.messages m on m.id::text = o.payload ->> 'message_id'
        where m.channel_code = '$CHANNEL' and m.text = 'killed'") == "80|40" ]]
}

@test "a conversation that somebody holds is waited for by its own message only" {
    local held
    held=$(sed -n 7p "$CONVERSATIONS")
    sql "begin; select 1 from messaging.conversations where id = '$held' for update;
        select pg_sleep(1.5); commit" >/dev/null &
    HOLDER=$!
    eventually 5 is_held "$held"
    post_to_all held
    [[ $(lines 201) == 40 && $(stored held) == "40|40" ]]
    # The slowest is the one; of the others none took nearly so long.
    [[ $(sort -k3,3gr "$BATS_TEST_TMPDIR/statuses" | awk 'NR == 1 { print $1 }') == 7 ]]
    sort -k3,3gr "$BATS_TEST_TMPDIR/statuses" | awk 'NR == 1 && $3 < 1 || NR == 2 && $3 > 0.9 {
        exit 1 }'
}
is_held() {
    [[ $(sql "select count(*) from pg_stat_activity
        where query like '%$1%' and wait_event = 'PgSleep'") == 1 ]]
}

@test "a message that cannot be written fails alone" {
    local poisoned
    poisoned=$(sed -n 11p "$CONVERSATIONS")
    sql "create function public.refuse_$$() returns trigger language plpgsql as
            'begin raise exception ''injected''; end';
        create trigger refuse_$$ before insert on messaging.messages for each row
            when (new.conversation_id = '$poisoned') execute function public.refuse_$$()"
    post_to_all poison
    sql "drop function public.refuse_$$ cascade" 2>/dev/null
    [[ $(lines 201) == 39 && $(stored poison) == "39|39" ]]
    [[ $(awk '$1 == 11 { print $2 }' "$BATS_TEST_TMPDIR/statuses") == 500 ]]
    # Nothing stands in its way afterwards.
    post_to_all poison
    [[ $(lines 201) == 40 && $(stored poison) == "40|40" ]]
}
