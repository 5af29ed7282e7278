#!/usr/bin/env bats
# messaging over its API. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() { make_channel; }
setup() { open_conversation; }

@test "a contact has one open conversation on a channel" {
    local first=$CONVERSATION
    agent POST /v1/conversations \
        "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"$CONTACT\"}}"
    [[ $STATUS == 200 && $(field .id) == "$first" ]]
    agent GET "/v1/conversations?contact=$CONTACT"
    [[ $(field '.items | length') == 1 ]]
}

@test "an unknown channel and an unknown field are 422 and say where" {
    agent POST /v1/conversations '{"channel_code": "nowhere", "contact": {"external_id": "x"}}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /channel_code ]]
    agent POST /v1/conversations "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"x\", \"y\": 1}}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /contact/y ]]
}

@test "the first message makes a thread, a similar one joins it, another makes one" {
    says "Where is my refund for order 12?"
    [[ $STATUS == 201 && $(field .assignment.method) == new_thread ]]
    [[ $(field .bot.status) == ai_processing_started ]]
    local thread
    thread=$(field .assignment.thread_id)
    says "the refund for order 12 is late"
    [[ $(field .assignment.method) == similar && $(field .assignment.thread_id) == "$thread" ]]
    says "do you open on Sunday?"
    [[ $(field .assignment.method) == new_thread && $(field .assignment.thread_id) != "$thread" ]]
    says "and now?" "{\"thread_id\": \"$thread\"}"
    [[ $(field .assignment.method) == explicit && $(field .assignment.thread_id) == "$thread" ]]
    agent GET "/v1/conversations/$CONVERSATION/threads"
    [[ $(field '.items | length') == 2 ]]
}

@test "a reply goes to the thread of what it replies to" {
    says "first topic"
    local message thread
    message=$(field .message.id) thread=$(field .assignment.thread_id)
    says "zebra" "{\"reply_to\": \"$message\"}"
    [[ $(field .assignment.method) == reply && $(field .assignment.thread_id) == "$thread" ]]
}

@test "a repeat by external_id gets the first result with 200" {
    says hello '{"external_id": "e1-'"$CONTACT"'"}'
    [[ $STATUS == 201 ]]
    local first=$BODY
    says "something else" '{"external_id": "e1-'"$CONTACT"'"}'
    [[ $STATUS == 200 && $BODY == "$first" ]]
}

@test "a repeat by Idempotency-Key gets the first answer; another body is refused" {
    local key=k-$RANDOM$RANDOM
    says hello '{}' -H "Idempotency-Key: $key"
    local first=$BODY
    says hello '{}' -H "Idempotency-Key: $key"
    [[ $STATUS == 201 && $BODY == "$first" ]]
    says hullo '{}' -H "Idempotency-Key: $key"
    [[ $STATUS == 422 && $(field .code) == idempotency_key_reused ]]
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[] | select(.sender.kind == "contact")] | length') == 1 ]]
}

@test "parallel messages of one conversation get sequence numbers without gaps" {
    local i pids=()
    for i in {1..20}; do
        says "topic$i" >/dev/null &
        pids+=($!)
    done
    # By their ids: a bare wait would wait for the runner's own timer as well.
    wait "${pids[@]}"
    agent GET "/v1/conversations/$CONVERSATION/messages?limit=200"
    [[ $(field '[.items[].seq] | sort == [range(1; length + 1)]') == true ]]
    [[ $(field '[.items[] | select(.sender.kind == "contact")] | length') == 20 ]]
}

# bats test_tags=shared
@test "a message over the room's limit is stored, deferred, and auto-assign answers 429" {
    local i
    for i in {1..11}; do says "topic$i"; done
    [[ $STATUS == 201 && $(field .message.thread_state) == deferred && $(field .assignment) == null ]]
    local id
    id=$(field .message.id)
    agent POST "/v1/messages/$id/auto-assign"
    [[ $STATUS == 429 && $(field .code) == rate_limited ]]
    [[ $(field .detail) == "[AutoAssignMessageUseCase] Failed to auto-assign message $id:"* ]]
    (($(field .retry_after_ms) > 0))
}

# forget MESSAGE: as if it had been deferred; nobody but the caller assigns it.
forget() {
    sql "update messaging.messages set thread_id = null, thread_state = 'deferred', method = null,
        created_thread = false where id = '$1'" >/dev/null
    sql "delete from messaging.threads t where conversation_id = '$CONVERSATION' and not exists
        (select 1 from messaging.messages m where m.tenant_id = t.tenant_id and m.thread_id = t.id)"
}

@test "100 at once want a message assigned that has no thread: one assigns it, all are told so" {
    says "topic"
    local message i pids=() folder=$BATS_TEST_TMPDIR
    message=$(field .message.id)
    forget "$message"
    for i in {1..100}; do
        (agent POST "/v1/messages/$message/auto-assign" "" --max-time 60 &&
            printf '%s\n' "$STATUS $(field '"\(.thread_id) \(.already_assigned)"')" >"$folder/$i") &
        pids+=($!)
    done
    wait "${pids[@]}"
    [[ $(cat "$folder"/* | cut -d' ' -f1,2 | sort -u | wc -l) == 1 ]]
    [[ $(cat "$folder"/* | cut -d' ' -f1,3 | sort | uniq -c | xargs) == "1 200 false 99 200 true" ]]
    [[ $(sql "select count(*) from messaging.threads
        where conversation_id = '$CONVERSATION'") == 1 ]]
    # The first was when it was posted.
    [[ $(sql "select count(*) from platform.outbox where target = 'message.assigned'
        and payload ->> 'message_id' = '$message'") == 2 ]]
}

@test "20 at once open a conversation for a contact that nobody knew: there is one" {
    local i pids=() folder=$BATS_TEST_TMPDIR contact=new-$RANDOM$RANDOM
    for i in {1..20}; do
        (agent POST /v1/conversations \
            "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"$contact\"}}" &&
            printf '%s\n' "$STATUS $(field .id)" >"$folder/$i") &
        pids+=($!)
    done
    wait "${pids[@]}"
    [[ $(cat "$folder"/* | cut -d' ' -f2 | sort -u | wc -l) == 1 ]]
    [[ $(cat "$folder"/* | cut -d' ' -f1 | sort | uniq -c | xargs) == "19 200 1 201" ]]
    [[ $(sql "select count(*) || ' ' || count(distinct k.id) from messaging.contacts k
        join messaging.conversations c on c.tenant_id = k.tenant_id and c.contact_id = k.id
        where k.external_id = '$contact'") == "1 1" ]]
}

@test "a batch goes on after a message that the database cannot take now" {
    local messages=() i trigger=away_$RANDOM$RANDOM
    for i in 1 2 3; do
        says "topic$i"
        messages+=("$(field .message.id)")
    done
    for i in 0 1 2; do forget "${messages[$i]}"; done
    sql "create function public.$trigger() returns trigger language plpgsql as
            'begin raise exception ''injected'' using errcode = ''57P03''; end';
        create trigger $trigger before update on messaging.messages for each row
            when (new.id = '${messages[1]}') execute function public.$trigger()"
    agent POST /v1/messages/auto-assign \
        "$(jq -nc '{message_ids: $ARGS.positional}' --args "${messages[@]}")"
    sql "drop function public.$trigger() cascade"
    [[ $STATUS == 200 && $(field '[.results[].status] | tostring') == "[200,503,200]" ]]
    [[ $(field '.results[1].error | "\(.code) \(.retryable)"') == "unavailable true" ]]
    [[ $(field '[.results[].message_id] | tostring') == \
        "$(jq -nc '$ARGS.positional' --args "${messages[@]}")" ]]
    agent POST "/v1/messages/${messages[1]}/auto-assign"
    [[ $STATUS == 200 && $(field .already_assigned) == false ]]
}

@test "a batch answers per message and names what is no message" {
    says "topic"
    agent POST /v1/messages/auto-assign "{\"message_ids\": [\"$(field .message.id)\", null, \"$CONVERSATION\"]}"
    [[ $STATUS == 200 && $(field '[.results[].status] | tostring') == "[200,422,404]" ]]
    [[ $(field '.results[1].error.detail') == \
        "[AutoAssignMessageUseCase] Invalid message object: missing id or roomId" ]]
}

@test "stop cancels the bot's job" {
    says "hello"
    local job
    job=$(field .bot.ai_job_id)
    says "stop"
    [[ $(field .bot.status) == stopped ]]
    agent GET "/v1/ai-jobs/$job"
    [[ $(field .status) == cancelled || $(field .status) == completed ]]
}

@test "only an administrator releases a lock; a free one is 404" {
    agent DELETE "/v1/conversations/$CONVERSATION/lock"
    [[ $STATUS == 403 ]]
    admin DELETE "/v1/conversations/$CONVERSATION/lock?reason=test"
    [[ $STATUS == 404 ]]
    agent GET "/v1/conversations/$CONVERSATION/lock"
    [[ $BODY == '{"locked":false}' ]]
}

@test "a token of a core AI is never shown" {
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    admin PUT "/v1/core-ai/$id" '{"name": "AI", "api_endpoint": "https://ai.example/v1", "auth_required": true, "auth_token": "sk-very-secret"}'
    [[ $STATUS == 201 && $(field .auth_token) == '***' ]]
    agent GET "/v1/core-ai/$id"
    [[ $(field .auth_token) == '***' && $BODY != *very-secret* ]]
}

@test "internal routes refuse a tenant's key" {
    admin POST /v1/internal/delivery '{}'
    [[ $STATUS == 403 ]]
}

@test "what is said where no contact has written gets a thread all the same" {
    agent POST "/v1/conversations/$CONVERSATION/replies" '{"text": "hi", "sender": {"kind": "agent", "id": "a"}}'
    [[ $STATUS == 202 ]]
    eventually 10 has_thread "$(field .message.id)"
    [[ $(sql "select count(*) from platform.timers where ref_id = '$(field .id)'") == 0 ]]
}
has_thread() {
    agent GET "/v1/messages/$1"
    [[ $(field .thread_state) == assigned ]]
}

@test "a delivery's older news change nothing" {
    agent POST "/v1/conversations/$CONVERSATION/replies" '{"text": "hi", "sender": {"kind": "agent", "id": "a"}}'
    [[ $STATUS == 202 ]]
    local request message
    request=$(field .message_request_id) message=$(field .message.id)
    eventually 10 has_thread "$message"
    as_service POST /v1/internal/delivery "{\"message_request_id\": \"$request\", \"generation\": 9, \"version\": 9, \"status\": \"sent\", \"provider_ts\": \"1.2\"}"
    [[ $(field .outcome) == applied ]]
    local version
    version=$(sql "select version from messaging.conversations where id = '$CONVERSATION'")
    as_service POST /v1/internal/delivery "{\"message_request_id\": \"$request\", \"generation\": 9, \"version\": 8, \"status\": \"sending\"}"
    [[ $(field .outcome) == old ]]
    [[ $(sql "select version from messaging.conversations where id = '$CONVERSATION'") == "$version" ]]
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '.items[0].delivery.state') == delivered && $(field '.items[0].delivery.provider_ts') == 1.2 ]]
}

@test "every field and parameter of the published document says what it means" {
    local silent
    silent=$(curl -sS --max-time 20 "$MESSAGING_URL/openapi.json" | jq -c '
        [paths as $p | select($p[-2]? == "properties") | getpath($p) as $field
         | select(($field | type) == "object" and ($field | has("description") | not))
         | $p | map(tostring) | join("/")]
        + [.paths | to_entries[] | .key as $path | .value[] | .parameters[]?
         | select((.description // "") == "") | "\($path) \(.name)"]')
    echo "$silent"
    [[ $silent == "[]" ]]
}

@test "an assignment says what its score is made of, and a repeat says the same" {
    says "where is my order 48213"
    [[ $(field .assignment.method) == new_thread && $(field .assignment.explanation) == null ]]
    says "order 48213 is still not here" "{\"external_id\": \"e-$CONVERSATION\"}"
    [[ $(field .assignment.method) == similar ]]
    local first message
    first=$(field .assignment.explanation)
    message=$(field .message.id)
    [[ $(field '.assignment | (.explanation | add) - .score | fabs < 0.003') == true ]]
    [[ $(field '.assignment.explanation | keys | join(" ")') == "mentions recency turn words" ]]
    [[ $(field '.assignment.explanation.words > 0') == true ]]
    says "order 48213 is still not here" "{\"external_id\": \"e-$CONVERSATION\"}"
    [[ $STATUS == 200 && $(field .assignment.explanation) == "$first" ]]
    agent POST "/v1/messages/$message/auto-assign"
    [[ $STATUS == 200 && $(field .already_assigned) == true && $(field .explanation) == "$first" ]]
}
