# shellcheck shell=bash
# What the suites of messaging share: asking, and a conversation to ask about.

# Sets STATUS and BODY. Arguments: key, method, path, body, further curl options.
ask() {
    local key=$1 method=$2 path=$3 body=${4:-} answer
    shift $(($# < 4 ? $# : 4))
    local options=(-sS --max-time 20 -w '\n%{http_code}' -X "$method" -H "Authorization: Bearer $key")
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' --data-binary "$body")
    answer=$(curl "${options[@]}" "$@" "$MESSAGING_URL$path")
    STATUS=${answer##*$'\n'}
    BODY=${answer%$'\n'*}
}
agent() { ask "$SWITCHBOARD_AGENT_KEY" "$@"; }
admin() { ask "$SWITCHBOARD_ADMIN_KEY" "$@"; }
as_service() {
    local method=$1 path=$2 body=$3
    ask "$SERVICE_TOKEN" "$method" "$path" "$body" -H "Switchboard-Tenant: $SWITCHBOARD_TENANT"
}
field() { jq -r "$1" <<<"$BODY"; }

# Exports CHANNEL, a local channel that no other suite uses.
make_channel() {
    export CHANNEL=bats-$RANDOM$RANDOM
    as_service POST /v1/internal/channels \
        "{\"code\": \"$CHANNEL\", \"kind\": \"local\", \"version\": 1}"
    [[ $STATUS == 200 ]]
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
