#!/usr/bin/env bats
# Several workers that are killed and stand still. Needs `compose/local run --replicas 4`, which it
# starts itself; leases are at a twentieth of their length.
# bats file_tags=local

setup_file() {
    COUNT=300 NEMESIS=40
    [[ -z ${SWITCHBOARD_LONG:-} ]] || COUNT=1000 NEMESIS=120
    export COUNT NEMESIS BATS_TEST_TIMEOUT=$((NEMESIS * 2 + 300))
}
setup() { cd "$BATS_TEST_DIRNAME/../.." || return; }

@test "four workers, killed and stopped at random, send each message once" {
    SEND_LEASE_MS=3000 run timeout $((NEMESIS * 2 + 280)) compose/local run --replicas 4 -- \
        bash Tests/Integration/dispatch_workers.sh "$COUNT" "$NEMESIS"
    echo "$output" | tail -n 5
    [ "$status" -eq 0 ]
    [[ $output == *"$COUNT stored, $COUNT sent, 0 unknown, 0 twice, 0 lost"* ]]
}
