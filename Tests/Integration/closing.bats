#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031
# How conversations end and begin again. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() { make_channel; }
setup() {
    open_conversation
    window 86400
}

window() {
    admin PUT "/v1/channels/$CHANNEL/reopening" "{\"reopen_window_s\": $1}"
    [[ $STATUS == 200 ]]
}
closes() {
    agent POST "/v1/conversations/$CONVERSATION/close" "${1:-{\}}" "${@:2}"
    [[ $STATUS == 200 && $(field .state) == closed ]]
}
# The conversation was closed SECONDS ago.
age() {
    sql "update messaging.conversations set closed_at = now() - $1 * interval '1 s'
        where id = '$CONVERSATION'"
}
finds() {
    agent POST /v1/conversations \
        "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"$CONTACT\"}}"
}
# The bot has answered a message of the contact.
has_answer() {
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field 'any(.items[]; .sender.kind == "bot" and .reply_to != null)') == true ]]
}
is() { # STATE
    agent GET "/v1/conversations/$CONVERSATION"
    [[ $(field .state) == "$1" ]]
}
# The names of the conversation's own log, and of the events that left.
log() {
    sql "select string_agg(type, ' ' order by seq) from messaging.conversation_events
        where conversation_id = '$CONVERSATION' and type like 'conversation.%'"
}
told() { # EVENT
    sql "select count(*) from platform.outbox where key = '$CONVERSATION' and target = '$1'"
}

@test "a conversation is closed once: state, events, audit; again changes nothing" {
    closes '{"reason": "solved"}'
    [[ $(field .closed_at) != null && $(field .owner_kind) == bot ]]
    local version
    version=$(field .version)
    closes
    [[ $(field .version) == "$version" ]]
    [[ $(log) == conversation.closed && $(told conversation.closed) == 1 ]]
    [[ $(sql "select count(*) || ' ' || max(reason) from platform.audit
        where action = 'conversation.close' and subject = '$CONVERSATION'") == "1 solved" ]]
    agent GET "/v1/conversations?contact=$CONTACT&state=closed"
    [[ $(field '.items[0].id') == "$CONVERSATION" ]]
    agent POST "/v1/conversations/018f0000-0000-7000-8000-000000000000/close"
    [[ $STATUS == 404 ]]
    agent POST "/v1/conversations/$CONVERSATION/close" '{"why": "x"}'
    [[ $STATUS == 422 ]]
}

@test "closing cancels the bot's job, and nobody but the contact writes into what is closed" {
    says "hello"
    local job
    job=$(field .bot.ai_job_id)
    closes
    agent GET "/v1/ai-jobs/$job"
    [[ $(field .status) == cancelled || $(field .status) == completed ]]
    agent GET "/v1/conversations/$CONVERSATION/lock"
    [[ $(field .locked) == false ]]
    says "one more thing" '{"sender": {"kind": "agent", "id": "a"}}'
    [[ $STATUS == 409 && $(field .code) == conversation_closed ]]
    agent POST "/v1/conversations/$CONVERSATION/replies" \
        '{"text": "x", "sender": {"kind": "agent", "id": "a"}}'
    [[ $STATUS == 409 && $(field .code) == conversation_closed ]]
    agent POST "/v1/conversations/$CONVERSATION/handover" '{}'
    [[ $STATUS == 409 && $(field .code) == conversation_closed ]]
    agent POST "/v1/conversations/$CONVERSATION/handle" \
        '{"messages": [{"role": "user", "content": "hi"}]}'
    [[ $STATUS == 409 && $(field .code) == conversation_closed ]]
}

@test "within the window the contact's message opens the conversation again, and the bot answers" {
    closes
    finds
    [[ $STATUS == 200 && $(field .id) == "$CONVERSATION" && $(field .state) == closed ]]
    says "still there?"
    [[ $STATUS == 201 && $(field .message.conversation_id) == "$CONVERSATION" ]]
    [[ $(field .bot.status) == ai_processing_started ]]
    is open
    [[ $(field .closed_at) == null ]]
    [[ $(log) == "conversation.closed conversation.reopened" ]]
    [[ $(told conversation.reopened) == 1 ]]
    eventually 15 has_answer
}

@test "after the window a message begins a new conversation, and says which" {
    local old=$CONVERSATION
    says "first matter"
    local message
    message=$(field .message.id)
    closes
    age 86401
    says "another day" "{\"reply_to\": \"$message\", \"attachments\": [{\"name\": \"a.png\"}]}" \
        -H "Idempotency-Key: k-$old"
    [[ $STATUS == 201 ]]
    # What came with it goes along.
    [[ $(field '.message.attachments[0].name') == a.png ]]
    CONVERSATION=$(field .message.conversation_id)
    [[ $CONVERSATION != "$old" && $(field .message.seq) == 1 ]]
    [[ $(field .bot.status) == ai_processing_started ]]
    local first=$BODY
    is open
    # The repeat of the request finds what the first one did.
    agent POST "/v1/conversations/$old/messages" \
        "$(jq -nc --arg id "$CONTACT" --arg m "$message" \
            '{sender: {kind: "contact", id: $id}, text: "another day", reply_to: $m,
              attachments: [{name: "a.png"}]}')" \
        -H "Idempotency-Key: k-$old"
    [[ $STATUS == 201 && $BODY == "$first" ]]
    finds
    [[ $STATUS == 200 && $(field .id) == "$CONVERSATION" ]]
    CONVERSATION=$old
    is closed
}

@test "a window of 0 always begins anew; none at all opens again after any time" {
    window 0
    local old=$CONVERSATION
    closes
    finds
    [[ $STATUS == 201 && $(field .id) != "$old" ]]
    CONVERSATION=$(field .id)
    closes
    window null
    age 99999999
    says "after three years"
    [[ $STATUS == 201 && $(field .message.conversation_id) == "$CONVERSATION" ]]
    is open
    window 86400
    admin PUT "/v1/channels/$CHANNEL/reopening" '{"reopen_window_s": -1}'
    [[ $STATUS == 422 ]]
    admin PUT /v1/channels/nowhere/reopening '{}'
    [[ $STATUS == 404 ]]
    agent PUT "/v1/channels/$CHANNEL/reopening" '{}'
    [[ $STATUS == 403 ]]
}

@test "a conversation that the channel names itself opens again whatever the window says" {
    window 0
    agent POST /v1/conversations "{\"channel_code\": \"$CHANNEL\", \"external_id\": \"x-$CONTACT\",
        \"contact\": {\"external_id\": \"$CONTACT\"}}"
    CONVERSATION=$(field .id)
    closes
    says "the same thread elsewhere"
    [[ $STATUS == 201 && $(field .message.conversation_id) == "$CONVERSATION" ]]
    is open
}

# at_once COUNT COMMAND…: COUNT of it in parallel; each one's body in a file of $OUT.
at_once() {
    local i pids=() count=$1
    OUT=$BATS_TEST_TMPDIR/out-$RANDOM
    mkdir "$OUT"
    shift
    for ((i = 1; i <= count; i++)); do
        ("$@" "$i" && printf '%s' "$BODY" >"$OUT/$i" && printf '%s' "$STATUS" >"$OUT/status.$i") &
        pids+=($!)
    done
    wait "${pids[@]}"
}

@test "twenty that look for the conversation after its end make one" {
    window 0
    closes
    at_once 20 finds
    [[ $(cat "$OUT"/[0-9]* | jq -rs 'map(.id) | unique | length') == 1 ]]
    # One of them is told that it was made.
    [[ $(cat "$OUT"/status.* | grep -o 201 | wc -l) == 1 ]]
    [[ $(cat "$OUT"/status.* | grep -o 200 | wc -l) == 19 ]]
    [[ $(sql "select count(*) from messaging.conversations c join messaging.contacts k
        on k.id = c.contact_id where k.external_id = '$CONTACT' and c.state = 'open'") == 1 ]]
}

@test "twenty messages at once after the end begin one conversation, and each is in it once" {
    closes
    age 86401
    says_number() { says "topic$1"; }
    at_once 20 says_number
    [[ $(cat "$OUT"/[0-9]* | jq -rs 'map(.message.conversation_id) | unique | length') == 1 ]]
    # A bot may have answered in between, which has numbers of its own.
    [[ $(cat "$OUT"/[0-9]* | jq -rs 'map(.message.seq) | unique | length') == 20 ]]
}

@test "closed while twenty messages come in: all are stored, one open conversation at most" {
    says_or_closes() {
        if (($1 % 5 == 0)); then
            agent POST "/v1/conversations/$CONVERSATION/close"
        else
            says "topic$1"
        fi
    }
    at_once 20 says_or_closes
    [[ $(sort -u "$OUT"/status.* | tr -d '\n' | sed 's/201/x/g; s/200/x/g; s/x//g') == "" ]]
    [[ $(sql "select count(*) from messaging.messages m join messaging.conversations c
        on c.id = m.conversation_id join messaging.contacts k on k.id = c.contact_id
        where k.external_id = '$CONTACT' and m.sender_kind = 'contact'") == 16 ]]
    # Each opening follows an end.
    [[ $(sql "select bool_and(ok) from (select type <> lag(type) over (order by seq) as ok
        from messaging.conversation_events where conversation_id = '$CONVERSATION'
        and type in ('conversation.closed', 'conversation.reopened')) x") != f ]]
}

# -------------------------------------------------------------------- With people

person() { # leaves AGENT in TEAM
    TEAM=$(new_uuid) AGENT=$(new_uuid)
    engine PUT "/v1/teams/$TEAM" "{\"name\": \"T\", \"strategy\": \"round_robin\",
        \"on_reopen\": \"$1\"}"
    engine PUT "/v1/agents/$AGENT" \
        '{"name": "Anna", "capacity_units": 1, "presence_mode": "manual"}'
    engine PUT "/v1/agents/$AGENT/status" '{"status": "online"}'
    engine PUT "/v1/teams/$TEAM/members/$AGENT" '{}'
    [[ $STATUS == 20[01] ]]
}
engine() { ask_at "$ASSIGNMENT_ENGINE_URL" "$SWITCHBOARD_ADMIN_KEY" "$@"; }
session_is() {
    [[ $(sql "select string_agg(state, ' ' order by id) from assignment.sessions
        where conversation_id = '$CONVERSATION'") == "$1" ]]
}
has_owner() {
    agent GET "/v1/conversations/$CONVERSATION"
    [[ $(field '.owner_kind + " " + (.assignee_id // "-")') == "$1" ]]
}
hand_over() {
    agent POST "/v1/conversations/$CONVERSATION/handover" "{\"team_id\": \"$TEAM\"}"
    [[ $STATUS == 201 ]]
    eventually 5 has_owner "human $AGENT"
}

@test "closing ends the session, and gives the agent room again" {
    person route
    hand_over
    closes
    has_owner "bot -"
    eventually 10 session_is closed
    engine GET "/v1/agents/$AGENT"
    [[ $(field .active_units) == 0 ]]
    # Nobody is told that the bot answers again: the conversation is over.
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '.items | length') == 0 ]]
}

@test "opened again, the same agent has it as before; the bot says nothing then" {
    person same_if_eligible
    hand_over
    closes
    eventually 10 session_is closed
    says "it came back"
    [[ $STATUS == 201 ]]
    eventually 10 has_owner "human $AGENT"
    session_is assigned
}

@test "a team whose reopenings are the bot's leaves it to the bot" {
    person bot
    hand_over
    closes
    says "it came back"
    eventually 10 session_is closed
    eventually 15 has_answer
    has_owner "bot -"
}

@test "a session that opens while its conversation is being closed is closed as well" {
    person route
    agent POST "/v1/conversations/$CONVERSATION/close"
    # What was on its way: assignment-engine is asked for a person, and tells of a session.
    as_engine="$ASSIGNMENT_ENGINE_URL"
    MESSAGING_URL=$as_engine as_service POST /v1/sessions "{\"conversation_id\":
        \"$CONVERSATION\", \"contact_id\": \"$CONVERSATION\", \"source\": \"handover\",
        \"team_id\": \"$TEAM\"}"
    [[ $STATUS == 201 ]]
    eventually 10 session_is closed
    has_owner "bot -"
}
