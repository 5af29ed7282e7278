# What the tests of `dispatch-worker queue` share.
# shellcheck shell=bash
# shellcheck disable=SC2154 # bats sets output and status

bats_require_minimum_version 1.5.0

setup() {
    prefix=t$RANDOM$RANDOM
    # On a cluster a queue's keys must share a slot.
    [[ ${REDIS_URL:-} != redis+cluster:* ]] || prefix="{$prefix}"
    WORKERS=()
}

# Workers that a test left behind go with it.
teardown() {
    ((${#WORKERS[@]} == 0)) || kill "${WORKERS[@]}" 2>/dev/null || true
}

# working FILE OPTION…: a worker in the background that writes into FILE.
working() {
    local file=$1
    shift
    queue work "$@" >"$file" 3>&- &
    WORKERS+=("$!")
}

# eventually COMMAND…: waits until it succeeds.
eventually() {
    local end=$((SECONDS + 30))
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# comes_to FILE EVENT: the worker that writes into it tells of one.
comes_to() { eventually grep -qs "\"event\":\"$2\"" "$1"; }

queue() {
    local command=$1
    shift
    if [[ $command == schedulers ]]; then
        command="schedulers $1"
        shift
    fi
    # shellcheck disable=SC2086 # a subcommand of two words
    "$SWITCHBOARD_BIN/dispatch-worker" queue $command --prefix "$prefix" "$@"
}

# The queues of the jobs that began, in their order.
started() { jq -r 'select(.event == "started") | .queue' <<<"$output"; }

# fails WORDS COMMAND…: it ends badly and says so.
fails() {
    local words=$1
    shift
    run "$@"
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"$words"* ]]
}
