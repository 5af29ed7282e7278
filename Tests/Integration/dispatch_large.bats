#!/usr/bin/env bats
# Tenants that are too large for one node: their keys are spread over eight buckets, while other
# processes hear of it and after nobody names them any more.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

setup_file() { local_channel; }
# The files after it look for keys that lie together.
teardown_file() {
    redis zrem dispatch:large "$SWITCHBOARD_TENANT" >/dev/null
    takes_effect is_in_none
}

# As a process does that was started with DISPATCH_LARGE_TENANTS, so many seconds ago.
named() { redis zadd dispatch:large "$(($(date +%s%3N) - $1 * 1000))" "$SWITCHBOARD_TENANT" >/dev/null; }

keys() { redis --scan --pattern "$1" | wc -l; }
place() { redis --scan --pattern "mr:projection:{$SWITCHBOARD_TENANT*}:$1"; }

is_in_a_bucket() { [[ $(place "$ID") =~ ^[^#]+#[0-7]\}:[-0-9a-f]+$ ]]; }
is_in_none() { [[ $(place "$ID") =~ ^[^#]+$ ]]; }

# takes_effect COMMAND: sends until a request lies as it should; processes look every five seconds.
takes_effect() {
    local tenths=50
    while ((tenths-- > 0)); do
        sends "probe" && becomes sent
        ! "$1" || return 0
        sleep 0.3
    done
    return 1
}

@test "a tenant that is named has its jobs, locks and projections in eight buckets" {
    named 0
    takes_effect is_in_a_bucket
    named 0
    local n ids=()
    # So many that no bucket stays empty by chance.
    for n in {1..96}; do sends "large $TAG $n" && ids+=("$ID"); done
    for ID in "${ids[@]}"; do becomes sent 100; done
    for n in 1 17 96; do [[ $(outbox "$LOCAL" | grep -cx "large $TAG $n") == 1 ]]; done
    for n in {0..7}; do
        (($(keys "mr:projection:{$SWITCHBOARD_TENANT#$n}:*") > 0))
        (($(keys "mr:dispatch:{$SWITCHBOARD_TENANT#$n}:*") > 0))
        [[ $(redis exists "bull:{$SWITCHBOARD_TENANT#$n}:send-message:meta") == 1 ]]
    done
    for ID in "${ids[@]}"; do is_in_a_bucket; done
}

@test "what waits in buckets is counted, put forward, found by sweeps, and sent when nobody names it" {
    named 0
    takes_effect is_in_a_bucket
    named 0
    local later ids=() n
    later=$(date -u -d '+12 seconds' +%FT%TZ)
    for n in {1..6}; do
        sends "waits $TAG $n" "$LOCAL" "{\"send_at\": \"$later\"}" && becomes dispatched
        ids+=("$ID")
    done
    is_in_a_bucket
    # Nobody has named it for a while: new ones lie together again, the old ones go where they are.
    named 70
    takes_effect is_in_none
    # Redis knows these jobs in their buckets: a sweep makes no second ones.
    redis del dispatch:sweep >/dev/null
    for ID in "${ids[@]}"; do becomes sent 200; done
    for n in {1..6}; do [[ $(outbox "$LOCAL" | grep -cx "waits $TAG $n") == 1 ]]; done
    # And the other way round.
    later=$(date -u -d '+12 seconds' +%FT%TZ)
    sends "back $TAG" "$LOCAL" "{\"send_at\": \"$later\"}" && becomes dispatched
    local held=$ID
    named 0
    takes_effect is_in_a_bucket
    named 0
    ID=$held
    becomes sent 200
    [[ $(outbox "$LOCAL" | grep -cx "back $TAG") == 1 ]]
}
