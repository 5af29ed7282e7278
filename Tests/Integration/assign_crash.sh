#!/usr/bin/env bash
# Kills messaging between every two steps of the assignment of a message: at its first fault point,
# in another run at its second, and so on until a run ends unharmed. After each death the message
# must be there once, in one thread, which was made once; nothing must be left of the work.
#
# Needs the environment of `compose/local run`, with short leases.
# Usage: assign_crash.sh [direct|job] [FIRST STEP]. `direct`: the caller asks for the assignment;
# `job`: nobody does, and the job or its timer must.
set -euo pipefail
# shellcheck source=stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"

WAY=${1:-direct} FIRST=${2:-1} STEP=${3:-1}
readonly POINTS_MAX=60 SETTLE=60
CHANNEL=assign-$RANDOM$RANDOM
FAULTS=0 DEATHS=0

broken() {
    printf 'killed at %s: %s\n' "$POINT" "$*"
    FAULTS=$((FAULTS + 1))
}
expect() { [[ $2 == "$3" ]] || broken "$1: $2, not $3"; }
deaths() { grep -c '^fault point ' "$(log_of messaging.1)" || true; }
has_died() { (($(deaths) > DEATHS)); }

# An agent writes: no bot works beside it, so that the points are those of the assignment.
writes_later() {
    messaging POST "/v1/conversations/$CONVERSATION/messages?mode=async" \
        "{\"sender\": {\"kind\": \"agent\", \"id\": \"a\"}, \"text\": \"topic\"}" \
        -H "Idempotency-Key: $1"
}
job_is_done() {
    messaging GET "/v1/jobs/$MESSAGE"
    [[ $STATUS == 200 && $(field .status) == completed ]]
}
lock_is_free() { [[ $(redis exists "lock:message:$MESSAGE") == 0 ]]; }

happened_once() {
    expect "messages" "$(sql "select count(*) from messaging.messages
        where conversation_id = '$CONVERSATION'")" 1
    expect "threads and their messages" "$(sql "select count(*) || ' ' || sum(message_count)
        from messaging.threads where conversation_id = '$CONVERSATION'")" "1 1"
    expect "events of the assignment" "$(sql "select count(*) from platform.outbox
        where target = 'message.assigned' and payload ->> 'message_id' = '$MESSAGE'")" 1
    expect "timers" "$(sql "select count(*) from platform.timers where ref_id = '$MESSAGE'")" 0
    eventually 5 lock_is_free || broken "the lock stays"
}

eventually 60 are_ready
prepare_channel "$CHANNEL"
for ((number = FIRST; number <= POINTS_MAX; number += STEP)); do
    POINT="point $number"
    key="$CHANNEL-$number"
    DEATHS=$(deaths)
    open_conversation "$CHANNEL"
    eventually "$SETTLE" outbox_is_empty
    restart_with "*:$number:die" messaging
    insist 202 writes_later "$key"
    MESSAGE=$(field .message.id)
    if [[ $WAY == direct ]]; then
        insist 200 messaging POST "/v1/messages/$MESSAGE/auto-assign" "" -H "Idempotency-Key: $key"
    fi
    eventually "$SETTLE" job_is_done || broken "it has no thread"
    eventually "$SETTLE" outbox_is_empty || broken "something stays in the outbox"
    if ! eventually 3 has_died; then
        printf 'point %d was not reached: every one before it has been tried\n' "$number"
        break
    fi
    POINT=$(grep '^fault point ' "$(log_of messaging.1)" | tail -n 1 | sed 's/fault point //; s/: .*//')
    eventually "$SETTLE" is_ready messaging || broken "it does not come back"
    happened_once
    printf 'killed at %-26s (%d)\n' "$POINT" "$number"
done
((number > FIRST)) || { echo "no fault was ever met" && exit 1; }
((FAULTS == 0))
