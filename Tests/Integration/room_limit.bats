#!/usr/bin/env bats
# The limit of a room's assignments, through the service: in stacks of their own, for the window is
# short.

setup_file() { export BATS_TEST_TIMEOUT=300; }

limited() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    local scenario=$1
    shift
    env MAX_ASSIGNMENTS_PER_WINDOW=5 "$@" compose/local run -- Tests/Integration/room_limit.sh "$scenario"
}

@test "sliding log: repeats, refusals and failures cost a room nothing; the timer assigns" {
    run limited costs RATE_LIMIT_WINDOW_MS=4000
    echo "$output"
    [[ $status == 0 && $output == *"nothing was counted for nothing"* ]]
}

@test "fixed window: repeats, refusals and failures give back what they took; the timer assigns" {
    run limited costs RATE_LIMIT_WINDOW_MS=4000 RATE_LIMIT_ALGORITHM=fixed_window
    echo "$output"
    [[ $status == 0 && $output == *"nothing was counted for nothing"* ]]
}

@test "what failed nobody knows how and is repeated counts from when it is done" {
    run limited repeats RATE_LIMIT_WINDOW_MS=6000
    echo "$output"
    [[ $status == 0 && $output == *"never more than 5 in a window"* ]]
}

@test "messaging killed again and again: every counter has an end" {
    run limited kills
    echo "$output"
    [[ $status == 0 && $output == *"each with an end"* ]]
}

@test "where the policy says so, an assignment waits for Redis in place of going on without" {
    run limited waits MESSAGE_LOCK_WITHOUT_REDIS=refuse RATE_LIMIT_WITHOUT_REDIS=refuse
    echo "$output"
    [[ $status == 0 && $output == *"it waited for Redis"* ]]
}
