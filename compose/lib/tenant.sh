# shellcheck shell=bash
# The demo tenant: its keys, its AI, its channel.

readonly TENANT=demo CHANNEL=front-desk
ADMIN_KEY="" AGENT_KEY=""

make_demo_tenant() {
    ADMIN_KEY=$(make_key admin)
    AGENT_KEY=$(make_key agent)
    [[ -z $AI_BASE_URL ]] || use_ai "$AI_BASE_URL"
}

# The key is shown once, alone on the last line.
make_key() {
    local key
    key=$(messaging_tool keys create --tenant "$TENANT" --role "$1" 2>>"$STACK/log/keys.log" |
        tail -n 1)
    [[ $key =~ ^sb_[^[:space:]]+$ ]] ||
        { show_log "$STACK/log/keys.log" && fail "messaging keys create made no key"; }
    printf '%s' "$key"
}

# call EXPECTED METHOD URL KEY [JSON] [HEADER…]: prints the answer's body; EXPECTED is a status or
# several, as 200|201. False when the answer is another.
call() {
    local expected=$1 method=$2 url=$3 key=$4 body=${5:-} answer status
    shift $(($# < 5 ? $# : 5))
    local options=(-sS --max-time 15 -X "$method" -H "Authorization: Bearer $key" -w '\n%{http_code}')
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' --data-binary "$body")
    while (($# > 0)); do options+=(-H "$1") && shift; done
    answer=$(curl "${options[@]}" "$url" 2>&1) || { printf '%s\n' "$answer" && return 1; }
    status=${answer##*$'\n'}
    printf '%s\n' "${answer%$'\n'*}"
    [[ "|$expected|" == *"|$status|"* ]] || { say "$method $url answered $status" && return 1; }
}

new_uuid() { cat /proc/sys/kernel/random/uuid; }

# Makes an OpenAI-compatible endpoint the AI behind the tenant's default bot.
use_ai() {
    local core bot url
    url=$(url_of messaging)
    core=$(new_uuid) bot=$(new_uuid)
    set_up "$url/v1/core-ai/$core" "$(jq -nc --arg endpoint "$1" \
        '{name: "Demo AI", api_endpoint: $endpoint, auth_required: false, timeout_seconds: 30,
          meta_data: {provider: "openai", model: "demo"}}')"
    set_up "$url/v1/bots/$bot" "$(jq -nc --arg core "$core" \
        '{name: "Demo bot", language: "en", is_active: true, core_ai_id: $core}')"
    set_up "$url/v1/tenant/default-bot" "$(jq -nc --arg bot "$bot" '{bot_id: $bot}')"
}

# A channel of the embedded local transport, so that there is somewhere to send to.
prepare_demo_channel() {
    local url
    url=$(url_of dispatch-worker)
    set_up "$url/v1/workspaces/local" '{"provider": "local"}'
    set_up "$url/v1/channels/$CHANNEL" \
        "$(jq -nc --arg channel "$CHANNEL" '{workspace_code: "local", provider_channel_id: $channel}')"
}

# set_up URL JSON: puts one piece of the demo tenant's configuration.
set_up() {
    call "200|201|204" PUT "$1" "$ADMIN_KEY" "$2" >"$STACK/log/tenant.log" && return 0
    show_log "$STACK/log/tenant.log"
    fail "the demo tenant could not be set up"
}

# The story of the demo in a few calls, to be pasted into another terminal.
print_tour() {
    cat <<TOUR

Switchboard is up; Ctrl-C ends it and everything that it started.

  messaging          $(url_of messaging)/docs
  assignment-engine  $(url_of assignment-engine)/docs
  dispatch-worker    $(url_of dispatch-worker)/docs
  logs               $STACK/log/

  export DATABASE_URL='$DATABASE_URL'
  export REDIS_URL='${REDIS_URL:-}'
  export MESSAGING_URL=$(url_of messaging)
  export ASSIGNMENT_ENGINE_URL=$(url_of assignment-engine)
  export DISPATCH_WORKER_URL=$(url_of dispatch-worker)
  export SWITCHBOARD_ADMIN_KEY=$ADMIN_KEY
  export SWITCHBOARD_AGENT_KEY=$AGENT_KEY

A tour, with the lines above in your shell:

  sb() { curl -sS -H "Authorization: Bearer \$SWITCHBOARD_AGENT_KEY" -H 'Content-Type: application/json' "\$@" | jq .; }
  sb \$MESSAGING_URL/health
  C=\$(sb \$MESSAGING_URL/v1/conversations -d '{"channel_code": "$CHANNEL", "contact": {"external_id": "ben"}}' | jq -r .id)
  sb \$MESSAGING_URL/v1/conversations/\$C/messages -d '{"sender": {"kind": "contact", "id": "ben"}, "text": "Hello?"}'
  sb \$MESSAGING_URL/v1/conversations/\$C/messages
  sb \$DISPATCH_WORKER_URL/v1/message-requests -d '{"channel_code": "$CHANNEL", "text": "Hello, Ben"}'
  sb "\$DISPATCH_WORKER_URL/v1/local-outbox?channel_code=$CHANNEL"
TOUR
}
