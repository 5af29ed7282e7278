#!/usr/bin/env bats
# messaging where there is no Redis at all: threads and closing keep their contracts, but for the tests
# that look into Redis. The bot's handler does in Tests/Chaos/no_redis_handler.bats.

setup_file() { export BATS_TEST_TIMEOUT=600; }

without_redis() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    compose/local run --no-redis -- env BATS_TEST_TIMEOUT=120 \
        bats --tap --filter-tags '!redis' "Tests/Integration/$1.bats"
}

@test "threads are the same without Redis" { without_redis threads; }

@test "closing and opening again are the same without Redis" { without_redis closing; }
