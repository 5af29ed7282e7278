#!/usr/bin/env bash
# One of a cluster's three nodes is away, and comes back with what it had. Needs the environment of
# `compose/local run --redis-cluster`; ends with 0 when all of it was seen.
# shellcheck disable=SC2317 # functions that `must` and `eventually` call
set -uo pipefail
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=../stack.bash
source "$folder/../stack.bash"
export PATH=$folder:$PATH

missing=0
must() { "$@" || { printf 'not so: %s; last answer %s %s\n' "$*" "$STATUS" "$BODY" && missing=1; }; }

place=$(sed -E 's/.*@//; s/,.*//' <<<"$REDIS_URL")
health() { messaging GET /health && [[ $(field "$1") == "$2" ]]; }
reason() { dispatch GET /readyz && [[ $STATUS == 503 && $BODY == *"$place"* ]]; }
sent() { dispatch GET "/v1/message-requests/$1" && [[ $(field .status) == sent ]]; }
asks() {
    dispatch POST /v1/message-requests "{\"channel_code\": \"away\", \"text\": \"$1\"}"
    [[ $STATUS == 202 ]] && ID=$(field .id)
}

dispatch PUT /v1/workspaces/away '{"provider": "local"}'
dispatch PUT /v1/channels/away '{"workspace_code": "away", "provider_channel_id": "C0AWAY"}'
must asks "before" && must eventually 10 sent "$ID"
must health '.redis.nodes_away | length' 0
must health .redis.connected true

touch "$SWITCHBOARD_STACK/hold/redis.1"
kill -s KILL "$(pid_of redis.1)"
must eventually 10 health '.redis.nodes_away | join(",")' "$place"
must health .redis.connected false
must eventually 5 reason
# Accepted and stored, whatever Redis does; sent when the node is back.
must asks "meanwhile"
meanwhile=$ID

rm "$SWITCHBOARD_STACK/hold/redis.1"
must eventually 20 health '.redis.nodes_away | length' 0
must eventually 20 are_ready
must eventually 30 sent "$meanwhile"
must asks "after" && must eventually 10 sent "$ID"
dispatch GET "/v1/local-outbox?channel_code=away"
must test "$(field '[.items[].text] | sort | join(" ")')" == "after before meanwhile"
exit "$missing"
