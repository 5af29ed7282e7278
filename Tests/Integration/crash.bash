# shellcheck shell=bash
# The main job, and what must be true of it after a death: the message, the bot's answer, the
# assignment and the delivery have happened once. After stack.bash; uses SERVICE, TRANSPORT, CHANNEL
# and POINT.

readonly SETTLE=60
FAULTS=0 DEATHS=0

broken() {
    printf 'killed at %s: %s\n' "$POINT" "$*"
    FAULTS=$((FAULTS + 1))
}

deaths() { grep -c '^fault point ' "$(log_of "$SERVICE.1")" || true; }
has_died() { (($(deaths) > DEATHS)); }

# expect WHAT FOUND WANTED
expect() { [[ $2 == "$3" ]] || broken "$1: $2, not $3"; }

bot_has_answered() {
    messaging GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field 'any(.items[]; .sender.kind == "bot")') == true ]]
}
is_assigned() {
    [[ $(sql "select state from assignment.sessions where conversation_id = '$CONVERSATION'") == assigned ]]
}
# The bot's answer and the agent's reply.
both_are_delivered() {
    messaging GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[].delivery | select(. != null) | .state] | join(" ")') == "delivered delivered" ]]
}

# One conversation through all three services, by a caller that repeats what got no answer.
main_job() {
    local key=$1
    insist "200|201" says "$key" "{\"external_id\": \"$key\"}" -H "Idempotency-Key: $key" || return 1
    eventually "$SETTLE" bot_has_answered || { broken "the bot did not answer" && return 0; }
    insist "200|201" messaging POST "/v1/conversations/$CONVERSATION/handover" \
        "{\"team_id\": \"$TEAM\"}" -H "Idempotency-Key: $key" || return 1
    eventually "$SETTLE" is_assigned || { broken "nobody got it" && return 0; }
    insist 202 replies "$key" -H "Idempotency-Key: $key" || return 1
    eventually "$SETTLE" both_are_delivered || broken "they are not shown as delivered"
    eventually "$SETTLE" outbox_is_empty || broken "something stays in the outbox"
}

count_of() {
    messaging GET "/v1/conversations/$CONVERSATION/messages?limit=200"
    jq --arg kind "$1" '[.items[] | select(.sender.kind == $kind)] | length' <<<"$BODY"
}

bot_text() {
    messaging GET "/v1/conversations/$CONVERSATION/messages?limit=200"
    field 'first(.items[] | select(.sender.kind == "bot")).text'
}

sent_times() {
    if [[ $TRANSPORT == local ]]; then
        delivered "$CHANNEL" "$1"
    else
        curl -sS --max-time 5 "${SLACK_STANDIN_URL%/api}/_deliveries" |
            jq --arg text "$1" '[.deliveries[] | select(.text == $text)] | length'
    fi
}

happened_once() {
    expect "messages of the customer" "$(count_of contact)" 1
    expect "answers of the bot" "$(count_of bot)" 1
    expect "replies" "$(count_of agent)" 1
    expect "sessions" "$(sql "select count(*) from assignment.sessions
        where conversation_id = '$CONVERSATION'")" 1
    expect "assignments" "$(sql "select count(*) from assignment.assignment_decisions d
        join assignment.sessions s on s.tenant_id = d.tenant_id and s.id = d.session_id
        where s.conversation_id = '$CONVERSATION' and d.outcome = 'assign'")" 1
    expect "load of the agent" "$(sql "select active_units from assignment.agents
        where id = '$AGENT'")" "$(sql "select count(*) from assignment.sessions
        where assignee_id = '$AGENT' and state = 'assigned'")"
    expect "deliveries of the reply" "$(sent_times "$1")" 1
    expect "deliveries of the bot's answer" "$(sent_times "$(bot_text)")" 1
}
