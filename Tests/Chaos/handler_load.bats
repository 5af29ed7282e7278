#!/usr/bin/env bats
# The message handler under load: an AI that is slow, and three processes that share the jobs.
# bats file_tags=local

setup_file() { export BATS_TEST_TIMEOUT=400; }
setup() { cd "$BATS_TEST_DIRNAME/../.." || return; }

@test "an AI that takes five seconds does not slow the chat" {
    run timeout 300 compose/local run -- python3 Tests/Bench/handler.py --quick accept
    echo "$output" | tail -n 8
    [ "$status" -eq 0 ]
    [[ $output == *"while the AI takes 5 s"*" yes |"* ]]
}

@test "three processes share one load, and do more than twice as much as one" {
    run timeout 390 compose/local run -- python3 Tests/Bench/handler.py --quick shared
    echo "$output" | tail -n 12
    [ "$status" -eq 0 ]
    [[ $output == *"answers with three processes"*" yes |"* ]]
}

@test "of three processes one is killed and one stands still: each conversation has one answer" {
    AI_JOB_LEASE_MS=2000 AI_JOB_HEARTBEAT_MS=500 AI_JOB_SWEEP_MS=500 AI_JOB_RETRY_MS=100 \
        AI_JOB_IDLE_MS=2000 CONVERSATION_LOCK_MS=3000 DEBOUNCE_MS=0 IDEMPOTENCY_LEASE_MS=1500 \
        run timeout 360 compose/local run --replicas 3 -- \
        python3 Tests/Chaos/handler_shared.py 400
    echo "$output" | tail -n 8
    [ "$status" -eq 0 ]
    [[ $output == *"each answered once"* ]]
}
