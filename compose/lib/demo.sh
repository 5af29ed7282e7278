# shellcheck shell=bash
# The main job, played end to end against the running services and told as a story.

readonly DEMO_WAIT=30 # seconds that one step may take until its result is there
readonly CUSTOMER_TEXT="Hello, I lost my key card. Can you help me?"
readonly AGENT_TEXT="Hello, this is Anna. A new card is waiting for you at the front desk."
STEP=0 ANSWER=""

play_demo() {
    local started
    started=$(now_ms)
    tell "One conversation through three services."
    prepare_people
    open_conversation
    customer_writes
    bot_answers
    bot_hands_over
    engine_explains
    agent_replies
    if [[ -z $NO_REDIS ]]; then
        message_is_sent
        delivery_is_shown
    else
        request_is_accepted
        printf '\nWithout Redis the story ends at "accepted": the message is stored, not sent.\n'
    fi
    printf '\nAll %d steps held, in %d s.\n' "$STEP" "$((($(now_ms) - started) / 1000))"
}

tell() { printf '%s\n' "$*"; }

step() {
    STEP=$((STEP + 1))
    printf '\n%d. %s\n' "$STEP" "$1"
}

# shows LABEL TEXT: one thing that was asked or seen.
shows() { printf '     %-9s %s\n' "$1" "$2"; }

# ask EXPECTED METHOD SERVICE PATH [JSON]: one call with the agent's key; the answer is in ANSWER.
ask() {
    local service=$3
    shows "asked" "$2 $service$4${5:+ $5}"
    ANSWER=$(call "$1" "$2" "$(url_of "$service")$4" "$AGENT_KEY" "${5:-}" \
        "Idempotency-Key: $(new_uuid)") || broken "it answered: $ANSWER"
}

# await WORDS CONDITION SERVICE PATH [JQ OPTION…]: asks again until the answer satisfies a jq condition.
await() {
    local words=$1 condition=$2 service=$3 path=$4
    shift 4
    shows "asked" "GET $service$path, until $words"
    wait_until "$DEMO_WAIT" satisfied "$condition" "$service" "$path" "$@" ||
        broken "after $DEMO_WAIT s it still answered: $ANSWER"
}

satisfied() {
    local condition=$1 service=$2 path=$3
    shift 3
    ANSWER=$(call 200 GET "$(url_of "$service")$path" "$AGENT_KEY" 2>/dev/null) &&
        jq -e "$@" "$condition" <<<"$ANSWER" >/dev/null 2>&1
}

# take VARIABLE FILTER: what the last answer says there; the step is broken when it says nothing.
take() {
    local value
    value=$(jq -r "$2 // empty" <<<"$ANSWER" 2>/dev/null) || value=""
    [[ -n $value ]] || broken "the answer has no $2: $ANSWER"
    printf -v "$1" '%s' "$value"
}

# expect FILTER VALUE
expect() {
    local found
    take found "$1"
    [[ $found == "$2" ]] || broken "$1 is '$found', not '$2': $ANSWER"
}

broken() {
    tell ""
    tell "Step $STEP did not hold: $*" | cut -c1-2000
    exit 1
}

prepare_people() {
    step "A team, an agent who is online, and a channel of the local transport."
    local url
    url=$(url_of assignment-engine)
    TEAM=$(new_uuid) AGENT=$(new_uuid)
    set_up "$url/v1/teams/$TEAM" '{"name": "Front desk", "strategy": "round_robin"}'
    set_up "$url/v1/agents/$AGENT" \
        '{"name": "Anna", "capacity_units": 5, "presence_mode": "manual"}'
    set_up "$url/v1/agents/$AGENT/status" '{"status": "online"}'
    set_up "$url/v1/teams/$TEAM/members/$AGENT" '{}'
    prepare_demo_channel
    shows "made" "team 'Front desk' with agent Anna, online; channel '$CHANNEL'"
}

# messaging learns of a new channel by an event, so the first try may come too early.
open_conversation() {
    step "A customer comes in on the channel: messaging opens a conversation."
    local body
    CONTACT=customer-$(random_hex 4)
    body=$(jq -nc --arg channel "$CHANNEL" --arg contact "$CONTACT" \
        '{channel_code: $channel, contact: {external_id: $contact, name: "Ben"}}')
    shows "asked" "POST messaging/v1/conversations $body"
    wait_until "$DEMO_WAIT" conversation_opens "$body" || broken "it answered: $ANSWER"
    take CONVERSATION .id
    shows "seen" "conversation $CONVERSATION"
}

conversation_opens() {
    ANSWER=$(call "200|201" POST "$(url_of messaging)/v1/conversations" "$AGENT_KEY" "$1" \
        "Idempotency-Key: $(new_uuid)" 2>/dev/null)
}

customer_writes() {
    step "The customer writes: one transaction stores it, finds its thread and wakes the bot."
    local body message method status
    body=$(jq -nc --arg text "$CUSTOMER_TEXT" --arg id "in-$(random_hex 4)" --arg contact "$CONTACT" \
        '{sender: {kind: "contact", id: $contact}, text: $text, external_id: $id}')
    ask 201 POST messaging "/v1/conversations/$CONVERSATION/messages" "$body"
    take message .message.id
    take THREAD .assignment.thread_id
    take method .assignment.method
    take status .bot.status
    take JOB .bot.ai_job_id
    shows "seen" "message $message in thread $THREAD ($method)"
    shows "seen" "$status, AI job $JOB"
}

bot_answers() {
    step "The bot answers, and only because nothing newer has come in meanwhile."
    local text
    await "it is completed" '.status == "completed"' messaging "/v1/ai-jobs/$JOB"
    await "the bot has written" 'any(.items[]; .sender.kind == "bot")' messaging \
        "/v1/conversations/$CONVERSATION/messages"
    take text 'first(.items[] | select(.sender.kind == "bot")).text'
    shows "seen" "bot: \"$text\""
    [[ -z $NO_REDIS ]] || return 0
    # It goes to the customer the way an agent's reply does.
    await "it is delivered" 'any(.items[]; .sender.kind == "bot" and .delivery.state == "delivered")' \
        messaging "/v1/conversations/$CONVERSATION/messages"
    ask 200 GET dispatch-worker "/v1/local-outbox?channel_code=$CHANNEL"
    sent_once "$text"
    shows "seen" "the local transport has delivered exactly one such message"
}

# sent_once TEXT: the last answer, a local outbox, holds one such message, delivered once.
sent_once() {
    local times
    times=$(jq --arg text "$1" '[.items[] | select(.text == $text) | 1 + .repeats] | add // 0' <<<"$ANSWER") ||
        times="?"
    [[ $times == 1 ]] || broken "the local outbox holds it $times times: $ANSWER"
}

bot_hands_over() {
    step "The conversation is handed over: assignment-engine chooses a person in one transaction."
    local reason
    ask "200|201" POST messaging "/v1/conversations/$CONVERSATION/handover" \
        "$(jq -nc --arg team "$TEAM" '{team_id: $team, reason: "the customer needs a person"}')"
    expect .outcome assign
    expect .agent_id "$AGENT"
    take reason .reason
    take SESSION .session.id
    shows "seen" "outcome assign ($reason): Anna, session $SESSION"
}

engine_explains() {
    step "Why Anna? The decision is stored with its reasons."
    local strategy explanation
    ask 200 GET assignment-engine "/v1/sessions/$SESSION/decisions"
    expect '.items[0].outcome' assign
    take strategy '.items[0].strategy'
    take explanation '.items[0].explanation | if type == "string" then . else tojson end'
    shows "seen" "$strategy: $explanation"
}

agent_replies() {
    step "Anna replies: messaging stores it and asks dispatch-worker to deliver it."
    ask 202 POST messaging "/v1/conversations/$CONVERSATION/replies" \
        "$(jq -nc --arg text "$AGENT_TEXT" --arg agent "$AGENT" --arg thread "$THREAD" \
            '{text: $text, thread_id: $thread, sender: {kind: "agent", id: $agent}}')"
    take REQUEST .message_request_id
    shows "seen" "message request $REQUEST"
}

request_is_accepted() {
    step "dispatch-worker accepts the request: from here on it cannot be lost."
    await "it is accepted" '.status == "accepted"' dispatch-worker "/v1/message-requests/$REQUEST"
    shows "seen" "status accepted"
}

message_is_sent() {
    step "dispatch-worker sends it once."
    local attempts
    await "it is sent" '.status == "sent"' dispatch-worker "/v1/message-requests/$REQUEST"
    take PROVIDER_TS .provider_ts
    take attempts '.attempts | length'
    shows "seen" "sent with $attempts attempt, provider ts $PROVIDER_TS"

    step "The customer's side: the local transport has delivered exactly one such message."
    ask 200 GET dispatch-worker "/v1/local-outbox?channel_code=$CHANNEL"
    sent_once "$AGENT_TEXT"
    shows "seen" "\"$AGENT_TEXT\""
}

delivery_is_shown() {
    step "The outcome comes back onto the message in the conversation."
    # shellcheck disable=SC2016 # jq's variables
    await "it is delivered" 'any(.items[]; .text == $text and .delivery.state == "delivered" and
        .delivery.provider_ts == $ts)' messaging "/v1/conversations/$CONVERSATION/messages" \
        --arg text "$AGENT_TEXT" --arg ts "$PROVIDER_TS"
    shows "seen" "delivered, ts $PROVIDER_TS"
}
