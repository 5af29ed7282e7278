#!/usr/bin/env bats
# kill -9 of messaging at every fault point of an assignment; some minutes for each way.

setup_file() { export BATS_TEST_TIMEOUT=1500; }

short_leases() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    IDEMPOTENCY_LEASE_MS=1500 MESSAGE_LOCK_MS=1000 ASSIGNMENT_JOB_LEASE_MS=500 \
        compose/local run -- "$@"
}

@test "messaging killed at every point of an assignment that is asked for" {
    short_leases Tests/Integration/assign_crash.sh direct
}

@test "messaging killed at every point of an assignment that a job makes" {
    short_leases Tests/Integration/assign_crash.sh job
}
