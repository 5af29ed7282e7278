#!/usr/bin/env bash
# Kills dispatch-worker between every two steps of a send and starts it again: the message must be
# with the provider once. Needs the environment of a dispatch-worker (PORT of its own), a running
# Slack stand-in at SLACK_STAND_IN_URL and an admin key.
#
# Usage: dispatch_crash.sh path/to/dispatch-worker
set -euo pipefail

WORKER=$1
URL=http://127.0.0.1:$PORT
STEPS=(begun answered dispatch_locked dispatched claimed resolved locked slot_reserved recorded released)
PID=

stop() {
    [[ -z $PID ]] || kill -KILL "$PID" 2>/dev/null || true
    [[ -z $PID ]] || wait "$PID" 2>/dev/null || true
    PID=
}
trap stop EXIT

start() {
    SWITCHBOARD_FAULT=${1:-} "$WORKER" serve >>"${LOG:-/dev/null}" 2>&1 &
    PID=$!
    for _ in {1..50}; do
        ! curl -sf --max-time 2 "$URL/readyz" >/dev/null || return 0
        sleep 0.1
    done
    echo "the worker did not start" >&2
    return 1
}

ask() {
    curl -sS --max-time 10 -X "$1" -H "Authorization: Bearer $SWITCHBOARD_ADMIN_KEY" \
        -H 'Content-Type: application/json' ${3:+-d "$3"} "$URL$2"
}

CODE=crash-$RANDOM$RANDOM
start
ask PUT "/v1/workspaces/$CODE" \
    "{\"provider\": \"slack\", \"token\": \"xoxb-good\", \"api_base_url\": \"$SLACK_STAND_IN_URL/api\"}" >/dev/null
ask PUT "/v1/channels/$CODE" \
    "{\"workspace_code\": \"$CODE\", \"provider_channel_id\": \"C0CRASH\", \"rate\": {\"per_second\": 50, \"burst\": 10}}" >/dev/null
stop

# sent ID: waits; after a death with the commit made it takes a lease of a minute and two looks.
sent() {
    for _ in {1..450}; do
        [[ $(ask GET "/v1/message-requests/$1" | jq -r .status) != sent ]] || return 0
        sleep 0.2
    done
    return 1
}

FAILED=0
for step in "${STEPS[@]}"; do
    start "dispatch.$step:1:die"
    id=$(ask POST /v1/message-requests "{\"channel_code\": \"$CODE\", \"text\": \"$CODE $step\"}" | jq -r .id)
    for _ in {1..80}; do
        kill -0 "$PID" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$PID" 2>/dev/null || { echo "$step was not reached" && FAILED=1; }
    stop
    start
    sent "$id" || FAILED=1
    count=$(curl -sS --max-time 5 "$SLACK_STAND_IN_URL/_deliveries" |
        jq --arg text "$CODE $step" '[.deliveries[] | select(.text == $text)] | length')
    echo "killed at $step: delivered $count times"
    [[ $count == 1 ]] || FAILED=1
    stop
done
exit "$FAILED"
