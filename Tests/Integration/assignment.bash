# shellcheck shell=bash
# What the suites of assignment-engine share. Needs the environment of `compose/local run`.

# Sets STATUS and BODY. Arguments: key, method, path, body, further curl options.
ask() {
    local key=$1 method=$2 path=$3 body=${4:-} answer
    shift $(($# < 4 ? $# : 4))
    local options=(-sS --max-time 20 -w '\n%{http_code}' -X "$method" -H "Authorization: Bearer $key")
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' --data-binary "$body")
    answer=$(curl "${options[@]}" "$@" "$ASSIGNMENT_ENGINE_URL$path")
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
new_id() { cat /proc/sys/kernel/random/uuid; }

# is STATUS [JQ-EXPRESSION…]: the last answer has this status, and each expression is true of it.
is() {
    local expression
    if [[ $STATUS != "$1" ]]; then
        echo "wanted $1, got $STATUS: $BODY"
        return 1
    fi
    for expression in "${@:2}"; do
        jq -e "$expression" <<<"$BODY" >/dev/null && continue
        echo "not so: $expression in $BODY"
        return 1
    done
}

# key TENANT ROLE: prints a new key; the tenant is made if it is new.
key() {
    "$SWITCHBOARD_BIN/messaging" keys create --tenant "$1" --role "$2" 2>/dev/null | tail -n 1
}

# own_tenant: TENANT is a new one, and its keys take the place of the demo tenant's for one test.
own_tenant() {
    TENANT=t-$RANDOM$RANDOM$RANDOM
    SWITCHBOARD_ADMIN_KEY=$(key "$TENANT" admin)
    SWITCHBOARD_AGENT_KEY=$(key "$TENANT" agent)
    export SWITCHBOARD_ADMIN_KEY SWITCHBOARD_AGENT_KEY
}

# a_team [JSON members]: sets TEAM.
a_team() {
    TEAM=$(new_id)
    admin PUT "/v1/teams/$TEAM" "$(jq -nc --argjson more "${1:-{\}}" '{name: "Team"} + $more')"
    is 201
}

# joins NAME [AGENT-JSON] [MEMBER-JSON]: an agent of TEAM, online; sets AGENT.
joins() {
    AGENT=$(new_id)
    admin PUT "/v1/agents/$AGENT" \
        "$(jq -nc --arg name "$1" --argjson more "${2:-{\}}" '{name: $name} + $more')"
    is 201
    admin PUT "/v1/teams/$TEAM/members/$AGENT" "${3:-{\}}"
    is 200
    status "$AGENT" online
}
status() {
    agent PUT "/v1/agents/$1/status" "{\"status\": \"$2\"}"
    is 200
}

# hands_over [JSON members] [curl options…]: a conversation asks for a person of TEAM; sets SESSION.
hands_over() {
    agent POST /v1/sessions "$(jq -nc --arg id "$(new_id)" --arg team "$TEAM" \
        --argjson more "${1:-{\}}" '{conversation_id: $id, contact_id: ("c-" + $id),
            team_id: $team, source: "handover"} + $more')" "${@:2}"
    SESSION=$(field .session.id)
}

# becomes JQ-EXPRESSION [TENTHS]: waits until it is true of SESSION.
becomes() {
    local tenths=${2:-60}
    while ((tenths-- > 0)); do
        agent GET "/v1/sessions/$SESSION"
        ! jq -e "$1" <<<"$BODY" >/dev/null || return 0
        sleep 0.1
    done
    echo "not so: $1 in $BODY"
    return 1
}

# events NAME SESSION: prints the data of this session's events of that name.
events() {
    psql "$DATABASE_URL" -qAtc "select payload from platform.outbox
        where source = 'assignment-engine' and target = '$1' and key = '$2' order by id"
}

# Prints how many decisions there are of TEAM's tenant.
decisions() {
    psql "$DATABASE_URL" -qAtc "select count(*) from assignment.assignment_decisions
        where tenant_id = (select tenant_id from assignment.teams where id = '$TEAM')"
}
