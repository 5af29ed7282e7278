#!/usr/bin/env bats
# kill -9 of each service at every fault point of the main job; some minutes for each service.

setup_file() { export BATS_TEST_TIMEOUT=1500; }

short_leases() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    AI_JOB_LEASE_MS=2000 SEND_LEASE_MS=2000 DISPATCH_SWEEP_MS=2000 IDEMPOTENCY_LEASE_MS=1500 \
        DEBOUNCE_MS=50 compose/local run -- "$@"
}

@test "each service killed at each named point: everything happens once" {
    short_leases Tests/Integration/crash_points.sh local all
}

@test "each service killed at each named point around what goes to Slack: Slack gets it once" {
    short_leases Tests/Integration/crash_points.sh slack all
}

@test "messaging killed at every point: everything happens once" {
    short_leases Tests/Integration/crash.sh messaging
}

@test "messaging killed at every point, its answers going to Slack: everything happens once" {
    short_leases Tests/Integration/crash.sh messaging slack
}

@test "assignment-engine killed at every point: everything happens once" {
    short_leases Tests/Integration/crash.sh assignment-engine
}

@test "dispatch-worker killed at every point: everything happens once" {
    short_leases Tests/Integration/crash.sh dispatch-worker
}

@test "dispatch-worker killed at every point, sending to Slack: everything happens once" {
    short_leases Tests/Integration/crash.sh dispatch-worker slack
}
