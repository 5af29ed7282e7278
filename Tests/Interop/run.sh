#!/usr/bin/env bash
# Other people's programs against the running services, told in the Test Anything Protocol: each
# Python program in this folder is one test, so is promtool on each service's metrics, and so is each
# row of the matrix of BullMQ.
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

# A counter shows up with its first event, so the names of the rules are looked for in the sources.
alerts_are_valid() {
    local rules=../../compose/alerts.yml name
    promtool check rules "$rules" && promtool test rules alerts_test.yml || return
    while read -r name; do
        grep -rqF "\"$name\"" ../../Services ../../Shared ||
            { echo "$name is no metric" && return 1; }
    done < <(grep -oE '\b(dispatch|redis)_[a-z_]+\b' "$rules" | sort -u)
}

shopt -s nullglob
programs=(*.py)
tell "promtool accepts the alert rules, which fire when they should, and whose metrics there are" alerts_are_valid
tell "promtool accepts messaging's metrics" metrics_are_valid "$MESSAGING_URL"
tell "promtool accepts assignment-engine's metrics" metrics_are_valid "$ASSIGNMENT_ENGINE_URL"
tell "promtool accepts dispatch-worker's metrics" metrics_are_valid "$DISPATCH_WORKER_URL"
for program in "${programs[@]}"; do
    tell "$program" timeout 120 python3 "$program"
done

# Each row of the matrix against each version is a test; the file has a verdict and a name a line.
rows=$(mktemp)
bullmq/run.sh "$rows" || true
while IFS=$'\t' read -r verdict name; do
    number=$((number + 1))
    printf '%s %d %s\n' "$verdict" "$number" "$name"
done <"$rows"
rm -f "$rows"
printf '1..%d\n' "$number"
