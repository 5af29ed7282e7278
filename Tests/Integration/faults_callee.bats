#!/usr/bin/env bats
# A service that others call is down for a while: the outbox delivers when it is back, in order.
# SWITCHBOARD_LONG=1 takes the 30 s of life, else a 20th of it.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153
load stack

setup_file() {
    load stack
    CHANNEL=callee-$RANDOM$RANDOM
    export CHANNEL
    prepare_channel "$CHANNEL"
}
setup() { open_conversation "$CHANNEL"; }
teardown() { mend_stack; }

# The outage itself is what is tested, so here the time has to pass.
stay_down() {
    local outage_ms=1500 begin=${EPOCHREALTIME/./}
    [[ -z ${SWITCHBOARD_LONG:-} ]] || outage_ms=30000
    while (((${EPOCHREALTIME/./} - begin) / 1000 < outage_ms)); do
        is_ready "$1" && return 1
        sleep 0.1
    done
    return 0
}

@test "dispatch-worker down: replies are accepted, and delivered in their order when it is back" {
    local number wanted=() found
    take_away dispatch-worker.1
    for number in {1..12}; do
        replies "$CONVERSATION $number"
        [[ $STATUS == 202 ]]
        wanted+=("$CONVERSATION $number")
    done
    stay_down dispatch-worker
    replies "$CONVERSATION 13"
    wanted+=("$CONVERSATION 13")
    bring_back dispatch-worker.1
    eventually 60 all_delivered 13
    # In the order in which dispatch-worker was asked for them; each once.
    mapfile -t found < <(sql "select text from dispatch.message_requests
        where text like '$CONVERSATION %' order by created_at, id")
    [[ ${found[*]} == "${wanted[*]}" ]]
    messaging GET "/v1/conversations/$CONVERSATION/messages?limit=200"
    eventually 20 all_shown_as_delivered
}
all_delivered() {
    [[ $(sql "select count(*) || ' ' || count(distinct text) from dispatch.local_outbox
        where text like '$CONVERSATION %'") == "$1 $1" ]]
}
all_shown_as_delivered() {
    messaging GET "/v1/conversations/$CONVERSATION/messages?limit=200"
    [[ $(field '[.items[] | select(.delivery != null) | .delivery.state] | unique | tojson') == '["delivered"]' ]]
}

@test "assignment-engine down: a handover that waits is 503; one by a word is made when it is back" {
    take_away assignment-engine.1
    messaging POST "/v1/conversations/$CONVERSATION/handover" '{}' -D "$BATS_TEST_TMPDIR/head"
    [[ $STATUS == 503 ]]
    grep -qi '^Retry-After: [0-9]' "$BATS_TEST_TMPDIR/head"
    says agent
    [[ $STATUS == 201 && $(field .bot.status) == human ]]
    says "are you there?"
    [[ $STATUS == 201 ]]
    stay_down assignment-engine
    [[ $(sessions_of_conversation) == 0 ]]
    bring_back assignment-engine.1
    eventually 60 has_one_session
}
has_one_session() { [[ $(sessions_of_conversation) == 1 ]]; }

@test "messaging down: what became of a message request is told when it is back" {
    local text=callee-$RANDOM$RANDOM
    # Redis away keeps the request unsent until messaging is gone.
    take_away redis
    eventually 10 is_away dispatch-worker
    replies "$text"
    local request
    request=$(field .message_request_id)
    eventually 20 request_exists "$request"
    take_away messaging.1
    bring_back redis
    eventually 30 is_delivered_once "$CHANNEL" "$text"
    stay_down messaging
    bring_back messaging.1
    eventually 30 is_ready messaging
    eventually 30 all_shown_as_delivered
}
