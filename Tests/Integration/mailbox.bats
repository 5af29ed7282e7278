#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2119
# When the bot waits and for what: files, typing, and conversations that people leave alone. Needs
# the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() {
    make_channel
    # A tenant of its own, because what it decides would hold for all other suites.
    OWN_TENANT=mailbox-$RANDOM$RANDOM
    OWN_KEY=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$OWN_TENANT" --role admin \
        2>/dev/null | tail -n 1)
    export OWN_KEY OWN_TENANT
}
setup() { open_conversation; }

mailbox() {
    admin PUT "/v1/channels/$CHANNEL/mailbox" "$1"
    [[ $STATUS == 200 ]]
}
job_is() {
    agent GET "/v1/ai-jobs/$1"
    [[ $(field .status) == "$2" ]]
}
bot_has_said() {
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field 'first(.items[] | select(.sender.kind == "bot")).text') == "$1" ]]
}

@test "files end the wait for the rest of a burst, and the bot is told of them" {
    mailbox '{"debounce_ms": 60000, "debounce_max_ms": 60000}'
    says "look at this"
    local job
    job=$(field .bot.ai_job_id)
    says "here" '{"attachments": [{"name": "knee.jpg", "content_type": "image/jpeg", "url": "https://files.example/1"}]}'
    [[ $(field .bot.status) == buffered && $(field .bot.ai_job_id) == "$job" ]]
    [[ $(field '.message.attachments == [{name: "knee.jpg", content_type: "image/jpeg",
        url: "https://files.example/1"}]') == true ]]
    eventually 5 bot_has_said $'Healthcare Assistant: I understand (2 messages): here\n(file: knee.jpg)'
    # The first of a burst may be one, and needs no words.
    open_conversation
    agent POST "/v1/conversations/$CONVERSATION/messages" \
        '{"sender": {"kind": "contact", "id": "c"}, "attachments": [{"name": "x-ray.png"}]}'
    [[ $STATUS == 201 && $(field .message.text) == "(file: x-ray.png)" ]]
    eventually 5 bot_has_said "Healthcare Assistant: I understand: (file: x-ray.png)"
}

@test "a message needs words or files, and each file a name" {
    agent POST "/v1/conversations/$CONVERSATION/messages" '{"sender": {"kind": "contact", "id": "c"}}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /text ]]
    says "x" '{"attachments": []}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /attachments ]]
    says "x" '{"attachments": [{"url": "https://files.example/1"}]}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /attachments/0/name ]]
}

@test "typing puts the answer off, never past the burst's cap" {
    mailbox '{"debounce_ms": 2000, "debounce_max_ms": 5000}'
    says "one"
    local job
    job=$(field .bot.ai_job_id)
    agent POST "/v1/conversations/$CONVERSATION/typing"
    [[ $STATUS == 200 && $(field .extended) == true ]]
    [[ $(field '.answer_in_ms > 0 and .answer_in_ms <= 2000') == true ]]
    eventually 10 types_until_completed "$job"
    # Long after one debounce, and with the cap: somebody typed to the end.
    [[ $(sql "select started_at - created_at between interval '4900 ms' and interval '7 s'
        from messaging.ai_jobs where id = '$job'") == t ]]
    agent POST "/v1/conversations/$CONVERSATION/typing"
    [[ $(field '[.extended, .answer_in_ms] | tostring') == "[false,null]" ]]
    ask "$OWN_KEY" POST "/v1/conversations/$CONVERSATION/typing"
    [[ $STATUS == 404 ]]
}
types_until_completed() {
    agent POST "/v1/conversations/$CONVERSATION/typing"
    [[ $STATUS == 200 ]] && job_is "$1" completed
}

# As the tenant of its own.
own() { ask "$OWN_KEY" "$@"; }
own_engine() { ask_at "$ASSIGNMENT_ENGINE_URL" "$OWN_KEY" "$@"; }
prepare_own_team() {
    ask "$SERVICE_TOKEN" POST /v1/internal/channels '{"code": "c", "kind": "local", "version": 1}' \
        -H "Switchboard-Tenant: $OWN_TENANT"
    OWN_TEAM=$(new_uuid)
    local anna
    anna=$(new_uuid)
    own_engine PUT "/v1/teams/$OWN_TEAM" '{"name": "Desk", "strategy": "round_robin"}'
    own_engine PUT "/v1/agents/$anna" '{"name": "Anna", "capacity_units": 9, "presence_mode": "manual"}'
    own_engine PUT "/v1/agents/$anna/status" '{"status": "online"}'
    own_engine PUT "/v1/teams/$OWN_TEAM/members/$anna" '{}'
}
# A conversation that Anna has got.
hand_over() {
    own POST /v1/conversations "{\"channel_code\": \"c\", \"contact\": {\"external_id\": \"$(new_uuid)\"}}"
    CONVERSATION=$(field .id)
    own POST "/v1/conversations/$CONVERSATION/handover" "{\"team_id\": \"$OWN_TEAM\"}"
    [[ $(field .outcome) == assign ]]
    SESSION=$(field .session.id)
}
owner_is() {
    own GET "/v1/conversations/$1"
    [[ $(field .owner_kind) == "$2" ]]
}
expires() { sql "select handoff_until is not null from messaging.conversations where id = '$1'"; }

@test "what people got and never wrote in goes back to the bot, where the tenant wants it" {
    prepare_own_team
    hand_over
    local never=$CONVERSATION
    [[ $(expires "$never") == f ]]
    own PUT /v1/tenant/bot-policy '{"handoff_expires_after_s": 1}'
    [[ $STATUS == 200 && $(field .handoff_expires_after_s) == 1 ]]
    hand_over
    local written=$CONVERSATION
    [[ $(expires "$written") == t ]]
    own POST "/v1/conversations/$written/replies" '{"text": "I am here", "sender": {"kind": "agent", "id": "anna"}}'
    [[ $STATUS == 202 && $(expires "$written") == f ]]
    hand_over
    eventually 20 owner_is "$CONVERSATION" bot
    own_engine GET "/v1/sessions/$SESSION"
    [[ $(field .state) == closed ]]
    [[ $(expires "$CONVERSATION") == f ]]
    own GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[].sender.id] | tostring') == '["returned-to-bot"]' ]]
    own POST "/v1/conversations/$CONVERSATION/messages" '{"sender": {"kind": "contact", "id": "c"}, "text": "hello?"}'
    [[ $(field .bot.status) == ai_processing_started ]]
    # The other two stay with Anna.
    owner_is "$written" human
    owner_is "$never" human
    own PUT /v1/tenant/bot-policy '{"handoff_expires_after_s": 0}'
    [[ $(field .handoff_expires_after_s) == null ]]
}

@test "who writes while the engine is away keeps the conversation" {
    # shellcheck source=stack.bash
    source "$BATS_TEST_DIRNAME/stack.bash"
    prepare_own_team
    own PUT /v1/tenant/bot-policy '{"handoff_expires_after_s": 1}'
    hand_over
    take_away assignment-engine.1
    # It was tried in vain, and rests for a while.
    eventually 20 was_tried
    own POST "/v1/conversations/$CONVERSATION/replies" '{"text": "I am here", "sender": {"kind": "agent", "id": "anna"}}'
    [[ $STATUS == 202 ]]
    bring_back assignment-engine.1
    eventually 30 are_ready
    [[ $(expires "$CONVERSATION") == f ]]
    owner_is "$CONVERSATION" human
    own PUT /v1/tenant/bot-policy '{"handoff_expires_after_s": 0}'
}
was_tried() {
    [[ $(sql "select handoff_until > now() + interval '20 s' from messaging.conversations
        where id = '$CONVERSATION'") == t ]]
}
