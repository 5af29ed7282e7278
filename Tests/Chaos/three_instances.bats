#!/usr/bin/env bats
# Three instances of messaging, one killed and one paused past its lock during a minute of load.
# bats file_tags=local

setup_file() { export BATS_TEST_TIMEOUT=700; }
setup() { cd "$BATS_TEST_DIRNAME/../.." || return; }

# Usage: three WINDOW_MS SECONDS
three() {
    RATE_LIMIT_WINDOW_MS=$1 MESSAGE_LOCK_MS=2000 ASSIGNMENT_JOB_LEASE_MS=2000 \
        IDEMPOTENCY_LEASE_MS=1500 run timeout 680 compose/local run --replicas 3 -- \
        python3 Tests/Chaos/three_instances.py "$2"
    echo "$output" | tail -n 8
    [ "$status" -eq 0 ]
    [[ $output == *"each in one thread"* ]]
}

@test "one killed, one paused past its lock: one thread each, the limit holds, no event is missed" {
    three 20000 60
}

@test "the same with the limit's own window: never more than ten in any sixty seconds" {
    three 60000 130
}
