#!/usr/bin/env bats
# Several instances of assignment-engine, and what may go wrong around them.
# bats file_tags=local

setup_file() { export BATS_TEST_TIMEOUT=300; }
setup() { cd "$BATS_TEST_DIRNAME/../.." || return; }

# instances COUNT WHAT SECONDS
instances() {
    run timeout 270 compose/local run --replicas "$1" -- \
        python3 Tests/Chaos/engine_instances.py "$2" "$3"
    echo "$output" | tail -n 8
    [ "$status" -eq 0 ]
    [[ $output == *"each with one owner; every count is true"* ]]
}

@test "four instances, fifty callers at once for one session: one owner, whoever is asked" {
    instances 4 claims 20
}

@test "three instances, one killed and one paused under load: nothing is lost or given twice" {
    instances 3 killed 30
}

@test "Redis goes away under load, an instance begins without it, and it comes back" {
    instances 3 redis 30
}

@test "PostgreSQL crashes under load and starts again" {
    instances 3 postgres 30
}
