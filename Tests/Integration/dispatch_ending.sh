#!/usr/bin/env bash
# Ends dispatch-worker in the middle of 30 messages that became due together, and looks what became of
# them: each has to be with Slack once.
#
# Needs the environment of `compose/local run`, with SEND_LEASE_MS at 3000 and LOG_LEVEL at debug.
# Usage: dispatch_ending.sh term | look | decisions | FAULT POINT
set -euo pipefail
# shellcheck source=Tests/Integration/stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"

HOW=$1
readonly COUNT=30
TAG=ending-$RANDOM$RANDOM
LOG=$(log_of dispatch-worker.1)

stand_in() { curl -sS --fail --max-time 5 -d "$1" "${SLACK_STANDIN_URL%/api}/_control" >/dev/null; }
delivered() {
    curl -sS --fail --max-time 5 "${SLACK_STANDIN_URL%/api}/_deliveries" |
        jq -r --arg tag "$TAG" '.deliveries[].text | select(startswith($tag))'
}
in_state() { sql "select count(*) from dispatch.message_requests where channel_code = '$TAG' and status = '$1'"; }
all_sent() { [[ $(in_state sent) == "$COUNT" ]]; }
some_sending() { (($(in_state sending) >= 5)); }
all_dispatched() { [[ $(in_state dispatched) == "$COUNT" ]]; }
has_looked() {
    (($(curl -sS --max-time 5 "${SLACK_STANDIN_URL%/api}/_deliveries" |
        jq '.calls["conversations.history"] // 0') > 0))
}
fail() { printf '%s\n' "$*" >&2 && exit 1; }

eventually 60 are_ready
stand_in '{"reset": true}'
prepare_channel "$TAG" slack
insist "200" dispatch PUT /v1/tenant/dispatch-policy '{"max_in_flight": 64}'
due='{}'
if [[ $HOW == look ]]; then
    # A message of which nobody knows, and the look for it gets no answer.
    prepare_channel "$TAG-look" slack
    stand_in '{"fault": "reset_after_acceptance"}'
    stand_in '{"fault": "hang", "method": "conversations.history"}'
    insist 202 dispatch POST /v1/message-requests "{\"channel_code\": \"$TAG-look\", \"text\": \"looked for\"}"
    looked_for=$(field .id)
    eventually 20 has_looked || fail "nobody looks"
    due=$(jq -nc --arg at "$(date -u -d '+5 seconds' +%FT%TZ)" '{send_at: $at}')
fi
if [[ $HOW == dispatch.* ]]; then restart_with "$HOW:4:die" dispatch-worker; fi
# Some are on their way for a while, so that the end finds them there.
[[ $HOW != term ]] || stand_in "{\"fault\": \"slow\", \"delay_ms\": 700, \"count\": $COUNT}"
pid=$(pid_of dispatch-worker.1)
sql "select count(dispatch.accept(t.id, t.code, gen_random_uuid(), jsonb_build_object(
        'channel_code', '$TAG', 'text', '$TAG ' || n) || '$due', null, null, null, null, null, 'test', 'r'))
    from platform.tenants t, generate_series(1, $COUNT) n where t.code = '$SWITCHBOARD_TENANT'" >/dev/null

case $HOW in
term)
    eventually 20 some_sending || fail "nothing is on its way"
    kill -TERM "$pid"
    eventually 25 is_gone "$pid" || fail "it does not end"
    # What was on its way is recorded, and nothing is left to a lease.
    (($(in_state sending) == 0)) || fail "$(in_state sending) were left on their way"
    (($(in_state unknown) == 0)) || fail "$(in_state unknown) are unknown"
    (($(in_state sent) > 0)) || fail "what was on its way is not recorded"
    ;;
look)
    eventually 4 all_dispatched || fail "not all are in the queue"
    # No other process takes its place before this one is looked at.
    touch "$SWITCHBOARD_STACK/hold/dispatch-worker.1"
    kill -TERM "$pid"
    eventually 25 is_gone "$pid" || fail "it does not end"
    # They became due before it had ended, and are left to the next process.
    (($(date +%s) >= $(date -d "$(jq -r .send_at <<<"$due")" +%s))) || fail "it ended before they were due"
    (($(in_state sent) == 0)) || fail "it took $(in_state sent) after it was told to stop"
    ! grep -q 'ended before everything was finished' "$LOG" || fail "it was cut off"
    grep -q '"stopped"' "$LOG" || fail "it did not stop in order"
    bring_back dispatch-worker.1
    eventually 150 request_is sent "$looked_for" || fail "the look was not made again"
    ;;
decisions) ;;
*) eventually 30 is_gone "$pid" || fail "the point $HOW was not reached" ;;
esac

eventually 150 all_sent || fail "$(in_state sent) sent, $(in_state unknown) unknown"
[[ -z $(delivered | sort | uniq -d) ]] || fail "sent twice: $(delivered | sort | uniq -d)"
[[ $(delivered | wc -l) == "$COUNT" ]] || fail "$(delivered | wc -l) delivered"

# lines STATE ID: what the projector told of a request.
lines() { grep -h '"projected"' "$LOG" | grep -F "\"$2\"" | grep -c "\"state\":\"$1\"" || true; }
is_told() { [[ $(lines "$1" "$2") == "$3" ]]; }
if [[ $HOW == decisions ]]; then
    for id in $(sql "select id from dispatch.message_requests where channel_code = '$TAG'"); do
        eventually 5 is_told dispatched "$id" 1 || fail "$id: $(lines dispatched "$id") decisions"
    done
    # Its event once more, also without the lock.
    redis del "mr:dispatch:{$SWITCHBOARD_TENANT}:$id" >/dev/null
    redis xadd switchboard:events '*' id "$(new_uuid)" name message_request.accepted \
        tenant "$SWITCHBOARD_TENANT" key "$id" at x data "{\"id\": \"$id\", \"generation\": 1}" >/dev/null
    eventually 5 is_told skipped "$id" 1 || fail "the repeat is not told"
fi
echo "$COUNT sent once each"
