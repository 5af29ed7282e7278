#!/usr/bin/env bats
# The bot's handler where there is no Redis at all: it keeps its contract, but for the tests that look
# into Redis. Threads and closing are tried so with every change, in faults_no_redis.bats.

setup_file() { export BATS_TEST_TIMEOUT=600; }

@test "the bot's handler is the same without Redis, locks and jobs included" {
    cd "$BATS_TEST_DIRNAME/../.."
    compose/local run --no-redis -- env BATS_TEST_TIMEOUT=120 \
        bats --tap --filter-tags '!redis' Tests/Integration/handler.bats
}
