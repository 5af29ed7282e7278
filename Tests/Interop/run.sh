#!/usr/bin/env bash
# Other people's programs against the running services, told in the Test Anything Protocol: each
# Python program in this folder is one test, and so is promtool on each service's metrics.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit

number=0
tell() {
    local name=$1 output status=0
    shift
    number=$((number + 1))
    output=$("$@" 2>&1) || status=$?
    if ((status == 0)); then
        printf 'ok %d %s\n' "$number" "$name"
    else
        printf 'not ok %d %s\n' "$number" "$name"
        printf '%s\n' "$output" | tail -n 20 | sed 's/^/# /'
    fi
}

# promtool answers 3 where a name or a help text is missing, which counts too.
metrics_are_valid() {
    local metrics
    metrics=$(curl -sS --fail --max-time 10 -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
        "$1/metrics") && promtool check metrics <<<"$metrics"
}

shopt -s nullglob
programs=(*.py)
printf '1..%d\n' $((${#programs[@]} + 3))
tell "promtool accepts messaging's metrics" metrics_are_valid "$MESSAGING_URL"
tell "promtool accepts assignment-engine's metrics" metrics_are_valid "$ASSIGNMENT_ENGINE_URL"
tell "promtool accepts dispatch-worker's metrics" metrics_are_valid "$DISPATCH_WORKER_URL"
for program in "${programs[@]}"; do
    tell "$program" timeout 120 python3 "$program"
done
