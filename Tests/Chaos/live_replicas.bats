#!/usr/bin/env bats
# Streams over several instances, one of which dies. Needs `compose/local run --replicas 2`, which it
# starts itself around each test.
# bats file_tags=local

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
}

@test "no event is missed by a stream whose instance is killed, nor while Redis is away" {
    run timeout 150 compose/local run --replicas 2 -- bash Tests/Integration/live_crash.sh
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"every stream is whole"* ]]
}

@test "clients of Socket.IO over two instances miss nothing, whichever is killed, and poll either" {
    run timeout 150 compose/local run --replicas 2 -- python3 Tests/Integration/socketio_replicas.py
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"every client has every event"* ]]
}
