#!/usr/bin/env bash
# Kills messaging between two steps of the assignment of a message, at one fault point after the
# other. After each death the message must be there once, in one thread, which was made once, and
# nothing must be left of the work: one line says so of each point.
#
# Needs the environment of `compose/local run`, with short leases.
# Usage: assign_crash.sh direct|job [POINT…]. `direct`: the caller asks for the assignment; `job`:
# nobody does, and the job or its timer must. Without points all of the way; `points` as the only
# argument lists those.
set -euo pipefail
# shellcheck source=stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"

# In the order in which a message passes them; `assign_kill.bats` sees to it that none is missing.
readonly BOTH=(message.before_commit message.committed message.shown assignment.queued
    assignment.taken message.locked message.before_assign message.assigned assignment.made
    outbox.events_read outbox.published outbox.marked)
readonly ASKED=(idempotency.claimed idempotency.kept) # with the caller's key
[[ ${1:-} != points ]] || { printf '%s\n' "${BOTH[@]}" "${ASKED[@]}" && exit 0; }

WAY=$1
shift
if (($# > 0)); then
    POINTS=("$@")
elif [[ $WAY == direct ]]; then
    POINTS=("${BOTH[@]}" "${ASKED[@]}")
else
    POINTS=("${BOTH[@]}")
fi
readonly SETTLE=60
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
for POINT in "${POINTS[@]}"; do
    key="$CHANNEL-$POINT"
    before=$FAULTS
    DEATHS=$(deaths)
    open_conversation "$CHANNEL"
    eventually "$SETTLE" outbox_is_empty
    restart_with "$POINT:1:die" messaging
    insist 202 writes_later "$key"
    MESSAGE=$(field .message.id)
    if [[ $WAY == direct ]]; then
        insist 200 messaging POST "/v1/messages/$MESSAGE/auto-assign" "" -H "Idempotency-Key: $key"
    fi
    eventually "$SETTLE" job_is_done || broken "it has no thread"
    eventually "$SETTLE" outbox_is_empty || broken "something stays in the outbox"
    eventually 10 has_died || broken "the point is not on the way"
    eventually "$SETTLE" is_ready messaging || broken "it does not come back"
    happened_once
    ((FAULTS > before)) || printf 'killed at %-26s it happened once\n' "$POINT"
done
((FAULTS == 0))
