#!/usr/bin/env bats
# The assignment of a message, killed and paused between its steps: a sample of the fault points, in
# stacks of their own with short leases. Tests/Chaos tries every point.

setup_file() { export BATS_TEST_TIMEOUT=300; }

short_leases() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    IDEMPOTENCY_LEASE_MS=1500 MESSAGE_LOCK_MS=1000 ASSIGNMENT_JOB_LEASE_MS=500 \
        compose/local run "$@"
}

@test "messaging killed between steps of an assignment: one message, one thread, one event" {
    short_leases -- Tests/Integration/assign_crash.sh direct \
        message.committed message.locked message.assigned idempotency.claimed
}

@test "messaging killed while only a job has the message: it gets its thread all the same" {
    short_leases -- Tests/Integration/assign_crash.sh job \
        assignment.queued assignment.taken message.before_assign outbox.published
}

@test "a holder that stands still for longer than its lock lasts finds the message assigned" {
    run short_leases --replicas 2 -- Tests/Integration/assign_pause.sh
    echo "$output"
    [[ $status == 0 && $output == *"one thread, and both were told so"* ]]
}

@test "a fault inside is a 500 that names the message; the log has message, room, reason, trace" {
    # shellcheck source=stack.bash
    source "$BATS_TEST_DIRNAME/stack.bash"
    prepare_channel "fault-$RANDOM$RANDOM"
    local channel trace line request=request-$RANDOM$RANDOM
    trace=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    channel=$(sql "select code from messaging.channels order by updated_at desc limit 1")
    open_conversation "$channel"
    messaging POST "/v1/conversations/$CONVERSATION/messages" \
        '{"sender": {"kind": "agent", "id": "a"}, "text": "topic"}'
    MESSAGE=$(field .message.id)
    sql "update messaging.messages set thread_id = null, thread_state = 'pending', method = null
        where id = '$MESSAGE'"
    restart_with "message.before_assign:1:error" messaging
    messaging POST "/v1/messages/$MESSAGE/auto-assign" "" -H "X-Request-Id: $request" \
        -H "traceparent: 00-$trace-00f067aa0ba902b7-00"
    [[ $STATUS == 500 ]]
    [[ $(field .detail) == \
        "[AutoAssignMessageUseCase] Failed to auto-assign message $MESSAGE: internal error" ]]
    line=$(grep "a message was not assigned" "$(log_of messaging.1)" | grep "$request")
    [[ $line == *"$MESSAGE"* && $line == *"$CONVERSATION"* && $line == *InjectedFault* ]]
    [[ $line == *"\"trace_id\":\"$trace\""* ]]
    # Every other line about the request as well.
    grep -F "$request" "$(log_of messaging.1)" | jq -es --arg trace "$trace" \
        'length > 1 and all(.trace_id == $trace)'
    # The fault is over: the caller's next try is a success.
    messaging POST "/v1/messages/$MESSAGE/auto-assign"
    [[ $STATUS == 200 ]]
}
