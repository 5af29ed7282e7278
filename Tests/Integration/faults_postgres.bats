#!/usr/bin/env bats
# PostgreSQL torn down under load, and its connections cut. Each test leaves a stack that is whole.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153
load stack
load postgres

setup_file() {
    load stack
    CHANNEL=postgres-$RANDOM$RANDOM
    export CHANNEL
    prepare_channel "$CHANNEL"
}
setup() { open_conversation "$CHANNEL"; }
teardown() {
    touch "$BATS_TEST_TMPDIR/stop"
    mend_stack
}

# writes NUMBER: a caller that posts messages and message requests and notes what was accepted.
writes() {
    local number=0 folder=$BATS_TEST_TMPDIR
    until [[ -e $folder/stop ]]; do
        number=$((number + 1))
        says "topic $number" "{\"external_id\": \"$CONVERSATION-$1-$number\"}"
        [[ $STATUS != 201 ]] || field .message.id >>"$folder/messages.$1"
        dispatch POST /v1/message-requests \
            "{\"channel_code\": \"$CHANNEL\", \"text\": \"$CONVERSATION-$1-$number\"}"
        [[ $STATUS != 202 ]] || field .id >>"$folder/requests.$1"
    done
}
accepted() { cat "$BATS_TEST_TMPDIR/$1".* 2>/dev/null | wc -l; }
accepted_since() { (($(accepted messages) >= $1 && $(accepted requests) >= $2)); }
more_is_accepted() {
    eventually 45 accepted_since $(($(accepted messages) + $1)) $(($(accepted requests) + $1))
}

@test "PostgreSQL restarted at once under load: what was accepted is there, services recover" {
    local number pids=()
    for number in 1 2 3 4; do
        writes "$number" 3>&- &
        pids+=($!)
    done
    more_is_accepted 20
    restart_immediately
    more_is_accepted 20
    restart_immediately
    more_is_accepted 20
    touch "$BATS_TEST_TMPDIR/stop"
    wait "${pids[@]}"
    eventually 30 are_ready
    (($(accepted messages) >= 60 && $(accepted requests) >= 60))
    # Every answer of 201 and 202 names a row that is there, and is there once.
    cat "$BATS_TEST_TMPDIR"/messages.* | sort >"$BATS_TEST_TMPDIR/told"
    sql "select id from messaging.messages where conversation_id = '$CONVERSATION'" |
        sort >"$BATS_TEST_TMPDIR/stored"
    [[ -z $(comm -23 "$BATS_TEST_TMPDIR/told" "$BATS_TEST_TMPDIR/stored") ]]
    [[ $(sql "select count(*) = count(distinct external_id) from messaging.messages
        where conversation_id = '$CONVERSATION' and sender_kind = 'contact'") == t ]]
    eventually 60 all_are_sent
    [[ $(sql "select message_request_id from dispatch.local_outbox
        where text like '$CONVERSATION-%' group by message_request_id having sum(1 + repeats) > 1") == "" ]]
}
all_are_sent() {
    cat "$BATS_TEST_TMPDIR"/requests.* | sort >"$BATS_TEST_TMPDIR/requested"
    sql "select id from dispatch.message_requests where status = 'sent'
        and text like '$CONVERSATION-%'" | sort >"$BATS_TEST_TMPDIR/sent"
    [[ -z $(comm -23 "$BATS_TEST_TMPDIR/requested" "$BATS_TEST_TMPDIR/sent") ]]
}

# hands NUMBER: a caller that hands conversations over, ends every third, and notes what was accepted.
hands() {
    local number=0 folder=$BATS_TEST_TMPDIR session
    until [[ -e $folder/stop ]]; do
        number=$((number + 1))
        engine POST /v1/sessions "{\"conversation_id\": \"$(new_uuid)\", \"contact_id\": \"c\",
            \"team_id\": \"$TEAM\", \"source\": \"handover\"}"
        [[ $STATUS == 201 ]] || continue
        session=$(field .session.id)
        echo "$session" >>"$folder/sessions.$1"
        ((number % 3)) || engine POST "/v1/sessions/$session/close"
    done
}
handed_since() { (($(accepted sessions) >= $1)); }
nobody_waits_in_vain() {
    [[ $(sql "select count(*) from assignment.sessions where team_id = '$TEAM'
        and (state = 'queued' and last_reason is null)") == 0 ]] || return 1
    [[ $(sql "select exists (select 1 from assignment.sessions where team_id = '$TEAM'
        and state = 'queued') and exists (select 1 from assignment.agents a
        join assignment.team_candidates c on c.tenant_id = a.tenant_id and c.agent_id = a.id
        where c.team_id = '$TEAM' and a.active_units < a.capacity_units)") == f ]]
}

@test "PostgreSQL restarted at once under handovers: each is owned or waits with a reason, loads are true" {
    local number pids=() agent
    TEAM=$(new_uuid)
    engine PUT "/v1/teams/$TEAM" '{"name": "Team"}'
    for number in 1 2 3; do
        agent=$(new_uuid)
        engine PUT "/v1/agents/$agent" \
            '{"name": "Agent", "capacity_units": 12, "presence_mode": "manual"}'
        engine PUT "/v1/teams/$TEAM/members/$agent" '{}'
        engine PUT "/v1/agents/$agent/status" '{"status": "online"}'
    done
    for number in 1 2 3 4; do
        hands "$number" 3>&- &
        pids+=($!)
    done
    for number in 20 50 80; do
        eventually 45 handed_since "$number"
        ((number == 80)) || restart_immediately
    done
    touch "$BATS_TEST_TMPDIR/stop"
    wait "${pids[@]}"
    eventually 30 are_ready
    cat "$BATS_TEST_TMPDIR"/sessions.* | sort >"$BATS_TEST_TMPDIR/told"
    sql "select id from assignment.sessions where team_id = '$TEAM'" |
        sort >"$BATS_TEST_TMPDIR/stored"
    [[ -z $(comm -23 "$BATS_TEST_TMPDIR/told" "$BATS_TEST_TMPDIR/stored") ]]
    eventually 45 nobody_waits_in_vain || {
        sql "select state, last_reason, last_error, count(*) from assignment.sessions
            where team_id = '$TEAM' group by 1, 2, 3"
        sql "select a.active_units, c.eligible, c.has_room from assignment.agents a
            join assignment.team_candidates c on c.agent_id = a.id where c.team_id = '$TEAM'"
        return 1
    }
    [[ $(sql "select count(*) from assignment.agents a join assignment.team_candidates c
        on c.tenant_id = a.tenant_id and c.agent_id = a.id where c.team_id = '$TEAM'
        and (a.active_units > a.capacity_units or a.active_units <> (select coalesce(sum(s.units), 0)
          from assignment.sessions s where s.tenant_id = a.tenant_id and s.assignee_id = a.id
          and s.state = 'assigned'))") == 0 ]]
}

@test "one backend terminated: the request in flight may fail, the next ones do not" {
    local backend i failures=0
    says "before"
    for backend in $(sql "select pid from pg_stat_activity where application_name like 'messaging%'"); do
        sql "select pg_terminate_backend($backend)" >/dev/null
        says "after $backend"
        [[ $STATUS == 201 ]] || failures=$((failures + 1))
        for i in 1 2 3; do
            says "later $backend $i"
            [[ $STATUS == 201 ]]
            messaging GET "/v1/conversations/$CONVERSATION/messages"
            [[ $STATUS == 200 ]]
        done
    done
    # A caller hears of a dead connection only when it was in use.
    ((failures <= 2))
}

@test "while PostgreSQL is away a known key is believed, what must be stored is 503 with Retry-After" {
    messaging GET /v1/handler/status
    [[ $STATUS == 200 ]]
    take_away postgres
    eventually 10 is_away messaging
    messaging GET /v1/handler/status
    [[ $STATUS == 200 && $(field .components.database_connected) == false ]]
    # Longer than a key is believed without looking.
    sleep_past_freshness
    messaging GET /v1/handler/status
    [[ $STATUS == 200 ]]
    says "nobody stores this" '{}' -D "$BATS_TEST_TMPDIR/head"
    [[ $STATUS == 503 && $(field .code) != null ]]
    grep -qi '^Retry-After: [0-9]' "$BATS_TEST_TMPDIR/head"
    grep -qi '^Content-Type: application/problem+json' "$BATS_TEST_TMPDIR/head"
    # A key that nobody has seen cannot be checked: that is not a 401.
    call sb_unknown_00000000000000000000000000000000000000000000 GET "$MESSAGING_URL/v1/handler/status"
    [[ $STATUS == 503 ]]
    bring_back postgres
    insist 201 says "now it is stored"
}
sleep_past_freshness() {
    local end=$((SECONDS + 6))
    # Looks go on meanwhile, as they do in life.
    while ((SECONDS < end)); do messaging GET /v1/handler/status && [[ $STATUS == 200 ]]; done
}
