#!/usr/bin/env bats
# messaging where there is no Redis at all: threads, closing and the bot's handler keep their contracts,
# but for the tests that look into Redis.

setup_file() { export BATS_TEST_TIMEOUT=600; }

without_redis() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    compose/local run --no-redis -- env BATS_TEST_TIMEOUT=120 \
        bats --tap --filter-tags '!redis' "Tests/Integration/$1.bats"
}

@test "threads are the same without Redis" { without_redis threads; }

@test "closing and opening again are the same without Redis" { without_redis closing; }

@test "the bot's handler is the same without Redis, locks and jobs included" { without_redis handler; }
