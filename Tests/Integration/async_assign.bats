#!/usr/bin/env bats
# `?mode=async`: a job finds the thread. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() { make_channel; }
setup() { open_conversation; }

redis() { redis-cli -u "$REDIS_URL" "$@"; }
QUEUE="bull:{$SWITCHBOARD_TENANT}:auto-assign-message"

says_later() { # TEXT [members] [curl option…]
    agent POST "/v1/conversations/$CONVERSATION/messages?mode=async" \
        "$(jq -nc --arg id "$CONTACT" --arg text "$1" --argjson more "${2:-{\}}" \
            '{sender: {kind: "contact", id: $id}, text: $text} + $more')" "${@:3}"
}
job_is() { # STATUS ID
    agent GET "/v1/jobs/$2"
    [[ $STATUS == 200 && $(field .status) == "$1" ]]
}

@test "the answer is 202 with the job; its result is that of auto-assign, and the bot does not wait" {
    says_later "where is my refund"
    [[ $STATUS == 202 && $(field .job.name) == auto-assign-message ]]
    [[ $(field .message.thread_id) == null && $(field .message.thread_state) == pending ]]
    [[ $(field .bot.status) == ai_processing_started ]]
    local id thread
    id=$(field .job.id)
    eventually 5 job_is completed "$id"
    [[ $(field .result.method) == new_thread && $(field .result.success) == true ]]
    thread=$(field .result.thread_id)
    local result
    result=$(field '.result | del(.already_assigned)')
    agent POST "/v1/messages/$id/auto-assign"
    [[ $(field 'del(.already_assigned)') == "$result" && $(field .already_assigned) == true ]]
    says_later "the refund is late" && id=$(field .job.id)
    eventually 5 job_is completed "$id"
    [[ $(field .result.thread_id) == "$thread" && $(field .result.method) == similar ]]
    [[ $(sql "select count(*) from platform.timers where ref_id = '$id'") == 0 ]]
    # Events as of any message, once.
    eventually 5 test "$(sql "select count(*) from platform.outbox where target = 'message.assigned'
        and payload ->> 'message_id' = '$id'")" == 1
}

@test "a repeat by key or external id makes no second message and no second job" {
    says_later "hello" '{}' -H "Idempotency-Key: k-$CONTACT"
    [[ $STATUS == 202 ]]
    local id
    id=$(field .job.id)
    says_later "hello" '{}' -H "Idempotency-Key: k-$CONTACT"
    [[ $STATUS == 202 && $(field .job.id) == "$id" ]]
    says_later "x" "{\"external_id\": \"e-$CONTACT\"}"
    [[ $STATUS == 202 ]]
    id=$(field .job.id)
    says_later "x" "{\"external_id\": \"e-$CONTACT\"}"
    [[ $STATUS == 200 && $(field .message.id) == "$id" ]]
    agent GET "/v1/conversations/$CONVERSATION/messages"
    [[ $(field '[.items[] | select(.sender.kind == "contact")] | length') == 2 ]]
}

@test "a thread that the caller names needs no job; another mode is refused; others' jobs are 404" {
    says "topic"
    local thread
    thread=$(field .assignment.thread_id)
    says_later "and this" "{\"thread_id\": \"$thread\"}"
    [[ $STATUS == 202 && $(field .assignment.method) == explicit ]]
    eventually 5 job_is completed "$(field .job.id)"
    agent POST "/v1/conversations/$CONVERSATION/messages?mode=later" \
        '{"sender": {"kind": "contact", "id": "c"}, "text": "x"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /query/mode ]]
    says "no job"
    agent GET "/v1/jobs/$(field .message.id)"
    [[ $STATUS == 404 ]]
    agent GET /v1/jobs/018f0000-0000-7000-8000-000000000000
    [[ $STATUS == 404 ]]
}

adds() { # MESSAGE TENANT
    "$SWITCHBOARD_BIN/dispatch-worker" queue add -q auto-assign-message --redis-url "$REDIS_URL" \
        --prefix "bull:{$SWITCHBOARD_TENANT}" auto-assign-message \
        "{\"messageId\": \"$1\", \"roomId\": \"$CONVERSATION\", \"tenantId\": \"$2\"}"
}
has_failed() { (($(redis zcard "$QUEUE:failed") > $1)); }

@test "a job that another program adds is done; one that lies about its tenant fails" {
    says_later "hello"
    local id tenant failed
    id=$(field .job.id)
    eventually 5 job_is completed "$id"
    tenant=$(sql "select id from platform.tenants where code = '$SWITCHBOARD_TENANT'")
    # As if the queue and the timer had lost it.
    sql "update messaging.messages set thread_id = null, thread_state = 'pending', method = null
        where id = '$id'"
    failed=$(redis zcard "$QUEUE:failed")
    adds "$id" "$id"
    # Nobody rings for it: the sweep finds it.
    eventually 20 has_failed "$failed"
    job_is waiting "$id"
    adds "$id" "$tenant"
    eventually 20 job_is completed "$id"
}

@test "the queue holds names and no text" {
    says_later "my number is 4111"
    local id
    id=$(field .job.id)
    redis --scan --pattern "bull:*" >"$BATS_TEST_TMPDIR/keys"
    while read -r key; do
        redis dump "$key" >>"$BATS_TEST_TMPDIR/dump" || true
    done <"$BATS_TEST_TMPDIR/keys"
    [[ $(grep -c 4111 "$BATS_TEST_TMPDIR/dump") == 0 ]]
    eventually 5 job_is completed "$id"
}

# bats test_tags=shared
@test "over the room's limit the job waits and the message gets its thread when there is room" {
    local i
    for i in {1..10}; do says "topic$i"; done
    says_later "topic11"
    local id
    id=$(field .job.id)
    sleep 1 # in which it must not be done
    job_is waiting "$id"
    redis del "rate_limit:room:$CONVERSATION" >/dev/null
    # The job that was refused comes again when the limit said so; the timer before that.
    sql "update platform.timers set due_at = now() where ref_id = '$id'"
    eventually 10 job_is completed "$id"
}
