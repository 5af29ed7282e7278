#!/usr/bin/env bash
# trace_story.sh TRACE CALLER [recorded|unrecorded]: a contact writes, the bot answers, a person is
# asked for and replies, and the reply is delivered; all calls are steps of one trace. Within
# `compose/local run`.
set -euo pipefail
# shellcheck source=Tests/Integration/stack.bash
source "${BASH_SOURCE[0]%/*}/stack.bash"

flags=01
[[ ${3:-recorded} == recorded ]] || flags=00
parent=(-H "traceparent: 00-$1-$2-$flags")
prepare_team
prepare_channel trace-"$$"
open_conversation trace-"$$"
says "hello" '{}' "${parent[@]}"
[[ $STATUS == 201 ]]
is_answered() {
    messaging GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[] | select(.sender.kind == "bot" and .delivery.state == "delivered")] | length') == 1 ]]
}
eventually 20 is_answered
messaging POST "/v1/conversations/$CONVERSATION/messages?mode=async" \
    '{"sender": {"kind": "contact", "id": "c"}, "text": "and where is my second parcel now?"}' \
    "${parent[@]}"
[[ $STATUS == 202 ]]
has_thread() {
    messaging GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[] | select(.thread_id == null)] | length') == 0 ]]
}
eventually 20 has_thread
messaging POST "/v1/conversations/$CONVERSATION/handover" "{\"team_id\": \"$TEAM\"}" "${parent[@]}"
[[ $STATUS == 201 && $(field .outcome) == assign ]]
replies "a person here" "${parent[@]}"
[[ $STATUS == 202 ]]
is_delivered() {
    messaging GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[] | select(.sender.kind == "agent" and .delivery.state == "delivered")] | length') == 1 ]]
}
eventually 20 is_delivered
