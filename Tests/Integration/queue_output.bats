# What `dispatch-worker queue` prints, in words and as JSON, and what its test processor does.

load queue_support

@test "adding, looking and removing, in words and as JSON" {
    [ "$(queue add -q a hello '{"n":1}' --id one)" = one ]
    [ "$(queue add -q a late '{}' --delay 60000 --json)" = '["2"]' ]
    [ "$(queue add -q a many '{"i":{i}}' --count 3 --json | jq -c .)" = '["3","4","5"]' ]
    run queue list -q a waiting
    [[ ${lines[0]} == "id "*"name "*"attempts"*"data" ]]
    [[ ${lines[1]} == "one "*"hello "*'{"n":1}' ]]
    [ "$(queue list -q a waiting --json | jq -c '[.[].data]')" = '[{"n":1},{"i":0},{"i":1},{"i":2}]' ]
    [ "$(queue counts -q a --json | jq -c '[.waiting, .delayed]')" = '[4,1]' ]
    [[ $(queue counts -q a) == *"waiting"*"4"* ]]
    [ "$(queue state -q a 2)" = delayed ]
    queue promote -q a 2
    [ "$(queue state -q a 2 --json)" = '"waiting"' ]
    [ "$(queue show -q a one --json | jq -c '[.name, .state, .data.n]')" = '["hello","waiting",1]' ]
    [[ $(queue show -q a one) == *"name"*"hello"* ]]
    [ "$(queue remove -q a one --yes)" = "removed one" ]
    [ "$(queue state -q a one)" = unknown ]
}

@test "the test processor echoes, fails, sleeps, and runs a command" {
    queue add -q a n '{"to":"ann"}' --attempts 3 >/dev/null
    run queue work -q a --echo --fail-times 2 --log "a line" --progress 50 --count 1
    [ "$status" -eq 0 ]
    [ "$(jq -r .event <<<"$output" | paste -sd ' ')" = \
        "started failed started failed started completed" ]
    [ "$(queue show -q a 1 --json | jq -c '[.returnvalue, .attemptsMade, .progress, .logs]')" = \
        '[{"to":"ann"},3,50,["a line","a line","a line"]]' ]
    queue add -q a n '{"to":"ann"}' >/dev/null
    queue work -q a --exec 'jq -c .to' --count 1 >/dev/null
    [ "$(queue show -q a 2 --json | jq -r .returnvalue)" = ann ]
    queue add -q a n '{}' --attempts 5 >/dev/null
    queue work -q a --unrecoverable --count 1 >/dev/null
    [ "$(queue show -q a 3 --json | jq -c '[.state, .attemptsMade]')" = '["failed",1]' ]
    queue retry -q a 3 --fresh >/dev/null
    queue work -q a --exec 'exit 3' --count 1 >/dev/null
    [[ $(queue show -q a 3 --json | jq -r .failedReason) == *"ended with 3"* ]]
    [ "$(queue retry -q a --all)" = "1 set to run again" ]
}

@test "events are told as they happen, and long work tells how far it is" {
    queue add -q a n --count 2500 >/dev/null
    run queue events -q a --after 0 --count 2
    [[ ${lines[0]} == *"added"*"jobId=1"* ]]
    [ "$(queue events -q a --after 0 --count 2 --json | jq -r .event | paste -sd ' ')" = \
        "added waiting" ]
    run --separate-stderr queue drain -q a --yes
    [ "$output" = "2500 deleted" ]
    # shellcheck disable=SC2154 # bats sets it
    [[ $stderr == *"1000 deleted so far"*"2000 deleted so far"* ]]
}

@test "schedulers are made, listed and removed, and a queue is obliterated" {
    queue schedulers set -q a tick n --every 60000 >/dev/null
    [ "$(queue schedulers list -q a --json | jq -r '.[].id')" = tick ]
    queue schedulers remove -q a tick --yes
    [ "$(queue schedulers list -q a --json)" = '[]' ]
    queue add -q a n >/dev/null
    queue pause -q a
    queue obliterate -q a --yes
    [ "$(queue counts -q a --json | jq -c '[.waiting, .isPaused]')" = '[0,false]' ]
}

@test "a server that is away, or takes no writes, is told in words" {
    run queue counts -q a --redis-url redis://127.0.0.1:1
    [ "$status" -ne 0 ]
    [[ $output == *"127.0.0.1:1"*"refused"* ]]
}
