# shellcheck shell=bash
# What the fault tests share: calls of the three services, and the stack's servers in their hands.
# Needs the environment of `compose/local run`.

STATUS="" BODY=""

# call KEY METHOD URL [BODY] [curl option…]: sets STATUS (000: no answer) and BODY.
call() {
    local key=$1 method=$2 url=$3 body=${4:-} answer
    shift $(($# < 4 ? $# : 4))
    local options=(-sS --max-time 20 -w '\n%{http_code}' -X "$method" -H "Authorization: Bearer $key")
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' --data-binary "$body")
    answer=$(curl "${options[@]}" "$@" "$url" 2>/dev/null) || true
    STATUS=${answer##*$'\n'}
    BODY=${answer%$'\n'*}
}
messaging() { call "$SWITCHBOARD_ADMIN_KEY" "$1" "$MESSAGING_URL$2" "${@:3}"; }
engine() { call "$SWITCHBOARD_ADMIN_KEY" "$1" "$ASSIGNMENT_ENGINE_URL$2" "${@:3}"; }
dispatch() { call "$SWITCHBOARD_ADMIN_KEY" "$1" "$DISPATCH_WORKER_URL$2" "${@:3}"; }
as_service() {
    call "$SERVICE_TOKEN" "$1" "$2" "${3:-}" -H "Switchboard-Tenant: $SWITCHBOARD_TENANT" "${@:4}"
}
field() { jq -r "$1" <<<"$BODY"; }
new_uuid() { cat /proc/sys/kernel/random/uuid; }

# eventually SECONDS COMMAND…: true as soon as COMMAND is.
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# insist STATUSES COMMAND…: calls until the answer is one of STATUSES ("200|201"), as a caller would
# that has a key for its request; for a minute at most.
insist() {
    local wanted=$1
    shift
    eventually 60 answers "$wanted" "$@" && return 0
    printf 'wanted %s of %s, got %s %s\n' "$wanted" "$*" "$STATUS" "$BODY" >&2
    return 1
}
answers() {
    local wanted=$1
    shift
    "$@"
    [[ "|$wanted|" == *"|$STATUS|"* ]]
}

sql() { psql --no-psqlrc -qAtX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1"; }
redis() { redis-cli --no-auth-warning -u "$REDIS_URL" "$@"; }

url_of() {
    case $1 in
    messaging) printf '%s' "$MESSAGING_URL" ;;
    assignment-engine) printf '%s' "$ASSIGNMENT_ENGINE_URL" ;;
    dispatch-worker) printf '%s' "$DISPATCH_WORKER_URL" ;;
    esac
}
is_away() { ! is_ready "$1"; }
is_ready() { [[ $(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "$(url_of "$1")/readyz") == 200 ]]; }
are_ready() { is_ready messaging && is_ready assignment-engine && is_ready dispatch-worker; }

pid_of() { cat "$SWITCHBOARD_STACK/pids/$1"; }
log_of() { printf '%s/log/%s.log' "$SWITCHBOARD_STACK" "$1"; }
has_changed() { [[ $(pid_of "$1") != "$2" ]]; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }

# The servers of a name: redis is all nodes where it is a cluster.
servers_of() {
    local nodes=("$SWITCHBOARD_STACK"/pids/redis.*)
    if [[ $1 == redis && -e ${nodes[0]} ]]; then printf '%s\n' "${nodes[@]##*/}"; else printf '%s\n' "$1"; fi
}

# take_away NAME: the server ends at once, and stays down until bring_back.
take_away() {
    local names pids=() name
    mapfile -t names < <(servers_of "$1")
    for name in "${names[@]}"; do
        pids+=("$(pid_of "$name")")
        touch "$SWITCHBOARD_STACK/hold/$name"
    done
    kill -KILL "${pids[@]}"
    for name in "${pids[@]}"; do eventually 5 is_gone "$name"; done
}
bring_back() {
    local names
    mapfile -t names < <(servers_of "$1")
    rm -f "${names[@]/#/$SWITCHBOARD_STACK/hold/}"
}

# restart_with FAULT SERVICE: a process that has met no fault yet, with this one before it.
restart_with() {
    local name=$2.1 pid
    pid=$(pid_of "$name")
    [[ -z $1 ]] || printf '%s' "$1" >"$SWITCHBOARD_STACK/fault/$name"
    kill -KILL "$pid"
    eventually 20 has_changed "$name" "$pid" && eventually 20 is_ready "$2"
}

redis_is_connected() {
    messaging GET /v1/handler/status
    [[ $(field .components.redis_connected) == true ]]
}

# Everything as it was, whatever a test left behind.
mend_stack() {
    rm -f "$SWITCHBOARD_STACK"/hold/* "$SWITCHBOARD_STACK"/fault/*
    eventually 60 are_ready
}

# metric URL NAME: the sum of a metric over its labels.
metric() {
    curl -sS --max-time 5 "$1/metrics" | awk -v name="$2" \
        'index($1, name) == 1 && $1 !~ /^#/ { sum += $2 } END { print sum + 0 }'
}

# prepare_team: TEAM with one online agent, AGENT.
prepare_team() {
    TEAM=$(new_uuid) AGENT=$(new_uuid)
    insist "200|201" engine PUT "/v1/teams/$TEAM" '{"name": "Faults", "strategy": "round_robin"}'
    insist "200|201" engine PUT "/v1/agents/$AGENT" \
        '{"name": "Anna", "capacity_units": 100, "presence_mode": "manual"}'
    insist 200 engine PUT "/v1/agents/$AGENT/status" '{"status": "online"}'
    insist "200|201" engine PUT "/v1/teams/$TEAM/members/$AGENT" '{}'
}

# prepare_channel CODE [local|slack]
prepare_channel() {
    local workspace='{"provider": "local"}'
    [[ ${2:-local} == local ]] || workspace=$(jq -nc --arg url "$SLACK_STANDIN_URL" \
        '{provider: "slack", token: "xoxb-good", api_base_url: $url}')
    insist "200|201" dispatch PUT "/v1/workspaces/$1" "$workspace"
    insist "200|201" dispatch PUT "/v1/channels/$1" "$(jq -nc --arg code "$1" \
        '{workspace_code: $code, provider_channel_id: "C0FAULTS",
          rate: {per_second: 100, burst: 100}}')"
    insist 200 as_service POST "$MESSAGING_URL/v1/internal/channels" \
        "{\"code\": \"$1\", \"kind\": \"${2:-local}\", \"version\": 1}"
}

# open_conversation CHANNEL: CONVERSATION of a new CONTACT.
open_conversation() {
    CONTACT=c-$RANDOM$RANDOM
    insist "200|201" messaging POST /v1/conversations \
        "{\"channel_code\": \"$1\", \"contact\": {\"external_id\": \"$CONTACT\"}}"
    CONVERSATION=$(field .id)
}

# says TEXT [JSON members] [curl option…]: the contact writes.
says() {
    messaging POST "/v1/conversations/$CONVERSATION/messages" \
        "$(jq -nc --arg id "$CONTACT" --arg text "$1" --argjson more "${2:-{\}}" \
            '{sender: {kind: "contact", id: $id}, text: $text} + $more')" "${@:3}"
}
replies() {
    messaging POST "/v1/conversations/$CONVERSATION/replies" \
        "$(jq -nc --arg text "$1" '{text: $text, sender: {kind: "agent", id: "a"}}')" "${@:2}"
}

# delivered CHANNEL TEXT: how often the local transport has delivered it, repeats of a row included.
delivered() {
    sql "select coalesce(sum(1 + repeats), 0) from dispatch.local_outbox
        where channel_code = '$1' and text = '$2'"
}
is_delivered_once() { [[ $(delivered "$1" "$2") == 1 ]]; }
request_is() { # STATUS ID
    dispatch GET "/v1/message-requests/$2"
    [[ $STATUS == 200 && $(field .status) == "$1" ]]
}
request_exists() {
    dispatch GET "/v1/message-requests/$1"
    [[ $STATUS == 200 ]]
}
sessions_of_conversation() {
    sql "select count(*) from assignment.sessions where conversation_id = '$CONVERSATION'"
}
outbox_is_empty() {
    [[ $(sql "select count(*) from platform.outbox
        where published_at is null and laid_aside_at is null") == 0 ]]
}
