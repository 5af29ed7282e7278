#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031 # quoted for grep; each test has its own variables
# What Services/Messaging/AUTO_ASSIGN.md promises to callers of the use case: every row of its table is
# made to happen, and asked for alone and in a batch.

setup_file() {
    # shellcheck source=stack.bash
    source "$BATS_TEST_DIRNAME/stack.bash"
    export PAGE=$BATS_TEST_DIRNAME/../../Services/Messaging/AUTO_ASSIGN.md
    export CHANNEL=contract-$RANDOM$RANDOM
    prepare_channel "$CHANNEL"
}

setup() {
    # shellcheck source=stack.bash
    source "$BATS_TEST_DIRNAME/stack.bash"
    open_conversation "$CHANNEL"
}

# promised CASE COLUMN: a cell of the page's row.
promised() {
    awk -F' *[|] *' -v case="$1" -v column="$2" '$2 == case {print $(column + 1)}' "$PAGE"
}

posts() {
    messaging POST "/v1/conversations/$CONVERSATION/messages" \
        '{"sender": {"kind": "agent", "id": "a"}, "text": "topic"}'
    MESSAGE=$(field .message.id)
}
forget_thread() {
    sql "update messaging.messages set thread_id = null, thread_state = 'pending', method = null
        where id = '$MESSAGE'"
}
alone() { messaging POST "/v1/messages/$MESSAGE/auto-assign"; }
# The batch's result of the message as if it had been asked for alone.
in_a_batch() {
    messaging POST /v1/messages/auto-assign "{\"message_ids\": [\"$MESSAGE\"]}"
    [[ $STATUS == 200 ]]
    STATUS=$(field '.results[0].status')
    BODY=$(field '.results[0] | .assignment // .error | tojson')
}

# answers_as CASE: STATUS and BODY are what the page says.
answers_as() {
    local code text
    printf '%s: %s %s\n' "$1" "$STATUS" "$BODY"
    [[ $STATUS == "$(promised "$1" 3)" ]] || return 1
    code=$(promised "$1" 4)
    if [[ $code == – ]]; then
        text=$(promised "$1" 2)
        [[ $(field .success) == true && $text == *"\`success: true\`"* &&
            $text == *"\`already_assigned: $(field .already_assigned)\`"* ]]
        return
    fi
    [[ $(field .code) == "$code" ]] || return 1
    # The text that is promised, word for word, where one is.
    text=$(promised "$1" 2 | grep -o '`\[Auto[^`]*`' | tr -d '`' || true)
    [[ -z $text || $(field .detail) == "${text//\{id\}/$MESSAGE}" ]]
}
may_be_repeated() { (($(field .retry_after_ms) > 0)); }

@test "the page has a row for each case that is tried here, and no other" {
    local cases
    cases=$(awk -F' *[|] *' '$4 ~ /^[0-9]+$/ {print $2}' "$PAGE" | sort | tr '\n' ' ')
    [[ $cases == "assigned busy failed invalid limited repeated unknown " ]]
}

@test "assigned and repeated: a success both times, with the same thread" {
    local way thread
    for way in alone in_a_batch; do
        posts
        forget_thread
        $way
        answers_as assigned
        thread=$(field .thread_id)
        $way
        answers_as repeated
        [[ $(field .thread_id) == "$thread" ]]
    done
}

@test "invalid and unknown: what is no message, and a message that is not there" {
    local way
    for way in alone in_a_batch; do
        MESSAGE=nothing
        $way
        answers_as invalid
        MESSAGE=$(new_uuid)
        $way
        answers_as unknown
    done
}

@test "busy: somebody else holds the message for longer than two seconds" {
    posts
    forget_thread
    redis set "lock:message:$MESSAGE" another PX 20000 >/dev/null
    local way
    for way in alone in_a_batch; do
        $way
        answers_as busy
        may_be_repeated
        [[ $(field .retryable) == true ]]
    done
    redis del "lock:message:$MESSAGE" >/dev/null
    alone
    answers_as assigned
}

@test "limited: the room had its share; the message is kept, and asking costs nothing" {
    local way
    for _ in {1..11}; do posts; done
    for way in alone in_a_batch alone alone; do
        $way
        answers_as limited
        may_be_repeated
    done
    [[ $(sql "select thread_state from messaging.messages where id = '$MESSAGE'") == deferred ]]
    [[ $(redis zcard "rate_limit:room:$CONVERSATION") == 10 ]]
}

@test "failed: a fault inside says of which message, and the next call does it" {
    local way
    for way in alone in_a_batch; do
        posts
        forget_thread
        restart_with "message.before_assign:1:error" messaging
        $way
        answers_as failed
        $way
        answers_as assigned
    done
}
