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
    short_leases -- Tests/Integration/assign_crash.sh direct 1 4
}

@test "messaging killed while only a job has the message: it gets its thread all the same" {
    short_leases -- Tests/Integration/assign_crash.sh job 2 4
}

@test "a holder that stands still for longer than its lock lasts finds the message assigned" {
    run short_leases --replicas 2 -- Tests/Integration/assign_pause.sh
    echo "$output"
    [[ $status == 0 && $output == *"one thread, and both were told so"* ]]
}
