#!/usr/bin/env bats
# Threads and messages corrected by hand. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() { make_channel; }
setup() {
    open_conversation
    AGENT='{"sender": {"kind": "agent", "id": "anna"}}'
}

# thread_of TEXT [MEMBERS…]: posts and leaves MESSAGE and THREAD.
thread_of() {
    says "$@"
    [[ $STATUS == 201 ]]
    MESSAGE=$(field .message.id) THREAD=$(field .assignment.thread_id)
}

audit_of() {
    psql "$DATABASE_URL" -XAtqc "select string_agg(action, ',' order by at, id) from platform.audit
        where subject = '$1'"
}

@test "a thread is made, renamed, archived and taken back by hand, and each is audited" {
    agent POST "/v1/conversations/$CONVERSATION/threads" '{"title": "Refunds"}'
    [[ $STATUS == 201 && $(field .title) == Refunds && $(field .manual) == true ]]
    local thread
    thread=$(field .id)
    agent PATCH "/v1/threads/$thread" '{"title": "Refunds and returns"}'
    [[ $STATUS == 200 && $(field .title) == "Refunds and returns" ]]
    agent POST "/v1/threads/$thread/archive"
    [[ $STATUS == 200 && $(field .archived) == true ]]
    agent GET "/v1/conversations/$CONVERSATION/threads"
    [[ $(field '.items | length') == 0 ]]
    agent GET "/v1/conversations/$CONVERSATION/threads?include_archived=true"
    [[ $(field '.items[0].id') == "$thread" ]]
    agent POST "/v1/threads/$thread/unarchive"
    [[ $STATUS == 200 && $(field .archived) == false ]]
    # What is so already is a success, and nothing new to note.
    agent POST "/v1/threads/$thread/unarchive"
    [[ $STATUS == 200 ]]
    [[ $(audit_of "$thread") == thread.create,thread.rename,thread.archive,thread.unarchive ]]
}

@test "an archived thread takes no message, neither by name nor by likeness" {
    thread_of "where is my refund for order 12"
    local refunds=$THREAD
    agent POST "/v1/threads/$refunds/archive"
    says "the refund for order 12 is late"
    [[ $(field .assignment.method) == new_thread && $(field .assignment.thread_id) != "$refunds" ]]
    says "named" "{\"thread_id\": \"$refunds\"}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /thread_id ]]
}

@test "a message that was moved by hand stays there, whatever auto-assign says" {
    thread_of "where is my refund for order 12"
    local refunds=$THREAD message=$MESSAGE
    thread_of "do you open on Sunday"
    local hours=$THREAD
    agent POST "/v1/threads/$hours/move" "{\"message_ids\": [\"$message\"]}"
    [[ $STATUS == 200 && $(field .moved) == 1 && $(field '.from | tostring') == "[\"$refunds\"]" ]]
    [[ $(field .thread.message_count) == 2 ]]
    agent POST "/v1/messages/$message/auto-assign"
    [[ $STATUS == 200 && $(field .already_assigned) == true && $(field .thread_id) == "$hours" ]]
    [[ $(field .method) == manual ]]
    # Again: nothing is left to move.
    agent POST "/v1/threads/$hours/move" "{\"message_ids\": [\"$message\"]}"
    [[ $STATUS == 200 && $(field .moved) == 0 ]]
    # The score follows what the thread holds now.
    says "the refund for order 12 is late"
    [[ $(field .assignment.method) == similar && $(field .assignment.thread_id) == "$hours" ]]
}

@test "a deferred message that is moved by hand needs no timer any more" {
    local i
    for i in {1..10}; do thread_of "topic$i"; done
    says "over the limit"
    [[ $(field .message.thread_state) == deferred ]]
    local message
    message=$(field .message.id)
    agent POST "/v1/threads/$THREAD/move" "{\"message_ids\": [\"$message\"]}"
    [[ $STATUS == 200 && $(field .moved) == 1 && $(field '.from | length') == 0 ]]
    agent GET "/v1/messages/$message"
    [[ $(field .thread_state) == assigned && $(field .method) == manual ]]
    [[ $(psql "$DATABASE_URL" -XAtqc \
        "select count(*) from platform.timers where ref_id = '$message'") == 0 ]]
}

@test "a split makes a thread of some messages of a thread, and of no others" {
    thread_of "where is my refund for order 12"
    local thread=$THREAD first=$MESSAGE
    thread_of "the refund for order 12 is late"
    [[ $THREAD == "$thread" ]]
    local second=$MESSAGE
    thread_of "do you open on Sunday"
    agent POST "/v1/threads/$thread/split" "{\"message_ids\": [\"$second\", \"$MESSAGE\"]}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /message_ids/1 ]]
    agent POST "/v1/threads/$thread/split" "{\"message_ids\": [\"$second\"]}"
    [[ $STATUS == 201 && $(field .moved) == 1 && $(field .thread.id) != "$thread" ]]
    [[ $(field .thread.title) == "the refund for order 12 is late" ]]
    agent GET "/v1/conversations/$CONVERSATION/messages?thread_id=$thread"
    [[ $(field '[.items[].id] | tostring') == "[\"$first\"]" ]]
}

@test "a merge leaves one thread with all messages; the other is archived for good" {
    thread_of "where is my refund for order 12"
    local one=$THREAD
    thread_of "do you open on Sunday"
    local two=$THREAD
    agent POST "/v1/threads/$one/merge" "{\"into\": \"$one\"}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /into ]]
    agent POST "/v1/threads/$one/merge" "{\"into\": \"$two\"}"
    [[ $STATUS == 200 && $(field .thread.id) == "$two" && $(field .thread.message_count) == 2 ]]
    agent POST "/v1/threads/$one/merge" "{\"into\": \"$two\"}"
    [[ $STATUS == 409 && $(field .code) == thread_merged ]]
    agent POST "/v1/threads/$one/unarchive"
    [[ $STATUS == 409 && $(field .code) == thread_merged ]]
    agent POST "/v1/threads/$two/archive"
    thread_of "something else entirely"
    agent POST "/v1/threads/$THREAD/merge" "{\"into\": \"$two\"}"
    [[ $STATUS == 409 && $(field .code) == thread_archived ]]
}

@test "moves and messages at once: every message is in one thread, and the counts are right" {
    thread_of "alpha one"
    local a=$THREAD
    thread_of "beta two"
    local b=$THREAD i target pids=() folder=$BATS_TEST_TMPDIR message=$MESSAGE
    for i in {1..12}; do
        (says "alpha one number$i" && field .message.id >"$folder/m$i") &
        pids+=($!)
        target=$a
        ((i % 2)) || target=$b
        (agent POST "/v1/threads/$target/move" "{\"message_ids\": [\"$message\"]}" &&
            echo "$STATUS" >"$folder/s$i") &
        pids+=($!)
    done
    wait "${pids[@]}"
    [[ $(cat "$folder"/s* | sort -u) == 200 ]]
    [[ $(psql "$DATABASE_URL" -XAtqc "select count(*) from messaging.threads t
        where t.conversation_id = '$CONVERSATION' and t.message_count <> (select count(*)
          from messaging.messages m where m.thread_id = t.id and m.deleted_at is null)") == 0 ]]
}

@test "a message is edited and deleted; the audit holds no text, the numbers have no holes" {
    # An agent writes: no bot answers into the thread.
    thread_of "my card is 4111" "$AGENT"
    local message=$MESSAGE thread=$THREAD
    agent PATCH "/v1/messages/$message" '{"text": "my card is lost"}'
    [[ $STATUS == 200 && $(field .text) == "my card is lost" && $(field .edited_at) != null ]]
    agent PATCH "/v1/messages/$message" '{"text": ""}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /text ]]
    agent DELETE "/v1/messages/$message"
    [[ $STATUS == 204 ]]
    agent GET "/v1/messages/$message"
    [[ $STATUS == 404 ]]
    agent DELETE "/v1/messages/$message"
    [[ $STATUS == 404 ]]
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[] | select(.sender.id == "anna")] | length') == 0 ]]
    [[ $(audit_of "$message") == *message.edit,message.delete ]]
    [[ $(psql "$DATABASE_URL" -XAtqc "select count(*) from platform.audit
        where subject = '$message' and (before::text || coalesce(after::text, '')) ~ 'card'") == 0 ]]
    [[ $(psql "$DATABASE_URL" -XAtqc "select text = '' from messaging.messages
        where id = '$message'") == t ]]
    says "what comes next is about something else" "$AGENT"
    (($(field .message.seq) > 1))
    agent GET "/v1/conversations/$CONVERSATION/threads"
    [[ $(field ".items[] | select(.id == \"$thread\") | .message_count") == 0 ]]
}

@test "what was handed to delivery is neither edited nor deleted" {
    agent POST "/v1/conversations/$CONVERSATION/replies" \
        '{"text": "hi", "sender": {"kind": "agent", "id": "a"}}'
    local message
    message=$(field .message.id)
    agent PATCH "/v1/messages/$message" '{"text": "hello"}'
    [[ $STATUS == 409 && $(field .code) == message_delivered ]]
    agent DELETE "/v1/messages/$message"
    [[ $STATUS == 409 && $(field .code) == message_delivered ]]
}

@test "a thread and a message that are not the tenant's answer 404" {
    local other=018f0000-0000-7000-8000-000000000000
    agent PATCH "/v1/threads/$other" '{"title": "x"}'
    [[ $STATUS == 404 ]]
    agent POST "/v1/threads/$other/move" "{\"message_ids\": [\"$other\"]}"
    [[ $STATUS == 404 ]]
    agent POST "/v1/threads/not-an-id/archive"
    [[ $STATUS == 404 ]]
    agent PATCH "/v1/messages/$other" '{"text": "x"}'
    [[ $STATUS == 404 ]]
    agent POST "/v1/conversations/$other/threads" '{"title": "x"}'
    [[ $STATUS == 404 ]]
}

# What the scores of a thread rest on.
terms_of() { sql "select recent_terms::text from messaging.threads where id = '$1'"; }

@test "a text that is written anew or deleted is no part of its thread's scores any more" {
    thread_of "zebra crossing closed"
    local crossing second
    crossing=$(terms_of "$THREAD")
    says "walnut cake recipe" "{\"thread_id\": \"$THREAD\"}"
    second=$(field .message.id)
    [[ $(terms_of "$THREAD") != "$crossing" ]]
    agent PATCH "/v1/messages/$second" '{"text": "zebra crossing closed"}'
    [[ $STATUS == 200 ]]
    [[ $(terms_of "$THREAD") == "${crossing%\}},${crossing#\{}" ]]
    says "walnut cake recipe"
    [[ $(field .assignment.explanation.words) == 0 ]]
    agent DELETE "/v1/messages/$(field .message.id)"
    agent DELETE "/v1/messages/$second"
    [[ $STATUS == 204 && $(terms_of "$THREAD") == "$crossing" ]]
    agent DELETE "/v1/messages/$MESSAGE"
    [[ $STATUS == 204 && $(sql "select message_count || ' ' || cardinality(recent_terms) || ' '
        || cardinality(recent_authors) from messaging.threads where id = '$THREAD'") == "0 0 0" ]]
}

# What a thread is called.
title_of() { sql "select title from messaging.threads where id = '$1'"; }

@test "a title that was taken from a text goes with it; one that a person gave stays" {
    thread_of "my card is 4111" "$AGENT"
    local first=$MESSAGE thread=$THREAD second
    [[ $(title_of "$thread") == "my card is 4111" ]]
    says "the card was lost on Sunday" "${AGENT%\}}, \"thread_id\": \"$thread\"}"
    second=$(field .message.id)
    agent PATCH "/v1/messages/$first" '{"text": "my card is lost"}'
    [[ $STATUS == 200 && $(title_of "$thread") == "my card is lost" ]]
    agent DELETE "/v1/messages/$first"
    [[ $STATUS == 204 && $(title_of "$thread") == "the card was lost on Sunday" ]]
    # Another's text is no part of it.
    agent PATCH "/v1/threads/$thread" '{"title": "A lost card"}'
    agent PATCH "/v1/messages/$second" '{"text": "the card was lost on Monday"}'
    agent DELETE "/v1/messages/$second"
    [[ $STATUS == 204 && $(title_of "$thread") == "A lost card" ]]
    thread_of "a word" "$AGENT"
    agent DELETE "/v1/messages/$MESSAGE"
    [[ $STATUS == 204 && $(title_of "$THREAD") == "New thread" ]]
    agent GET "/v1/conversations/$CONVERSATION/threads"
    [[ $(field '[.items[].title] | sort | join(", ")') == "A lost card, New thread" ]]
}

@test "a new thread says which other came nearest, and a repeat says the same" {
    thread_of "where is my refund for order 12"
    local refunds=$THREAD first
    thread_of "do you open on Sunday" "{\"external_id\": \"near-$CONVERSATION\"}"
    [[ $THREAD != "$refunds" && $(field .assignment.score) == 0 ]]
    [[ $(field .assignment.explanation.nearest.thread_id) == "$refunds" ]]
    [[ $(field '.assignment.explanation | .nearest.score < 0.24
        and (.words + .mentions + .recency + .turn - .nearest.score | fabs < 0.003)') == true ]]
    first=$(field .assignment.explanation)
    agent POST "/v1/messages/$MESSAGE/auto-assign"
    [[ $STATUS == 200 && $(field .explanation) == "$first" ]]
}
