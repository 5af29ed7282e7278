#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031
# What the bot and people answer to a contact on Slack, over all three services: an event comes in,
# the answer is posted once, in the thread that it belongs to. Needs the environment of
# `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"
# shellcheck source=slack_support.bash
source "$BATS_TEST_DIRNAME/slack_support.bash"

setup_file() {
    export CHANNEL=answers-$RANDOM$RANDOM TEAM=T$RANDOM$RANDOM SLACK_CHANNEL=C$RANDOM$RANDOM
    make_slack_channel
    # Bursts are no matter here.
    admin PUT "/v1/channels/$CHANNEL/mailbox" '{"debounce_ms": 0}'
    [[ $STATUS == 200 ]]
}
setup() {
    SLACK_USER=U$RANDOM$RANDOM EVENT=Ev$RANDOM$RANDOM TS=$(new_ts)
}

# writes TEXT [ROOT]: the contact writes on Slack, in the thread that ROOT began; Slack tells of it.
writes() {
    local more='{}'
    [[ -z ${2:-} ]] || more="{\"thread_ts\": \"$2\"}"
    stand_in _control "$(jq -nc --arg channel "$SLACK_CHANNEL" --arg ts "$TS" --arg text "$1" \
        --argjson more "$more" '{message: ({channel: $channel, ts: $ts, text: $text} + $more)}')"
    sends "$(message "$1" "$more")"
    [[ $STATUS == 200 ]]
}
# posts_for TEXT: what the stand-in has of it, as "TEXT<TS of the thread>", one a line.
posts_for() {
    curl -sS --max-time 5 "${SLACK_STANDIN_URL%/api}/_deliveries" |
        jq -r --arg channel "$SLACK_CHANNEL" --arg part "$1" '.deliveries[] |
            select(.channel == $channel and (.text | contains($part))) | "\(.text)<\(.thread_ts)>"'
}
has_posts() { [[ $(posts_for "$1") == "$2" ]]; }
# conversation: sets CONVERSATION of SLACK_USER.
conversation() {
    agent GET "/v1/conversations?contact=$SLACK_USER"
    CONVERSATION=$(field '.items[0].id // empty')
    [[ -n $CONVERSATION ]]
}
# delivery_is KIND STATE: of the newest message of that sender.
delivery_is() {
    conversation && agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field "[.items[] | select(.sender.kind == \"$1\")][0].delivery.state") == "$2" ]]
}

@test "a contact's event is answered by the bot with one post in its thread, and the outcome comes back" {
    writes "where is my refund $EVENT"
    eventually 20 has_posts "$EVENT" "Healthcare Assistant: I understand: where is my refund $EVENT<$TS>"
    eventually 10 delivery_is bot delivered
    [[ $(field '[.items[] | select(.sender.kind == "bot")] | length') == 1 ]]
    [[ $(field '.items[0].delivery.provider_ts') =~ ^[0-9]+\.[0-9]{6}$ ]]
    # Slack tells of it again, and our own post comes back as an event: nothing more is said.
    sends "$(message "where is my refund $EVENT")"
    [[ $(field .outcome) == duplicate ]]
    EVENT=$EVENT-own TS=$(new_ts)
    sends "$(message "Healthcare Assistant: I understand" '{"bot_id": "B0STANDIN"}')"
    eventually 10 has_state ignored bot
    has_posts "${EVENT%-own}" \
        "Healthcare Assistant: I understand: where is my refund ${EVENT%-own}<$(thread_of_first)>"
}
thread_of_first() {
    agent GET "/v1/conversations/$CONVERSATION/messages"
    field '[.items[] | select(.sender.kind == "contact")][0].external_id | split(":")[3]'
}

@test "what is written in a thread is answered there, by the bot and by an agent" {
    local root first=$EVENT
    root=$TS
    writes "first $EVENT"
    eventually 20 has_posts "first $first" "Healthcare Assistant: I understand: first $first<$root>"
    TS=$(new_ts) EVENT=$EVENT-2
    writes "second $EVENT" "$root"
    eventually 20 has_posts "second $EVENT" "Healthcare Assistant: I understand: second $EVENT<$root>"
    # A new topic on the channel begins a thread of its own; both can be answered.
    local other zebra="zebra$RANDOM$RANDOM parking permits expire during winter holidays"
    TS=$(new_ts) EVENT=$EVENT-3 other=$TS
    writes "$zebra"
    eventually 20 has_posts "$zebra" "Healthcare Assistant: I understand: $zebra<$other>"
    conversation
    agent GET "/v1/conversations/$CONVERSATION/messages"
    local thread
    thread=$(field "[.items[] | select(.text == \"first $first\")][0].thread_id")
    agent POST "/v1/conversations/$CONVERSATION/replies" \
        "{\"text\": \"to the first $first\", \"thread_id\": \"$thread\", \"sender\": {\"kind\": \"agent\", \"id\": \"a\"}}"
    [[ $STATUS == 202 ]]
    agent POST "/v1/conversations/$CONVERSATION/replies" \
        "{\"text\": \"to the last $first\", \"sender\": {\"kind\": \"agent\", \"id\": \"a\"}}"
    eventually 20 has_posts "to the first $first" "to the first $first<$root>"
    eventually 20 has_posts "to the last $first" "to the last $first<$other>"
}

@test "an answer that is longer than Slack takes is several posts, in order and in its thread" {
    local text number
    for number in {1..130}; do text+="Sentence $number of $EVENT ends here. "; done
    text=${text% }
    writes "$text"
    eventually 30 has_parts 2
    eventually 10 delivery_is bot delivered
    # Each is a message of the conversation, with a delivery of its own, and Slack cut none.
    [[ $(field '[.items[] | select(.sender.kind == "bot")] | map(.delivery.state) | unique | tostring') == '["delivered"]' ]]
    [[ $(field '[.items[] | select(.sender.kind == "bot") | .text | length <= 3900] | tostring') == '[true,true]' ]]
    [[ $(parts | jq -r '.[0].text') == *"ends here." ]]
    [[ $(parts | jq -r 'map(.text) | join(" ")') == "Healthcare Assistant: I understand: $text" ]]
    [[ $(parts | jq -r 'map(.thread_ts) | unique | tostring') == "[\"$TS\"]" ]]
}
# What the stand-in has of this event, as it came.
parts() {
    curl -sS --max-time 5 "${SLACK_STANDIN_URL%/api}/_deliveries" |
        jq -c --arg part "$EVENT" '[.deliveries[] | select(.text | contains($part))]'
}
has_parts() { [[ $(parts | jq length) == "$1" ]]; }

@test "an agent's reply that is longer than Slack takes is several posts, in order and in its thread" {
    local text="" number first
    writes "question"
    eventually 20 delivery_is bot delivered
    for number in {1..130}; do text+="Sentence $number of $EVENT ends here. "; done
    text=${text% }
    answers_at_length "$text" "$EVENT"
    [[ $STATUS == 202 && $(field '.messages | length') == 2 ]]
    [[ $(field '.message == .messages[0] and .message.text != .messages[1].text') == true ]]
    first=$BODY
    # Who repeats it, repeats nothing.
    answers_at_length "$text" "$EVENT"
    [[ $STATUS == 202 && $BODY == "$first" ]]
    eventually 30 has_parts 2
    eventually 10 delivery_is agent delivered
    [[ $(field '[.items[] | select(.sender.kind == "agent") | .delivery.state] | tostring') == '["delivered","delivered"]' ]]
    [[ $(parts | jq -r 'map(.text) | join(" ")') == "$text" ]]
    [[ $(parts | jq -r 'map(.thread_ts) | unique | tostring') == "[\"$TS\"]" ]]
    # Where any length is taken it is one message.
    local code=long-$RANDOM$RANDOM
    as_service POST /v1/internal/channels "{\"code\": \"$code\", \"kind\": \"local\", \"version\": 1}"
    CHANNEL=$code open_conversation
    answers_at_length "$text" "$EVENT-local"
    [[ $STATUS == 202 && $(field '.messages | length') == 1 && $(field .message.text) == "$text" ]]
}
answers_at_length() { # TEXT KEY
    agent POST "/v1/conversations/$CONVERSATION/replies" \
        "$(jq -nc --arg text "$1" '{text: $text, sender: {kind: "agent", id: "a"}}')" \
        -H "Idempotency-Key: $2"
}

@test "an answer that newer words superseded is never posted; the one to both is" {
    local code bot
    bot=$(make_bot '{"provider": "simulated", "delay_ms": 2000}')
    writes "one $EVENT"
    eventually 20 has_posts "one $EVENT" "Healthcare Assistant: I understand: one $EVENT<$TS>"
    conversation
    psql "$DATABASE_URL" -XAtqc \
        "update messaging.conversations set bot_id = '$bot' where id = '$CONVERSATION'"
    TS=$(new_ts) EVENT=$EVENT-2
    writes "two $EVENT"
    eventually 10 is_thinking
    TS=$(new_ts) EVENT=${EVENT%-2}-3
    writes "three $EVENT"
    eventually 20 has_posts "three $EVENT" "Lin: I understand (2 messages): three $EVENT<$TS>"
    [[ -z $(posts_for "Lin: I understand: two") ]]
    code=$(psql "$DATABASE_URL" -XAtqc "select string_agg(status, ' ' order by created_at)
        from messaging.ai_jobs where conversation_id = '$CONVERSATION'")
    [[ $code == "completed superseded completed" ]]
}
is_thinking() {
    [[ $(psql "$DATABASE_URL" -XAtqc "select count(*) from messaging.ai_jobs
        where conversation_id = '$CONVERSATION' and status = 'processing'") == 1 ]]
}

@test "what Slack refuses is shown at the bot's message as it is at an agent's" {
    stand_in _control '{"fault": "error", "code": "is_archived", "count": 1}'
    writes "into the archive $EVENT"
    eventually 20 delivery_is bot failed
    [[ $(field '[.items[] | select(.sender.kind == "bot")][0].delivery.error') == *is_archived* ]]
    [[ -z $(posts_for "$EVENT") ]]
}

@test "what dispatch-worker never takes has failed, too, and says why" {
    # A channel that messaging knows and dispatch-worker does not.
    local code=nowhere-$RANDOM$RANDOM
    as_service POST /v1/internal/channels "{\"code\": \"$code\", \"kind\": \"local\", \"version\": 1}"
    CHANNEL=$code open_conversation
    says hello
    eventually 20 failed_with 422
}
failed_with() {
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '.items[0].delivery | "\(.state) \(.error)"') == "failed $1"* ]]
}
