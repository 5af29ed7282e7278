#!/usr/bin/env bash
# The queue beside Python's BullMQ and Debian's Sidekiq, on a Redis of their own without persistence:
# rates, processor time for each job, and how long an idle worker takes to start a job. Needs the
# release build of queue-bench (its folder in SWITCHBOARD_BIN), Python with bullmq, and sidekiq.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly COUNT=${1:-20000} LATENCIES=${2:-500} GAP=20
bench=${SWITCHBOARD_BIN:-../../../.build/release}/queue-bench
python3 -c 'import bullmq'
port=$((20000 + RANDOM % 2700))
folder=$(mktemp -d)
redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$folder" >/dev/null &
redis=$!
sidekiq=""
finish() {
    [[ -z $sidekiq ]] || kill "$sidekiq" 2>/dev/null || true
    kill "$redis"
    wait "$redis" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
export BENCH_REDIS=redis://127.0.0.1:$port
for _ in {1..100}; do
    if redis-cli -p "$port" ping >/dev/null 2>&1; then break; fi
    sleep 0.05
done

fresh() { redis-cli -p "$port" flushall >/dev/null; }
tell() { printf '%-34s %s\n' "$1" "$2"; }
bytes() { redis-cli -p "$port" info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p'; }

fresh
tell "add, ours" "$("$bench" add --port "$port" --count "$COUNT")"
fresh
tell "add, BullMQ" "$(python3 bullmq_bench.py add "$port" "$COUNT")"
fresh
before=$(bytes)
tell "bulk of 1000, ours" "$("$bench" add --port "$port" --count "$COUNT" --bulk 1000)"
tell "bytes for each waiting job, ours" "$((($(bytes) - before) / COUNT))"
tell "work, 50 at once, ours" "$("$bench" work --port "$port" --count "$COUNT")"
fresh
tell "bulk of 1000, BullMQ" "$(python3 bullmq_bench.py bulk "$port" "$COUNT")"
tell "work, 50 at once, BullMQ" "$(python3 bullmq_bench.py work "$port" "$COUNT")"

fresh
"$bench" latency --port "$port" --count "$LATENCIES" >"$folder/ours" &
worker=$!
sleep 1 # It must be idle: its start is not what is measured.
"$bench" add --port "$port" --count "$LATENCIES" --gap "$GAP" >/dev/null
wait "$worker"
tell "from add to start, ours" "$(<"$folder/ours")"

fresh
ruby sidekiq_bench.rb add "$COUNT" 2>"$folder/warnings"
begun=$(date +%s%N)
sidekiq -r ./sidekiq_bench.rb -c 50 >"$folder/sidekiq" 2>&1 &
sidekiq=$!
# The start of Ruby does not count: the clock begins with the first job.
until (($(redis-cli -p "$port" llen queue:default) < COUNT)); do
    sleep 0.01
    begun=$(date +%s%N)
done
ruby sidekiq_bench.rb await "$COUNT" 2>"$folder/warnings"
tell "work, 50 at once, Sidekiq" "$((COUNT * 1000000000 / ($(date +%s%N) - begun))) jobs a second"
redis-cli -p "$port" del bench:times >/dev/null
ruby sidekiq_bench.rb latency "$LATENCIES" "$GAP" 2>"$folder/warnings"
tell "from add to start, Sidekiq" "$(ruby sidekiq_bench.rb times "$LATENCIES" 2>"$folder/warnings")"
