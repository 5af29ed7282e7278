# shellcheck shell=bash
# What the tests of dispatch-worker share. Needs the environment of `compose/local run`; the tests of
# the Slack transport also need the stand-in at SLACK_STANDIN_URL, whose host OUTBOUND_ALLOW_HOSTS
# must name.

SLACK_STAND_IN_URL=${SLACK_STANDIN_URL:-}
SLACK_STAND_IN_URL=${SLACK_STAND_IN_URL%/api}

sql() { psql --no-psqlrc -qAtX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1"; }
redis() { redis-cli -u "$REDIS_URL" --no-auth-warning "$@"; }

# A tag of this file's own and a workspace and channel of the embedded transport.
local_channel() {
    TAG=bats-$RANDOM$RANDOM
    LOCAL=$TAG-local
    export TAG LOCAL
    admin PUT "/v1/workspaces/$LOCAL" '{"provider": "local"}'
    [[ $STATUS == 201 ]]
    admin PUT "/v1/channels/$LOCAL" \
        "{\"workspace_code\": \"$LOCAL\", \"provider_channel_id\": \"C0LOCAL\", \"rate\": {\"per_second\": 100, \"burst\": 50}}"
    [[ $STATUS == 201 ]]
}

# Sets STATUS and BODY. Arguments: key, method, path, body, further curl options.
ask() {
    local key=$1 method=$2 path=$3 body=${4:-} answer
    shift $(($# < 4 ? $# : 4))
    local options=(-sS --max-time 20 -w '\n%{http_code}' -X "$method" -H "Authorization: Bearer $key")
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' --data-binary "$body")
    answer=$(curl "${options[@]}" "$@" "$DISPATCH_WORKER_URL$path")
    STATUS=${answer##*$'\n'}
    BODY=${answer%$'\n'*}
}
agent() { ask "$SWITCHBOARD_AGENT_KEY" "$@"; }
admin() { ask "$SWITCHBOARD_ADMIN_KEY" "$@"; }
as_service() {
    local method=$1 path=$2 body=$3
    shift 3
    ask "$SERVICE_TOKEN" "$method" "$path" "$body" -H "Switchboard-Tenant: $SWITCHBOARD_TENANT" "$@"
}
field() { jq -r "$1" <<<"$BODY"; }

# sends TEXT [CHANNEL] [JSON members]: sets ID.
sends() {
    agent POST /v1/message-requests \
        "$(jq -nc --arg text "$1" --arg channel "${2:-$LOCAL}" --argjson more "${3:-{\}}" \
            '{channel_code: $channel, text: $text} + $more')"
    [[ $STATUS == 202 ]] || return 1
    ID=$(field .id)
}

# becomes STATE [TENTHS]: waits until the request of ID is in that state.
becomes() {
    local tenths=${2:-50}
    while ((tenths-- > 0)); do
        agent GET "/v1/message-requests/$ID"
        [[ $(field .status) != "$1" ]] || return 0
        sleep 0.1
    done
    echo "wanted $1, found: $BODY"
    return 1
}

# never STATE TENTHS: fails if the request of ID gets there.
never() {
    ! becomes "$@"
}

slack() {
    [[ -n ${SLACK_STAND_IN_URL:-} ]] || skip "SLACK_STANDIN_URL is not set"
    SLACK=$TAG-slack-$BATS_TEST_NUMBER
    stand_in '{"reset": true}'
    admin PUT "/v1/workspaces/$SLACK" \
        "{\"provider\": \"slack\", \"token\": \"${1:-xoxb-good}\", \"api_base_url\": \"$SLACK_STAND_IN_URL/api\"}"
    [[ $STATUS == 201 ]]
    admin PUT "/v1/channels/$SLACK" \
        "{\"workspace_code\": \"$SLACK\", \"provider_channel_id\": \"${2:-C0BATS}\", \"unknown_policy\": \"${3:-verify}\", \"rate\": {\"per_second\": 50, \"burst\": 10}}"
    [[ $STATUS == 201 ]]
}
stand_in() { curl -sS --fail --max-time 5 -d "$1" "$SLACK_STAND_IN_URL/_control" >/dev/null; }
delivered() {
    curl -sS --fail --max-time 5 "$SLACK_STAND_IN_URL/_deliveries" |
        jq --arg text "$1" '[.deliveries[] | select(.text == $text)] | length'
}

# another_channel CODE WORKSPACE PROVIDER_ID [JSON members]
another_channel() {
    admin PUT "/v1/channels/$1" \
        "$(jq -nc --arg workspace "$2" --arg id "$3" --argjson more "${4:-{\}}" \
            '{workspace_code: $workspace, provider_channel_id: $id, rate: {per_second: 50, burst: 10}} + $more')"
    [[ $STATUS == 20[01] ]]
}
# What the stand-in got of a text, in order: one line of JSON each.
posts() {
    curl -sS --fail --max-time 5 "$SLACK_STAND_IN_URL/_deliveries" |
        jq -c --arg text "$1" '.deliveries[] | select(.text | startswith($text))'
}
calls() {
    curl -sS --fail --max-time 5 "$SLACK_STAND_IN_URL/_deliveries" | jq --arg method "$1" '.calls[$method] // 0'
}
# Texts of a channel of the embedded transport, the first delivered first; what was delivered again is
# there again.
outbox() {
    agent GET "/v1/local-outbox?channel_code=$1&limit=200"
    jq -r '.items | reverse | .[] | .text as $text | range(.repeats + 1) | $text' <<<"$BODY"
}
# Nothing was posted to the stand-in that Slack's reference pages do not allow.
none_violated() {
    local found
    found=$(curl -sS --fail --max-time 5 "$SLACK_STAND_IN_URL/_deliveries" | jq -c .violations)
    [[ $found == '[]' ]] || { echo "violations: $found" && return 1; }
}
