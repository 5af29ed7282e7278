#!/usr/bin/env bats
# The proof of dispatch_proof.bats through three instances of each service, in a stack of its own.
# bats file_tags=local

setup_file() {
    export BATS_TEST_TIMEOUT=900
    [[ -z ${SWITCHBOARD_LONG:-} ]] || export BATS_TEST_TIMEOUT=2100
}
setup() { cd "$BATS_TEST_DIRNAME/../.." || return; }

@test "through three instances every message is with Slack once, whatever breaks" {
    run timeout $((BATS_TEST_TIMEOUT - 60)) compose/local run --replicas 3 -- \
        bats --tap Tests/Chaos/dispatch_proof.bats
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"duplicates: 0"* && $output == *"lost: 0"* ]]
}
