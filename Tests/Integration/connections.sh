#!/usr/bin/env bash
# Calls every service from many sides at once and watches how many connections PostgreSQL has: nine a
# process at most, so that three replicas of three services leave room in 100.
set -euo pipefail
# shellcheck source=stack.bash
source "$(dirname "${BASH_SOURCE[0]}")/stack.bash"
readonly CALLERS=24 CALLS=6 PROCESS_MAX=9

eventually 60 are_ready
prepare_channel connections
pids=()
for ((caller = 1; caller <= CALLERS; caller++)); do
    (
        open_conversation connections
        for ((number = 1; number <= CALLS; number++)); do
            says "topic $number" && [[ $STATUS == 201 ]]
            dispatch POST /v1/message-requests '{"channel_code": "connections", "text": "x"}'
            [[ $STATUS == 202 ]]
            engine GET /v1/sessions && [[ $STATUS == 200 ]]
        done
    ) &
    pids+=($!)
done
worst=0
while [[ -n $(jobs -rp) ]]; do
    now=$(sql "select count(*) from pg_stat_activity where backend_type = 'client backend'
        and pid <> pg_backend_pid()")
    ((now <= worst)) || worst=$now
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=$((failed + 1)); done
echo "$worst connections at most, $failed of $CALLERS callers failed"
((failed == 0 && worst > 9 && worst <= 9 * PROCESS_MAX))
