#!/usr/bin/env bash
# Ends dispatch-worker in the middle of 30 messages that became due together, and looks what became of
# them: each has to be with Slack once.
#
# Needs the environment of `compose/local run`, with SEND_LEASE_MS at 3000 and LOG_LEVEL at debug.
# Usage: dispatch_ending.sh term | decisions | FAULT POINT
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
fail() { printf '%s\n' "$*" >&2 && exit 1; }

eventually 60 are_ready
stand_in '{"reset": true}'
prepare_channel "$TAG" slack
insist "200" dispatch PUT /v1/tenant/dispatch-policy '{"max_in_flight": 64}'
if [[ $HOW == dispatch.* ]]; then restart_with "$HOW:4:die" dispatch-worker; fi
# Some are on their way for a while, so that the end finds them there.
[[ $HOW != term ]] || stand_in "{\"fault\": \"slow\", \"delay_ms\": 700, \"count\": $COUNT}"
pid=$(pid_of dispatch-worker.1)
sql "select count(dispatch.accept(t.id, t.code, gen_random_uuid(), jsonb_build_object(
        'channel_code', '$TAG', 'text', '$TAG ' || n), null, null, null, null, null, 'test', 'r'))
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
