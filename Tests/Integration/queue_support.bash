# What the tests of `dispatch-worker queue` share.
# shellcheck shell=bash
# shellcheck disable=SC2154 # bats sets output and status

bats_require_minimum_version 1.5.0

setup() {
    prefix=t$RANDOM$RANDOM
}

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
