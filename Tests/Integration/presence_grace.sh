#!/usr/bin/env bash
# Who came and who went is told after it has held for the grace time, and a reload is told to nobody.
# Needs the environment of `compose/local run` with PRESENCE_GRACE_MS=1000, USER_PRESENCE_TTL_MS=3000.
# shellcheck disable=SC2317 # functions that `eventually` calls
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=messaging_support.bash
source "$here/messaging_support.bash"
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT

make_channel
open_conversation
python3 "$here/follow.py" "$MESSAGING_URL" "$SWITCHBOARD_AGENT_KEY" 60 "$CONVERSATION" \
    --told "$folder/told" >"$folder/events" &
eventually 10 test -s "$folder/told"
sleep 1 # in which the instance has looked who is there: nobody

joins() {
    agent PUT "/v1/user-sessions/$2" "{\"user_id\": \"$1\", \"conversation_id\": \"$CONVERSATION\"}"
    [[ $STATUS == 20[01] ]]
}
leaves() { agent DELETE "/v1/user-sessions/$1"; }
seen=0
news() { tail -n "+$((seen + 1))" "$folder/events"; }
told() { # TYPE USER
    news | jq -es --arg type "$1" --arg user "$2" \
        'any(.[]; .type == $type and .data.user_id == $user)' >/dev/null
}
is_nothing_told() { [[ -z $(news) ]]; }
fail() { printf '%s\n' "$*" && cat "$folder/events" && exit 1; }

began=$(date +%s%3N)
joins anna s1
sleep 0.5
is_nothing_told || fail "told before the grace time"
eventually 5 told presence.joined anna || fail "nobody heard of anna"
(($(date +%s%3N) - began >= 1000)) || fail "told after $(($(date +%s%3N) - began)) ms"

# A reload, and a second tab that closes: nobody comes or goes.
seen=$(wc -l <"$folder/events")
leaves s1
sleep 0.3
joins anna s2
joins anna s3
leaves s3
sleep 2 # more than the grace time
is_nothing_told || fail "a reload was told"

# A crash: no goodbye; gone when the sign of life is old and the grace time is over.
began=$(date +%s%3N)
eventually 10 told presence.left anna || fail "nobody heard that anna went"
took=$(($(date +%s%3N) - began))
((took < 6000)) || fail "told after $took ms"
echo "told after the grace time, and only then"
