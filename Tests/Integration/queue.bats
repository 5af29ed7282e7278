# `dispatch-worker queue` on queues of its own in the stack's Redis.
# shellcheck disable=SC2154 # the file below sets the prefix

load queue_support

@test "one worker serves two queues fairly: ten jobs do not wait for five hundred" {
    queue add -q big n --count 500 >/dev/null
    queue add -q small n --count 10 >/dev/null
    run queue work --fair big,small --concurrency 2 --count 510
    [ "$status" -eq 0 ]
    [ "$(started | grep -c "^$prefix:small$")" -eq 10 ]
    [ "$(started | grep -n "^$prefix:small$" | tail -n 1 | cut -d: -f1)" -lt 40 ]
}

@test "weights: a queue of weight three gets three jobs to another's one" {
    queue add -q a n --count 120 >/dev/null
    queue add -q b n --count 120 >/dev/null
    run queue work --fair a=3,b --count 120
    [ "$status" -eq 0 ]
    share=$(started | sed -n 21,100p | grep -c "^$prefix:a$")
    echo "$share of 80"
    [ "$share" -ge 54 ]
    [ "$share" -le 66 ]
}

@test "all queues of a prefix are found, and those of all tenants; others are left alone" {
    queue add -q mail n >/dev/null
    queue add -q mail --tenant acme n >/dev/null
    queue add -q mail --tenant z n >/dev/null
    queue add -q sms --tenant z n >/dev/null
    run queue work -q mail --all --count 2
    [ "$status" -eq 0 ]
    [ "$(started | sort | paste -sd ' ')" = "$prefix:{acme}:mail $prefix:{z}:mail" ]
    run queue work --all --count 2
    [ "$(started | sort | paste -sd ' ')" = "$prefix:mail $prefix:{z}:sms" ]
}

@test "a worker of several queues is told of a job at once, or finds it at its next look" {
    queue add -q mail --tenant acme n >/dev/null
    queue add -q sms n >/dev/null
    # This one looks by itself at its start and then no more.
    working "$BATS_TEST_TMPDIR/told" -q mail --all --drain-ms 600000 --stalled-ms 600000 --count 2
    working "$BATS_TEST_TMPDIR/found" --fair sms --drain-ms 200 --count 2
    comes_to "$BATS_TEST_TMPDIR/told" completed
    comes_to "$BATS_TEST_TMPDIR/found" completed
    queue add -q mail --tenant acme --ring n >/dev/null
    queue add -q sms n >/dev/null
    wait "${WORKERS[@]}"
    [ "$(grep -c completed "$BATS_TEST_TMPDIR/told")" -eq 2 ]
    # A worker with a list serves nothing else.
    [ "$(jq -r 'select(.event == "started").queue' "$BATS_TEST_TMPDIR/found" | paste -sd ' ')" = \
        "$prefix:sms $prefix:sms" ]
}

@test "one queue has no more jobs running than its cap, and no more waiting" {
    queue add -q a n --count 12 >/dev/null
    run queue work --fair a --concurrency 8 --in-flight-max 2 --sleep-ms 20 --count 12
    [ "$status" -eq 0 ]
    most=$(jq -s '[foreach .[] as $e (0; if $e.event == "started" then . + 1
        elif $e.event == "completed" then . - 1 else . end)] | max' <<<"$output")
    echo "$most at once"
    [ "$most" -le 4 ] # two more may have begun before the end of two was told
    queue add -q b n --count 3 >/dev/null
    fails "as many jobs wait as the queue may hold" queue add -q b n --queued-max 3
    [ "$(queue counts -q b --json | jq .waiting)" -eq 3 ]
}

@test "a pause says why and who, ends by itself, and may hold all queues" {
    queue add -q a n >/dev/null
    queue add -q b n >/dev/null
    queue pause -q a --reason "a bad template" --by ann --for-ms 60000
    [ "$(queue counts -q a --json | jq -c '[.isPaused, .pause.reason, .pause.by]')" = \
        '[true,"a bad template","ann"]' ]
    [[ $(queue counts -q a) == *"yes, by ann: a bad template, for 5"*" s more"* ]]
    run queue pause --all --for-ms 1000
    [ "$(sort <<<"$output" | paste -sd ' ')" = "paused $prefix:a paused $prefix:b" ]
    begun=$(date +%s%N)
    run queue work --fair a,b --count 2
    [ "$(started | wc -l)" -eq 2 ]
    [ "$((($(date +%s%N) - begun) / 1000000))" -lt 8000 ] # not a minute
    queue pause -q a
    run queue resume --all
    [ "$(queue counts -q a --json | jq .isPaused)" = false ]
}

@test "a job is cancelled while it waits and while it runs" {
    id=$(queue add -q a n)
    [ "$(queue cancel -q a "$id" --reason "sent by mistake")" = cancelled ]
    [ "$(queue show -q a "$id" --json | jq -r .failedReason)" = "job cancelled: sent by mistake" ]
    [ "$(queue cancel -q a "$id")" = too_late ]
    working "$BATS_TEST_TMPDIR/work" -q a --sleep-ms 60000 --count 1
    id=$(queue add -q a n)
    comes_to "$BATS_TEST_TMPDIR/work" started
    [ "$(queue cancel -q a "$id" --json | jq -r .outcome)" = requested ]
    comes_to "$BATS_TEST_TMPDIR/work" failed
    wait "${WORKERS[@]}"
    [ "$(queue state -q a "$id")" = failed ]
    fails "there is no job 77" queue cancel -q a 77
}

@test "with ageing what has waited longer than its priority may overtakes" {
    old=$((($(date +%s) - 7300) * 1000))
    queue add -q a low --opts "{\"priority\":5,\"timestamp\":$old}" >/dev/null
    queue add -q a urgent --priority 1 >/dev/null
    queue add -q b low --opts "{\"priority\":5,\"timestamp\":$old}" >/dev/null
    queue add -q b urgent --priority 1 >/dev/null
    run queue work -q a --ageing --count 2
    [ "$(jq -r 'select(.event == "started").id' <<<"$output" | paste -sd ' ')" = "1 2" ]
    run queue work -q b --count 2
    [ "$(jq -r 'select(.event == "started").id' <<<"$output" | paste -sd ' ')" = "2 1" ]
}

@test "what deletes asks first, and what is asked wrongly is told" {
    queue add -q a n --count 3 >/dev/null
    run queue drain -q a <<<"n"
    [ "$status" -ne 0 ]
    [ "$(queue counts -q a --json | jq .waiting)" -eq 3 ]
    queue drain -q a <<<"y"
    [ "$(queue counts -q a --json | jq .waiting)" -eq 0 ]
    fails "name the queue" queue counts
    fails "no name with a weight" queue work --fair a=0
    fails "no name with a weight" queue work --fair a=b
    fails "no tenant" queue add -q a --tenant '{x}' n
    fails "--tenant names one queue" queue work --all --tenant a
    fails "has the scheme" queue counts -q a --redis-url http://x
    fails "needs a {tag}" queue counts -q a --prefix plain --redis-url redis+cluster://127.0.0.1:1
    fails "colon" queue work --fair 'a:b,' -q 'x:y'
}

@test "every subcommand tells what it does and each of its options" {
    for command in add work counts list show state retry promote remove cancel pause resume clean \
        drain obliterate events schedulers; do
        run "$SWITCHBOARD_BIN/dispatch-worker" queue "$command" --help
        [ "$status" -eq 0 ]
        [[ $output == *"OVERVIEW: "* ]]
        [[ $output == *"--redis-url"* || $command == schedulers ]]
    done
}
