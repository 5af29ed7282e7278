# shellcheck shell=bash
# What the suites of messaging share: asking, and a conversation to ask about.

# Sets STATUS and BODY. Arguments: address, key, method, path, body, further curl options.
ask_at() {
    local url=$1 key=$2 method=$3 path=$4 body=${5:-} answer
    shift $(($# < 5 ? $# : 5))
    local options=(-sS --max-time 20 -w '\n%{http_code}' -X "$method" -H "Authorization: Bearer $key")
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' --data-binary "$body")
    answer=$(curl "${options[@]}" "$@" "$url$path")
    STATUS=${answer##*$'\n'}
    BODY=${answer%$'\n'*}
}
# The same of messaging. Arguments: key, method, path, body, further curl options.
ask() { ask_at "$MESSAGING_URL" "$@"; }
dispatch() { ask_at "$DISPATCH_WORKER_URL" "$SWITCHBOARD_ADMIN_KEY" "$@"; }
agent() { ask "$SWITCHBOARD_AGENT_KEY" "$@"; }
admin() { ask "$SWITCHBOARD_ADMIN_KEY" "$@"; }
as_service() {
    local method=$1 path=$2 body=$3
    ask "$SERVICE_TOKEN" "$method" "$path" "$body" -H "Switchboard-Tenant: $SWITCHBOARD_TENANT"
}
field() { jq -r "$1" <<<"$BODY"; }
new_uuid() { cat /proc/sys/kernel/random/uuid; }
sql() { psql --no-psqlrc -qAtX "$DATABASE_URL" -c "$1"; }

# know_channel CODE: messaging learns a local channel, as dispatch-worker tells of one.
know_channel() {
    as_service POST /v1/internal/channels \
        "{\"code\": \"$1\", \"kind\": \"local\", \"version\": 1}"
    [[ $STATUS == 200 ]]
}

# Exports CHANNEL, a local channel that no other suite uses.
make_channel() {
    export CHANNEL=bats-$RANDOM$RANDOM
    know_channel "$CHANNEL"
}

# make_bot CORE_META [BOT_MEMBERS]: prints the bot's id.
make_bot() {
    local core bot
    core=$(new_uuid) bot=$(new_uuid)
    admin PUT "/v1/core-ai/$core" "{\"name\": \"AI\", \"api_endpoint\": \"http://127.0.0.1:9/v1\", \"meta_data\": $1}"
    admin PUT "/v1/bots/$bot" \
        "$(jq -nc --arg core "$core" --argjson more "${2:-{\}}" '{name: "Lin", core_ai_id: $core} + $more')"
    printf '%s' "$bot"
}

# Leaves CONTACT and CONVERSATION.
open_conversation() {
    CONTACT=c-$RANDOM$RANDOM
    agent POST /v1/conversations \
        "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"$CONTACT\", \"name\": \"Ben\"}}"
    [[ $STATUS == 201 ]]
    CONVERSATION=$(field .id)
}

# says TEXT [JSON members…]: the contact writes.
says() {
    agent POST "/v1/conversations/$CONVERSATION/messages" \
        "$(jq -nc --arg id "$CONTACT" --arg text "$1" --argjson more "${2:-{\}}" \
            '{sender: {kind: "contact", id: $id}, text: $text} + $more')" "${@:3}"
}

# eventually SECONDS COMMAND…
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}
