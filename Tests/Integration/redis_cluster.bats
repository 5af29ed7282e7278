#!/usr/bin/env bats
# The services on a Redis Cluster of three nodes, in stacks of this file's own. The other suites run
# there too: `on_cluster.sh FILE…`, all of them with `compose/local test --long`.

load stack

LOCAL=$BATS_TEST_DIRNAME/../../compose/local

@test "on a cluster the demo's conversation goes through all three services" {
    run "$LOCAL" demo --redis-cluster
    echo "$output"
    [[ $status -eq 0 && $output == *"All 10 steps held"* ]]
}

@test "on a cluster the keys of a large tenant are in eight places, and no command's in two" {
    run bash "$BATS_TEST_DIRNAME/on_cluster.sh" "$BATS_TEST_DIRNAME/dispatch_large.bats"
    echo "$output"
    [[ $status -eq 0 && $output == *"ok 1 no command had keys in several slots"* ]]
}

@test "a node of a cluster that is away is told of, and what waits is sent when it is back" {
    run "$LOCAL" run --redis-cluster -- bash "$BATS_TEST_DIRNAME/cluster/node_away.sh"
    echo "$output"
    [[ $status -eq 0 ]]
}

@test "a stack has one Redis, none, or a cluster" {
    run "$LOCAL" run --redis-cluster --no-redis -- true
    [[ $status -eq 64 && $output == *"two different stacks"* ]]
}
