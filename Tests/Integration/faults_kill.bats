#!/usr/bin/env bats
# kill -9 of each service between steps of the main job: a sample of the named fault points, in a
# stack with short leases. Tests/Chaos tries every point.

setup_file() { export BATS_TEST_TIMEOUT=300; }

short_leases() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    AI_JOB_LEASE_MS=2000 SEND_LEASE_MS=2000 DISPATCH_SWEEP_MS=2000 IDEMPOTENCY_LEASE_MS=1500 \
        DEBOUNCE_MS=50 compose/local run -- "$@"
}

@test "each service killed between steps of the main job: everything happens once" {
    short_leases Tests/Integration/crash_points.sh local sample
}

@test "messaging and dispatch-worker killed around what goes to Slack: Slack gets it once" {
    short_leases Tests/Integration/crash_points.sh slack sample
}
