#!/usr/bin/env bats
# Three instances of messaging, one killed and one paused past its lock during a minute of load.
# bats file_tags=local

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    export BATS_TEST_TIMEOUT=400
}

@test "one killed, one paused past its lock: one thread each, the limit holds, no event is missed" {
    RATE_LIMIT_WINDOW_MS=20000 MESSAGE_LOCK_MS=2000 ASSIGNMENT_JOB_LEASE_MS=2000 \
        IDEMPOTENCY_LEASE_MS=1500 run timeout 360 compose/local run --replicas 3 -- \
        python3 Tests/Chaos/three_instances.py 60
    echo "$output" | tail -n 8
    [ "$status" -eq 0 ]
    [[ $output == *"each in one thread"* ]]
}
