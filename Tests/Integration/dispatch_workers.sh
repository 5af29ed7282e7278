#!/usr/bin/env bash
# Many messages through several dispatch-workers, one of which is killed, or stands still for longer
# than its lease, again and again. Needs `compose/local run --replicas N`.
#
# Usage: dispatch_workers.sh COUNT SECONDS
# Ends with a line that says what became of them, and 0 only if each is with Slack once or unknown.
set -euo pipefail

# shellcheck source=Tests/Integration/stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"
COUNT=$1 NEMESIS=$2
STAND_IN=${SLACK_STANDIN_URL%/api}
TAG=workers-$RANDOM$RANDOM
CHANNELS=10
LEASE_MS=${SEND_LEASE_MS:-60000}
processes=("$SWITCHBOARD_STACK"/pids/dispatch-worker.*)
REPLICAS=${#processes[@]}

stand_in() { curl -sS --fail --max-time 5 -d "$1" "$STAND_IN/_control" >/dev/null; }

stand_in '{"reset": true}'
insist "201" dispatch PUT "/v1/workspaces/$TAG" \
    "{\"provider\": \"slack\", \"token\": \"xoxb-good\", \"api_base_url\": \"$STAND_IN/api\"}"
for ((n = 0; n < CHANNELS; n++)); do
    insist "201" dispatch PUT "/v1/channels/$TAG-$n" \
        "{\"workspace_code\": \"$TAG\", \"provider_channel_id\": \"C0WORK$n\", \"rate\": {\"per_second\": 3, \"burst\": 3}}"
done
stand_in '{"chaos": {"seed": 11, "delay_ms": 200, "per_mille": {"reset_before_acceptance": 20,
    "reset_after_acceptance": 20, "slow": 50}}}'

# A caller that repeats with its key until it has an answer.
for ((n = 1; n <= COUNT; n++)); do
    insist "202" call "$SWITCHBOARD_AGENT_KEY" POST "$DISPATCH_WORKER_URL/v1/message-requests" \
        "{\"channel_code\": \"$TAG-$((n % CHANNELS))\", \"text\": \"$TAG $n\"}" \
        -H "Idempotency-Key: $TAG-$n"
done &
CALLER=$!

end=$((SECONDS + NEMESIS)) kills=0 stops=0
while ((SECONDS < end)); do
    replica=$((1 + RANDOM % REPLICAS))
    pid=$(pid_of "dispatch-worker.$replica")
    if ((RANDOM % 2 == 0)); then
        kill -KILL "$pid" 2>/dev/null && kills=$((kills + 1))
    elif kill -STOP "$pid" 2>/dev/null; then
        stops=$((stops + 1))
        # One and a half leases, or long enough for its message to be looked for and sent by another.
        pause=$((RANDOM % 3 == 0 ? LEASE_MS + 12000 : LEASE_MS * 3 / 2))
        sleep "$((pause / 1000)).$((pause % 1000 / 100))"
        kill -CONT "$pid" 2>/dev/null || true
    fi
    sleep "0.$((3 + RANDOM % 7))"
done
wait "$CALLER"

left() { sql "select count(*) from dispatch.message_requests where channel_code like '$TAG-%' and status not in ('sent', 'unknown')"; }
is_settled() { [[ $(left) == 0 && $(sql "select count(*) from dispatch.message_requests where channel_code like '$TAG-%' and status = 'unknown' and unknown_since > now() - interval '30 s'") == 0 ]]; }
eventually 180 is_settled || { echo "left: $(left)" && exit 1; }

delivered=$(curl -sS --fail --max-time 20 "$STAND_IN/_deliveries" | jq -r '.deliveries[].text' | sort)
twice=$(uniq -d <<<"$delivered" | wc -l)
sent=$(sql "select text from dispatch.message_requests where channel_code like '$TAG-%' and status = 'sent'" | sort)
unknown=$(sql "select count(*) from dispatch.message_requests where channel_code like '$TAG-%' and status = 'unknown'")
lost=$(comm -13 <(uniq <<<"$delivered") <(echo "$sent") | wc -l)
stored=$(sql "select count(*) from dispatch.message_requests where channel_code like '$TAG-%'")
echo "$stored stored, $(wc -l <<<"$sent") sent, $unknown unknown, $twice twice, $lost lost;" \
    "$kills killed, $stops stood still"
[[ $stored == "$COUNT" && $twice == 0 && $lost == 0 ]]
