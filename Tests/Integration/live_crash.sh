#!/usr/bin/env bash
# Eight clients follow a conversation that is written to without a pause, on two instances. Each
# instance is killed once, and Redis once. Every client must have every event, once and in order.
# Needs the environment of `compose/local run --replicas 2`.
# shellcheck disable=SC2317 # functions that `eventually` calls
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=messaging_support.bash
source "$here/messaging_support.bash"
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT

make_channel
open_conversation

# Writes until the file `stop` is there; a request that an instance took down is sent again, and the
# external id keeps it single.
write() {
    local i=0
    until [[ -e $folder/stop ]]; do
        i=$((i + 1))
        until says "topic$i" "{\"external_id\": \"$CONTACT-$1-$i\"}" 2>/dev/null &&
            [[ $STATUS == 20[01] ]]; do sleep 0.05; done
    done
    echo "$i" >"$folder/written.$1"
}

clients=8 pids=()
for ((client = 1; client <= clients; client++)); do
    python3 "$here/follow.py" "$MESSAGING_URL" "$SWITCHBOARD_AGENT_KEY" 90 "$CONVERSATION" \
        --since 0 --told "$folder/told.$client" >"$folder/events.$client" &
    pids+=($!)
done
begun() { (($(cat "$folder"/told.* 2>/dev/null | wc -l) >= $1)); }
eventually 20 begun "$clients"
write a &
writers=($!)
write b &
writers+=($!)

# Each victim is given time to come back, so that somebody always serves.
for victim in messaging.1 redis messaging.2; do
    sleep 2 # of ordinary traffic before the fault; nothing is waited for
    old=$(<"$SWITCHBOARD_STACK/pids/$victim")
    kill -KILL "$old"
    came_back() { [[ $(<"$SWITCHBOARD_STACK/pids/$victim") != "$old" ]]; }
    eventually 20 came_back
done
sleep 2
touch "$folder/stop"
wait "${writers[@]}"

head=$(psql "$DATABASE_URL" -XAtqc "select event_seq from messaging.conversations
    where id = '$CONVERSATION'")
# The bot and the timers go on after the writers: there may be more by now, and no hole in it.
whole() {
    jq -es --argjson head "$head" \
        'length >= $head and map(.seq) == [range(1; length + 1)]' "$1" >/dev/null
}
failed=0
for ((client = 1; client <= clients; client++)); do
    eventually 15 whole "$folder/events.$client" || {
        echo "client $client: $(wc -l <"$folder/events.$client") events of $head," \
            "$(jq -s 'map(.seq) | [.[0], .[-1]] | tostring' "$folder/events.$client")"
        failed=1
    }
done
streams=$(cat "$folder"/told.* | wc -l)
((streams > clients)) || { echo "no stream was cut: the test shows nothing" && failed=1; }
written=$(($(<"$folder/written.a") + $(<"$folder/written.b")))
messages=$(psql "$DATABASE_URL" -XAtqc "select count(*) from messaging.messages
    where conversation_id = '$CONVERSATION' and sender_kind = 'contact'")
((messages == written)) || { echo "$messages messages of $written" && failed=1; }
((failed == 0)) && echo "every stream is whole: $head events, $messages messages, $clients clients," \
    "$streams streams"
exit "$failed"
