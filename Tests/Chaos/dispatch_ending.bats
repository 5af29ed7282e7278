#!/usr/bin/env bats
# dispatch-worker ends or dies with many messages in hand, in a stack of its own with short leases.
# bats file_tags=local

setup_file() { export BATS_TEST_TIMEOUT=300; }

in_a_stack() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    SEND_LEASE_MS=3000 DISPATCH_SWEEP_MS=1000 LOG_LEVEL=debug compose/local run -- \
        bash Tests/Integration/dispatch_ending.sh "$@"
}

@test "told to stop while it sends, it ends what is on its way and gives the others back: once each" {
    in_a_stack term
}

@test "told to stop while a look hangs, it takes no job more, and ends in order within 25 s" {
    in_a_stack look
}

@test "killed after the commit of a batch and before the first byte, each of the batch is sent once" {
    in_a_stack dispatch.begun
}

@test "killed after Slack took some of a batch, none of them is sent again" {
    in_a_stack dispatch.answered
}

@test "the projector tells each of its decisions with the ids, the second one of a request as skipped" {
    in_a_stack decisions
}
