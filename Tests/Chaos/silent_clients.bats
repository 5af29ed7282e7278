#!/usr/bin/env bats
# Clients that stop answering without a word. Full-scale times: the pings of Socket.IO are 25 s apart.

setup_file() { export BATS_TEST_TIMEOUT=150; }

@test "who leaves the pings of Socket.IO unanswered is let go, and its user is not there any more" {
    run timeout 140 python3 "$BATS_TEST_DIRNAME/silent_clients.py"
    echo "$output"
    [[ $status -eq 0 && $output == *"every silent client is gone"* ]]
}
