#!/usr/bin/env bash
# dispatch-worker beside pgbench and a Python worker on BullMQ, asyncpg and slack_sdk; both post into
# a plain sink (nginx). Needs the release executables (their folder in SWITCHBOARD_BIN) and Python
# with bullmq, asyncpg, aiohttp and slack_sdk first on PATH.
#
# Usage: run.sh [--long | PART…]: with the sustained minute over 600 channels of 20 tenants, or only
# the parts latency, worker, accepts, tenants, sustained.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python3 -c 'import aiohttp, asyncpg, bullmq, slack_sdk'

folder=$(mktemp -d)
port=$((10240 + RANDOM % 12000))
cat >"$folder/nginx.conf" <<NGINX
daemon off;
worker_processes 1;
pid $folder/pid;
error_log $folder/errors;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    server {
        listen 127.0.0.1:$port;
        location / {
            default_type application/json;
            return 200 '{"ok":true,"channel":"C","ts":"1.000001","message":{"text":"x"}}';
        }
    }
}
NGINX
/usr/sbin/nginx -p "$folder" -c "$folder/nginx.conf" 2>"$folder/start" &
sink=$!
finish() {
    kill "$sink" 2>/dev/null || true
    wait "$sink" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
for _ in {1..100}; do
    if curl -sf "http://127.0.0.1:$port/" >/dev/null; then break; fi
    sleep 0.05
done
DISPATCH_CONCURRENCY=50 SINK_URL=http://127.0.0.1:$port/api LOG_LEVEL=warning \
    ../../../compose/local run --slack-base-url "http://127.0.0.1:$port/api" -- \
    python3 dispatch_bench.py "$@"
