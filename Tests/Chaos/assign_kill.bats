#!/usr/bin/env bats
# kill -9 of messaging at every fault point of an assignment; some minutes for each way.

setup_file() { export BATS_TEST_TIMEOUT=1500; }

short_leases() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    IDEMPOTENCY_LEASE_MS=1500 MESSAGE_LOCK_MS=1000 ASSIGNMENT_JOB_LEASE_MS=500 \
        compose/local run -- "$@"
}

@test "every fault point on the way of an assignment has its turn" {
    cd "$BATS_TEST_DIRNAME/../.."
    # Of these files all points but those of replies and of calls to other services.
    diff <(Tests/Integration/assign_crash.sh points | sort) \
        <(grep -rhoE 'reached\("(message|assignment|idempotency|outbox)\.[a-z_]+"' \
            Services/Messaging/UseCases Services/Messaging/Routes Services/Messaging/AssignmentJobs \
            Shared/Platform Shared/Outbox | grep -oE '[a-z]+\.[a-z_]+' | sort -u |
            grep -vE '^outbox\.(before_call|delivered|call_marked)$')
}

@test "messaging killed at every point of an assignment that is asked for" {
    run short_leases Tests/Integration/assign_crash.sh direct
    echo "$output"
    [[ $status == 0 && $(grep -c 'it happened once' <<<"$output") == 14 ]]
}

@test "messaging killed at every point of an assignment that a job makes" {
    run short_leases Tests/Integration/assign_crash.sh job
    echo "$output"
    [[ $status == 0 && $(grep -c 'it happened once' <<<"$output") == 12 ]]
}
