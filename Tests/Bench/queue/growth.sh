#!/usr/bin/env bash
# What a job costs while a thousand to a million others wait: adding one, running one, and the memory
# of each, on a Redis of its own without persistence. Needs the release build of queue-bench (its
# folder in SWITCHBOARD_BIN).
#
# growth.sh [SIZES] [COUNT]: how many wait, and how many jobs are measured at each size.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

read -ra sizes <<<"${1:-1000 10000 100000 1000000}"
readonly COUNT=${2:-10000}
bench=${SWITCHBOARD_BIN:-../../../.build/release}/queue-bench
port=$((20000 + RANDOM % 2700))
folder=$(mktemp -d)
redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$folder" >/dev/null &
redis=$!
finish() {
    kill "$redis"
    wait "$redis" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
for _ in {1..100}; do
    if redis-cli -p "$port" ping >/dev/null 2>&1; then break; fi
    sleep 0.05
done

info() { redis-cli -p "$port" info "$1" | sed -n "s/^$2:\([0-9.]*\).*/\1/p"; }
# The server's processor time so far, in microseconds.
server_time() {
    jq -n "($(info cpu used_cpu_user) + $(info cpu used_cpu_sys)) * 1e6 | floor"
}
jobs_waiting() { redis-cli -p "$port" llen bull:bench:wait; }

printf '%9s %12s %12s %12s %12s %12s %9s\n' waiting "bytes a job" "add us" "add, Redis" "run us" \
    "run, Redis" "peak MB"
for size in "${sizes[@]}"; do
    redis-cli -p "$port" flushall sync >/dev/null
    before=$(info memory used_memory)
    "$bench" add --port "$port" --count "$size" --bulk 1000 >/dev/null
    bytes=$((($(info memory used_memory) - before) / size))

    begun=$(server_time)
    rate=$("$bench" add --port "$port" --count "$COUNT" | jq .rate)
    add_server=$((($(server_time) - begun) / COUNT))

    begun=$(server_time)
    run=$("$bench" work --port "$port" --count "$COUNT")
    run_server=$((($(server_time) - begun) / COUNT))
    (($(jobs_waiting) <= size)) || { echo "the jobs were not run" >&2 && exit 1; }
    printf '%9d %12d %12.1f %12d %12.1f %12d %9.1f\n' "$size" "$bytes" \
        "$(jq -n "1e6 / $rate")" "$add_server" "$(jq .cpu_us_per_job <<<"$run")" "$run_server" \
        "$(jq .peak_mb <<<"$run")"
done
