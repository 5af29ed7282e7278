#!/usr/bin/env bash
# The holder of a message's lock stands still between its look and its write for longer than the lock
# lasts, while another instance does the work. Then it goes on: the message has one thread, both were
# told the same, and the lock that somebody took meanwhile is not freed by the one who lost it.
#
# Needs the environment of `compose/local run --replicas 2`, with MESSAGE_LOCK_MS=1000.
set -euo pipefail
# shellcheck source=stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"

CHANNEL=pause-$RANDOM$RANDOM
folder=$(mktemp -d)
trap 'kill -CONT "$HOLDER" 2>/dev/null || true; rm -rf "$folder"' EXIT
HOLDER=""

eventually 60 are_ready
prepare_channel "$CHANNEL"
open_conversation "$CHANNEL"
# Stored, without a thread, and left alone by jobs and timers.
messaging POST "/v1/conversations/$CONVERSATION/messages?mode=async" \
    '{"sender": {"kind": "agent", "id": "a"}, "text": "topic"}'
MESSAGE=$(field .message.id)
has_thread() { [[ -n $(sql "select thread_id from messaging.messages where id = '$MESSAGE'") ]]; }
eventually 20 has_thread
forget_thread() {
    sql "update messaging.messages set thread_id = null, thread_state = 'pending', method = null,
        created_thread = false where id = '$MESSAGE'"
    sql "delete from messaging.threads where conversation_id = '$CONVERSATION'"
}
sql "delete from platform.timers where ref_id = '$MESSAGE'"
forget_thread
restart_with "message.before_assign:1:hang" messaging
HOLDER=$(pid_of messaging.1)

assigns() { messaging POST "/v1/messages/$MESSAGE/auto-assign" "" --max-time 60; }
stands_still() { [[ $(awk '{print $3}' "/proc/$HOLDER/stat") == T ]]; }
# Until one of them has come to the instance with the fault.
for i in {1..20}; do
    (assigns && printf '%s' "$BODY" >"$folder/$i" && printf '%s\n' "$STATUS" >"$folder/status.$i") &
    eventually 1 stands_still && break
    wait "$!"
    # The other instance was asked: once more from the beginning.
    forget_thread
done
stands_still
asking=$!
token=$(redis get "lock:message:$MESSAGE")
[[ -n $token ]]
lock_is_free() { [[ $(redis exists "lock:message:$MESSAGE") == 0 ]]; }
eventually 5 lock_is_free # by its time
is_done() { # by the other instance: who comes to the one that stands still gets no answer
    call "$SWITCHBOARD_ADMIN_KEY" POST "$MESSAGING_URL/v1/messages/$MESSAGE/auto-assign" "" \
        --max-time 1
    [[ $STATUS == 200 ]]
}
eventually 30 is_done
thread=$(field .thread_id)
# Somebody has the lock when the one that lost it goes on.
redis set "lock:message:$MESSAGE" another PX 20000 >/dev/null
kill -CONT "$HOLDER"
wait "$asking"
eventually 20 is_done
[[ $(redis get "lock:message:$MESSAGE") == another ]] || { echo "it freed its successor's lock" && exit 1; }
[[ $(jq -r .thread_id "$folder/$i") == "$thread" && $(jq -r .already_assigned "$folder/$i") == true ]] ||
    { echo "the holder was told $(<"$folder/$i")" && exit 1; }
[[ $(sql "select count(*) || ' ' || sum(message_count) from messaging.threads
    where id = '$thread'") == "1 1" ]] || { echo "the thread is not single" && exit 1; }
echo "one thread, and both were told so"
