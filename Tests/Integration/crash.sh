#!/usr/bin/env bash
# Kills a service between every two steps of the main job: at its first fault point, in another run
# at its second, and so on until a run ends unharmed. After each death everything must have happened
# once: the message, the bot's answer, the assignment, the delivery.
#
# Needs the environment of `compose/local run`, best with short leases.
# Usage: crash.sh SERVICE [local|slack] [FIRST STEP]: begins at the fault FIRST and goes on by STEP.
# SWITCHBOARD_CRASH_POINT=NAME tries only the point of that name.
set -euo pipefail
# shellcheck source=stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"

SERVICE=$1 TRANSPORT=${2:-local} FIRST=${3:-1} STEP=${4:-1}
readonly POINTS_MAX=200 SETTLE=60
CHANNEL=crash-$RANDOM$RANDOM
FAULTS=0

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

eventually 60 are_ready
prepare_team
prepare_channel "$CHANNEL" "$TRANSPORT"
for ((number = FIRST; number <= POINTS_MAX; number += STEP)); do
    POINT="point $number of $SERVICE"
    key="$CHANNEL-$number"
    DEATHS=$(deaths)
    open_conversation "$CHANNEL"
    # What is left of earlier runs would be counted as steps of this one.
    eventually "$SETTLE" outbox_is_empty
    restart_with "${SWITCHBOARD_CRASH_POINT:-*}:$number:die" "$SERVICE"
    main_job "$key" || broken "the job came to no end"
    if ! eventually 2 has_died; then
        printf 'point %d was not reached: every one of %s before it has been tried\n' "$number" "$SERVICE"
        break
    fi
    POINT=$(grep '^fault point ' "$(log_of "$SERVICE.1")" | tail -n 1 | sed 's/fault point //; s/: .*//')
    eventually "$SETTLE" is_ready "$SERVICE" || broken "it does not come back"
    happened_once "$key"
    printf 'killed at %-26s (%d)\n' "$POINT" "$number"
    [[ -z ${SWITCHBOARD_CRASH_POINT:-} ]] || break
done
((number > FIRST)) || has_died || { echo "no fault was ever met" && exit 1; }
((FAULTS == 0))
