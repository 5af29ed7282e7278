#!/usr/bin/env bats
# A service that others call is down for a while, or Slack: the outbox delivers when it is back, in order.
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
    [[ $(sql "select sum(1 + repeats) || ' ' || count(distinct text) from dispatch.local_outbox
        where text like '$CONVERSATION %'") == "$1 $1" ]]
}
all_shown_as_delivered() {
    messaging GET "/v1/conversations/$CONVERSATION/messages?limit=200"
    [[ $(field '[.items[] | select(.delivery != null) | .delivery.state] | unique | tojson') == '["delivered"]' ]]
}

@test "Slack refuses connections: it is tried a few times, not with every message; all go out after it" {
    [[ -n ${SLACK_STANDIN_URL:-} ]] || skip "SLACK_STANDIN_URL is not set"
    local number tried
    SLACK=$CHANNEL-slack
    prepare_channel "$SLACK" slack
    take_away slack-standin
    for number in {1..40}; do
        insist 202 dispatch POST /v1/message-requests \
            "{\"channel_code\": \"$SLACK\", \"text\": \"$SLACK $number\"}"
    done
    # The breaker opens with the tenth failure; what was under way by then is all that was tried.
    eventually 20 were_tried_more_than 9
    sleep 3
    tried=$(tries)
    ((tried < 30))
    sleep 5
    [[ $(tries) == "$tried" ]]
    bring_back slack-standin
    eventually 90 all_sent 40
    [[ $(curl -sS --fail --max-time 5 "${SLACK_STANDIN_URL%/api}/_deliveries" |
        jq -r --arg tag "$SLACK" '[.deliveries[].text | select(startswith($tag))] | "\(length) \(unique | length)"') == "40 40" ]]
}
tries() {
    sql "select count(*) from dispatch.attempts a join dispatch.message_requests m
        on m.tenant_id = a.tenant_id and m.id = a.message_request_id where m.channel_code = '$SLACK'"
}
were_tried_more_than() { (($(tries) > $1)); }
all_sent() {
    [[ $(sql "select count(*) from dispatch.message_requests
        where channel_code = '$SLACK' and status = 'sent'") == "$1" ]]
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
