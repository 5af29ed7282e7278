#!/usr/bin/env bats
# A Redis that speaks TLS beside the stack's own: services of the test's reach it by rediss://.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153

load stack

# Prints a port from the thousand that begin at $1 on which nobody listens.
free_port() {
    local port
    while port=$(($1 + RANDOM % 1000)); do
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
    done
}

# authority NAME: a key and a certificate that signs others.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -keyout "$1.key" -out "$1.pem" -subj "/CN=$1" 2>/dev/null
}

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    authority known && authority stranger
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key \
        -out server.csr -subj /CN=redis -addext subjectAltName=DNS:localhost 2>/dev/null
    openssl x509 -req -in server.csr -CA known.pem -CAkey known.key -days 2 \
        -copy_extensions copy -out server.pem 2>/dev/null
    TLS_PORT=$(free_port 20000)
    redis-server --port 0 --tls-port "$TLS_PORT" --bind 127.0.0.1 --save "" --tls-auth-clients no \
        --tls-cert-file server.pem --tls-key-file server.key --tls-ca-cert-file known.pem \
        --requirepass secret >redis.log 2>&1 3>&- &
    echo $! >redis.pid
    export TLS_PORT
    export KNOWN=$BATS_FILE_TMPDIR/known.pem STRANGER=$BATS_FILE_TMPDIR/stranger.pem
    export TLS_URL=rediss://:secret@localhost:$TLS_PORT/3
    eventually 10 is_up
}

teardown_file() { kill "$(cat "$BATS_FILE_TMPDIR/redis.pid")" 2>/dev/null || true; }

teardown() {
    [[ -z ${PID:-} ]] || { kill "$PID" 2>/dev/null && wait "$PID"; } || true
}

secured() {
    redis-cli --tls --cacert "$KNOWN" -h localhost -p "$TLS_PORT" -a secret --no-auth-warning \
        -n 3 "$@"
}
is_up() { [[ $(secured PING 2>/dev/null) == PONG ]]; }

# serves SERVICE [NAME=VALUE…]: runs it beside the stack; its address is in URL.
serves() {
    local port
    port=$(free_port 18000)
    URL=http://127.0.0.1:$port
    env HOST=127.0.0.1 "PORT=$port" "REDIS_URL=$TLS_URL" "${@:2}" "$SWITCHBOARD_BIN/$1" serve \
        >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
    PID=$!
    eventually 20 curl -sf -o /dev/null --max-time 2 "$URL/healthz"
}
readiness() { curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$URL/readyz"; }
is_ready_now() { [[ $(readiness) == 200 ]]; }

@test "rediss://: a message is posted and answered, and its locks and limits are in that Redis" {
    serves messaging REDIS_MODE=required "REDIS_TLS_CA_FILE=$KNOWN"
    eventually 10 is_ready_now
    export MESSAGING_URL=$URL
    prepare_channel secured
    open_conversation secured
    says "over TLS"
    [[ $STATUS == 201 ]]
    messaging GET "/v1/conversations/$CONVERSATION/messages"
    [[ $STATUS == 200 && $BODY == *"over TLS"* ]]
    replies "answered over TLS"
    [[ $STATUS == 20? ]]
    eventually 30 is_delivered_once secured "answered over TLS"
    # Database 3, as the URL says.
    (($(secured DBSIZE) > 0))
    [[ $(secured INFO clients) == *connected_clients* ]]
    secured CLIENT LIST | grep -q ' db=3 '
    # Who loses its Redis goes on when it is back.
    secured CLIENT KILL TYPE normal SKIPME yes >/dev/null
    eventually 10 is_ready_now
    says "after a loss"
    [[ $STATUS == 201 ]]
}

@test "rediss://: dispatch-worker, which needs its Redis, is ready" {
    serves dispatch-worker "REDIS_TLS_CA_FILE=$KNOWN"
    eventually 10 is_ready_now
}

@test "a certificate of another authority is refused, and the log says so" {
    serves dispatch-worker "REDIS_TLS_CA_FILE=$STRANGER"
    eventually 10 grep -q 'the certificate of localhost is refused' "$BATS_TEST_TMPDIR/log"
    [[ $(readiness) == 503 ]]
    [[ $(grep -c ':secret' "$BATS_TEST_TMPDIR/log") == 0 ]]
}

@test "files that are missing or that nobody asked for stop the start, by their variable" {
    local service
    for service in messaging assignment-engine dispatch-worker; do
        run env "REDIS_URL=$TLS_URL" REDIS_TLS_CA_FILE=/no/authority.pem \
            timeout 20 "$SWITCHBOARD_BIN/$service" serve
        [[ $status -ne 0 && $status -ne 124 ]]
        [[ $output == *"REDIS_TLS_CA_FILE: the file '/no/authority.pem'"*"No such file"* ]]
    done
    run env "REDIS_URL=$TLS_URL" "REDIS_TLS_CERT_FILE=$KNOWN" \
        timeout 20 "$SWITCHBOARD_BIN/messaging" serve
    [[ $status -ne 0 && $output == *"REDIS_TLS_KEY_FILE: is missing"* ]]
    run env "REDIS_TLS_CA_FILE=$KNOWN" timeout 20 "$SWITCHBOARD_BIN/messaging" serve
    [[ $status -ne 0 && $output == *"REDIS_TLS_CA_FILE: is set, and no URL asks for TLS"* ]]
}
