# compose/local itself, around the executables of the run that this file is part of.
# bats file_tags=local

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
}

# Whether any of the processes with these numbers is still there.
any_alive() {
    local pid
    for pid in "$@"; do
        if kill -0 "$pid" 2>/dev/null; then return 0; fi
    done
    return 1
}

# eventually SECONDS COMMAND…
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

none_alive() { ! any_alive "$@"; }

# Starts a stack in the background; its pid is in SCRIPT, the processes of its servers in SERVERS.
start_in_background() {
    local told=$BATS_TEST_TMPDIR/told
    # shellcheck disable=SC2016 # for the shell inside
    compose/local run -- bash -c 'echo "$SWITCHBOARD_STACK" >"$1"; sleep 300' bash "$told" 3>&- &
    SCRIPT=$!
    eventually 60 test -s "$told"
    STACK=$(<"$told")
    mapfile -t SERVERS < <(cat "$STACK"/pids/*)
    [ "${#SERVERS[@]}" -ge 5 ]
}

@test "run ends with the command's exit status" {
    run compose/local run -- bash -c 'exit 7'
    [ "$status" -eq 7 ]
}

@test "run gives the command its own standard input and output" {
    result=$(echo "from outside" | compose/local run -- cat 2>/dev/null)
    [ "$result" = "from outside" ]
}

@test "run tells the command where everything is" {
    # shellcheck disable=SC2016 # for the shell inside
    run compose/local run -- bash -euc '
        : "$DATABASE_URL" "$REDIS_URL" "$SWITCHBOARD_ADMIN_KEY" "$SWITCHBOARD_TENANT"
        : "$SERVICE_TOKEN" "$SECRETS_KEY" "$SLACK_SIGNING_SECRET" "${SLACK_STANDIN_URL?}"
        for url in "$MESSAGING_URL" "$ASSIGNMENT_ENGINE_URL" "$DISPATCH_WORKER_URL"; do
            curl -fsS "$url/readyz" >/dev/null
        done
        curl -fsS -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" "$MESSAGING_URL/health"'
    [ "$status" -eq 0 ]
}

@test "a service that is killed comes back, and the script says so" {
    # shellcheck disable=SC2016 # for the shell inside
    run compose/local run -- bash -euc '
        before=$(<"$SWITCHBOARD_STACK/pids/messaging.1")
        kill -KILL "$before"
        for _ in {1..300}; do
            after=$(<"$SWITCHBOARD_STACK/pids/messaging.1")
            if [ "$after" != "$before" ] && curl -fsS "$MESSAGING_URL/readyz"; then exit 0; fi
            sleep 0.1
        done
        exit 1'
    [ "$status" -eq 0 ]
    [[ $output == *"messaging.1 was restarted 1 times"* ]]
}

@test "a server whose name is in hold/ stays down until it is taken away" {
    # shellcheck disable=SC2016 # for the shell inside
    run compose/local run -- bash -euc '
        touch "$SWITCHBOARD_STACK/hold/dispatch-worker.1"
        kill -KILL "$(<"$SWITCHBOARD_STACK/pids/dispatch-worker.1")"
        sleep 2
        ! curl -fsS "$DISPATCH_WORKER_URL/healthz" || exit 1
        rm "$SWITCHBOARD_STACK/hold/dispatch-worker.1"
        for _ in {1..300}; do
            if curl -fsS "$DISPATCH_WORKER_URL/healthz"; then exit 0; fi
            sleep 0.1
        done
        exit 1'
    [ "$status" -eq 0 ]
}

@test "a service that is told to stop ends in its time, whatever still runs" {
    # A request whose body never ends.
    # shellcheck disable=SC2016 # for the shell inside
    DRAIN_MS=2000 run compose/local run -- bash -euc '
        touch "$SWITCHBOARD_STACK/hold/messaging.1"
        pid=$(<"$SWITCHBOARD_STACK/pids/messaging.1")
        address=${MESSAGING_URL#http://}
        exec 7<>"/dev/tcp/${address%:*}/${address#*:}"
        printf "POST /v1/conversations HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{" >&7
        sleep 0.3
        kill -TERM "$pid"
        sleep 0.5
        kill -0 "$pid"
        for _ in {1..40}; do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done
        exit 1'
    [ "$status" -eq 0 ]
}

@test "a second signal ends a service at once, whatever still runs" {
    # shellcheck disable=SC2016 # for the shell inside
    DRAIN_MS=20000 run compose/local run -- bash -euc '
        touch "$SWITCHBOARD_STACK/hold/messaging.1"
        pid=$(<"$SWITCHBOARD_STACK/pids/messaging.1")
        address=${MESSAGING_URL#http://}
        exec 7<>"/dev/tcp/${address%:*}/${address#*:}"
        printf "POST /v1/conversations HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{" >&7
        sleep 0.3
        kill -TERM "$pid"
        sleep 1
        kill -0 "$pid"
        kill -TERM "$pid"
        for _ in {1..30}; do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done
        exit 1'
    [ "$status" -eq 0 ]
}

@test "H16: with several partitions of events each service reads all of them" {
    # shellcheck disable=SC2016 # for the shell inside
    EVENT_PARTITIONS=5 run compose/local run -- bash -euc '
        admin() { curl -fsS -X "$1" -H "Authorization: Bearer $SWITCHBOARD_ADMIN_KEY" \
            -H "Content-Type: application/json" "$DISPATCH_WORKER_URL$2" -d "$3"; }
        admin PUT /v1/workspaces/w "{\"provider\": \"local\"}"
        admin PUT /v1/channels/c "{\"workspace_code\": \"w\", \"provider_channel_id\": \"C\"}"
        id=$(admin POST /v1/message-requests "{\"channel_code\": \"c\", \"text\": \"x\"}" | jq -r .id)
        # Long before a sweep would find that nobody read of it.
        for _ in {1..50}; do
            status=$(curl -fsS -H "Authorization: Bearer $SWITCHBOARD_ADMIN_KEY" \
                "$DISPATCH_WORKER_URL/v1/message-requests/$id" | jq -r .status)
            [[ $status != sent ]] || break
            sleep 0.1
        done
        [[ $status == sent ]]
        length() { redis-cli -u "$REDIS_URL" --no-auth-warning XLEN "$1"; }
        sum=0
        for stream in switchboard:events switchboard:events:{1..4}; do sum=$((sum + $(length "$stream"))); done
        ((sum > 0 && $(length switchboard:events) < sum))
        for url in "$DISPATCH_WORKER_URL" "$ASSIGNMENT_ENGINE_URL"; do
            for _ in {1..50}; do
                lag=$(curl -fsS -H "Authorization: Bearer $SWITCHBOARD_ADMIN_KEY" "$url/health" |
                    jq ".stream.lag + (.stream.reports_lag // 0)")
                [[ $lag != 0 ]] || break
                sleep 0.1
            done
            [[ $lag == 0 ]]
        done'
    [ "$status" -eq 0 ]
}

@test "replicas share a port" {
    # shellcheck disable=SC2016 # for the shell inside
    run compose/local run --replicas 2 -- bash -euc '
        kill -KILL "$(<"$SWITCHBOARD_STACK/pids/messaging.1")"
        for _ in {1..10}; do curl -fsS "$MESSAGING_URL/healthz" && exit 0; done
        exit 1'
    [ "$status" -eq 0 ]
}

@test "TERM ends everything within seconds" {
    start_in_background
    kill -TERM "$SCRIPT"
    result=0
    wait "$SCRIPT" || result=$?
    [ "$result" -eq 143 ]
    none_alive "${SERVERS[@]}"
    [ ! -e "$STACK/postgres" ]
}

@test "even when the script is killed its servers end, and the next run removes its folder" {
    # In a folder of its own: any run beside this one would be the next one.
    TMPDIR=$(mktemp -d /tmp/killed.XXXXXX)
    chmod go+x "$TMPDIR"
    export TMPDIR
    start_in_background
    kill -KILL "$SCRIPT"
    wait "$SCRIPT" || true
    eventually 30 none_alive "${SERVERS[@]}"
    [[ -d $STACK && $STACK == "$TMPDIR"/* ]]
    compose/local stores -- true
    [ ! -e "$STACK" ]
    rm -rf "$TMPDIR"
}

@test "without Redis dispatch-worker says that it is not ready" {
    # shellcheck disable=SC2016 # for the shell inside
    run compose/local run --no-redis -- bash -euc '
        test -z "${REDIS_URL:-}"
        curl -sS -o /dev/null -w "%{http_code}" "$DISPATCH_WORKER_URL/readyz"'
    [ "$status" -eq 0 ]
    [[ $output == *503 ]]
}

@test "the demo holds" {
    run compose/local demo
    [ "$status" -eq 0 ]
    [[ $output == *"All 10 steps held"* ]]
}

@test "without Redis the demo ends at accepted and says so" {
    run compose/local demo --no-redis
    [ "$status" -eq 0 ]
    [[ $output == *'the story ends at "accepted"'* ]]
}

@test "the container's entrypoint passes the settings on whole; the environment wins" {
    printf '%s\n' 'SECRETS_KEY=abc=' 'SERVICE_TOKEN=a=b==' 'OTHER=x' >"$BATS_TEST_TMPDIR/environment"
    # shellcheck disable=SC2016 # for the shell inside
    run env -u SECRETS_KEY -u SERVICE_TOKEN SECRETS_FOLDER="$BATS_TEST_TMPDIR" OTHER=mine \
        sh compose/container/entrypoint sh -c 'echo "$SECRETS_KEY $SERVICE_TOKEN $OTHER"'
    [ "$output" = "abc= a=b== mine" ]
}

@test "a wrong call says what is wrong" {
    local call
    for call in "fly" "run" "up --long" "demo --replicas x" "run --slack-base-url ftp://a -- true"; do
        # shellcheck disable=SC2086 # several words
        run compose/local $call
        [ "$status" -eq 64 ]
        [[ $output == "compose/local: "* ]]
    done
}
