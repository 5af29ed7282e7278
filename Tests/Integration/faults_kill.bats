#!/usr/bin/env bats
# kill -9 of each service between steps of the main job: a sample of the fault points, in a stack of
# its own with short leases. Tests/Chaos tries every point.

setup_file() { export BATS_TEST_TIMEOUT=300; }

short_leases() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    AI_JOB_LEASE_MS=2000 SEND_LEASE_MS=2000 DISPATCH_SWEEP_MS=2000 IDEMPOTENCY_LEASE_MS=1500 \
        DEBOUNCE_MS=50 compose/local run -- "$@"
}

@test "messaging killed between steps of the main job: everything happens once" {
    short_leases Tests/Integration/crash.sh messaging local 2 5
}

@test "assignment-engine killed between steps of the main job: everything happens once" {
    short_leases Tests/Integration/crash.sh assignment-engine local 1 3
}

@test "dispatch-worker killed between steps of the main job: everything happens once" {
    short_leases Tests/Integration/crash.sh dispatch-worker local 3 5
}

@test "messaging killed between a reply's commit and its answer: the repeat gets that reply" {
    short_leases env SWITCHBOARD_CRASH_POINT=reply.committed \
        Tests/Integration/crash.sh messaging
}

@test "messaging killed right after the bot's answer was stored: Slack gets it, once" {
    short_leases env SWITCHBOARD_CRASH_POINT=bot.posted \
        Tests/Integration/crash.sh messaging slack
}

@test "messaging killed with the engine's answer in hand: the repeat makes the same call again" {
    short_leases env SWITCHBOARD_CRASH_POINT=handover.answered \
        Tests/Integration/crash.sh messaging
}

@test "dispatch-worker killed right after Slack took the message: it is found there and not sent again" {
    short_leases env SWITCHBOARD_CRASH_POINT=dispatch.answered \
        Tests/Integration/crash.sh dispatch-worker slack
}

@test "dispatch-worker killed at each named step between the dispatch lock and the job: sent once" {
    # shellcheck disable=SC2016
    short_leases bash -c 'for point in dispatch_locked dispatched before_enqueue enqueued; do
        SWITCHBOARD_CRASH_POINT=dispatch.$point Tests/Integration/crash.sh dispatch-worker || exit 1
    done'
}
