# shellcheck shell=bash
# What the fault tests of the message handler share: processes of their own, an AI that fails on
# demand, and looks at what became of everything. Needs a stack whose processes are on this machine.

# Every span at a fraction of its default; the ratios are those of the defaults.
SETTINGS=(AI_JOB_LEASE_MS=1500 AI_JOB_HEARTBEAT_MS=400 AI_JOB_RETRY_MS=50 AI_JOB_SWEEP_MS=300
    AI_JOB_IDLE_MS=1000 CONVERSATION_LOCK_MS=3000 DEBOUNCE_MS=100 DEBOUNCE_MAX_MS=500)

setup_file() {
    CHANNEL=faults-$RANDOM$RANDOM
    export CHANNEL
    ask_at "$MESSAGING_URL" "$SERVICE_TOKEN" POST /v1/internal/channels \
        "{\"code\": \"$CHANNEL\", \"kind\": \"local\", \"version\": 1}" \
        -H "Switchboard-Tenant: $SWITCHBOARD_TENANT"
    # The stack's own process would take these tests' jobs.
    touch "$SWITCHBOARD_STACK/hold/messaging.1"
    kill -TERM "$(<"$SWITCHBOARD_STACK/pids/messaging.1")"
    AI_PORT=$(free_port)
    export AI_PORT
    python3 "$BATS_TEST_DIRNAME/../AIStandIn/ai_standin.py" "$AI_PORT" 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/standin"
    eventually 10 curl -sf "http://127.0.0.1:$AI_PORT/healthz"
}

teardown_file() {
    kill -TERM "$(<"$BATS_FILE_TMPDIR/standin")" || true
    rm -f "$SWITCHBOARD_STACK"/hold/*
    eventually 30 curl -sf "$MESSAGING_URL/readyz"
}

setup() {
    # shellcheck disable=SC2034 # read by the tests
    A="" B=""
    rm -f "$SWITCHBOARD_STACK/hold/redis" "$SWITCHBOARD_STACK/hold/postgres"
}

teardown() {
    local name
    keeps_quiet
    rm -f "$SWITCHBOARD_STACK/hold/redis" "$SWITCHBOARD_STACK/hold/postgres"
    for name in "$BATS_TEST_TMPDIR"/*.pid; do
        [[ -e $name ]] || continue
        kill -CONT "$(<"$name")" 2>/dev/null || true
        kill -KILL "$(<"$name")" 2>/dev/null || true
    done
    eventually 30 postgres_answers
    eventually 30 redis_answers
    # What is left would be the next test's work.
    sql "update messaging.ai_jobs set status = 'cancelled', finished_at = now(), lease_until = null
        where status in ('pending', 'processing')"
    sql "update messaging.conversations set answered_seq = last_user_seq, pending_input = null
        where awaits_bot"
}

# Whatever went wrong: neither what a contact wrote or was told, nor the token, is in a log.
keeps_quiet() {
    run grep -lE 'sk-test|hello|You said|what are your hours|my chest' "$BATS_TEST_TMPDIR"/*.log
    [[ -z $output ]] || { echo "said in the log: $output" && return 1; }
}

free_port() {
    local port
    while true; do
        port=$((10240 + RANDOM % 12000))
        # shellcheck disable=SC2016 # for the shell inside
        bash -c 'exec 9<>"/dev/tcp/127.0.0.1/$1"' bash "$port" 2>/dev/null || break
    done
    printf '%s' "$port"
}

# eventually SECONDS COMMAND…
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# instance NAME [SETTING=…]: starts a messaging process and sets NAME to its address.
instance() {
    local name=$1 port
    shift
    port=$(free_port)
    env "${SETTINGS[@]}" PORT="$port" HOST=127.0.0.1 OUTBOUND_ALLOW_HOSTS="127.0.0.1:$AI_PORT" "$@" \
        "$SWITCHBOARD_BIN/messaging" serve >>"$BATS_TEST_TMPDIR/$name.log" 2>&1 3>&- &
    echo $! >"$BATS_TEST_TMPDIR/$name.pid"
    printf -v "$name" '%s' "http://127.0.0.1:$port"
    eventually 20 curl -sf "http://127.0.0.1:$port/healthz"
}
pid_of() { cat "$BATS_TEST_TMPDIR/$1.pid"; }
is_dead() { [[ ! -e /proc/$1 || $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status") == Z ]]; }
is_stopped() { [[ $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status") == T ]]; }
postgres_answers() { psql --no-psqlrc -qAtX "$DATABASE_URL" -c "select 1"; }
redis_answers() { [[ $(redis-cli -u "$REDIS_URL" --no-auth-warning PING) == PONG ]]; }
redis() { redis-cli -u "$REDIS_URL" --no-auth-warning "$@"; }
sql() { psql --no-psqlrc -qAtX "$DATABASE_URL" -c "$1"; }
new_uuid() { cat /proc/sys/kernel/random/uuid; }

# Sets STATUS and BODY. Arguments: address, key, method, path, body, further curl options.
ask_at() {
    local url=$1 key=$2 method=$3 path=$4 body=${5:-} answer
    shift $(($# < 5 ? $# : 5))
    local options=(-sS --max-time 20 -w '\n%{http_code}' -X "$method" -H "Authorization: Bearer $key")
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' --data-binary "$body")
    answer=$(curl "${options[@]}" "$@" "$url$path")
    STATUS=${answer##*$'\n'}
    BODY=${answer%$'\n'*}
}
at() { ask_at "$1" "$SWITCHBOARD_ADMIN_KEY" "${@:2}"; }
field() { jq -r "$1" <<<"$BODY"; }

# bot_of URL FAULT [TIMEOUT_S] [CORE_META]: a bot whose AI is the stand-in with that fault; sets
# ENDPOINT and BOT.
bot_of() {
    local core
    core=$(new_uuid) BOT=$(new_uuid) ENDPOINT=/$2/$(new_uuid)/v1/chat/completions
    at "$1" PUT "/v1/core-ai/$core" "$(jq -nc --arg url "http://127.0.0.1:$AI_PORT$ENDPOINT" \
        --argjson timeout "${3:-20}" --argjson meta "${4:-{\"cache\": false\}}" \
        '{name: "AI", api_endpoint: $url, auth_required: true, auth_token: "sk-test",
          timeout_seconds: $timeout, meta_data: ({provider: "openai", model: "demo"} + $meta)}')"
    at "$1" PUT "/v1/bots/$BOT" "{\"name\": \"Lin\", \"core_ai_id\": \"$core\"}"
    [[ $STATUS == 201 ]]
}
# bot_without URL CORE_MEMBERS: likewise, of an AI that is open or has no token.
bot_without() {
    local core
    core=$(new_uuid) BOT=$(new_uuid) ENDPOINT=/open/$(new_uuid)/v1/chat/completions
    at "$1" PUT "/v1/core-ai/$core" "$(jq -nc --arg url "http://127.0.0.1:$AI_PORT$ENDPOINT" \
        --argjson more "$2" \
        '{name: "AI", api_endpoint: $url, meta_data: {provider: "openai", cache: false}} + $more')"
    at "$1" PUT "/v1/bots/$BOT" "{\"name\": \"Lin\", \"core_ai_id\": \"$core\"}"
    [[ $STATUS == 201 ]]
}
# open_at URL BOT: sets CONVERSATION.
open_at() {
    at "$1" POST /v1/conversations \
        "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"c-$(new_uuid)\"}, \"bot_id\": \"$2\"}"
    CONVERSATION=$(field .id)
}
# says URL TEXT: sets JOB.
says() {
    at "$1" POST "/v1/conversations/$CONVERSATION/messages" \
        "$(jq -nc --arg text "$2" '{sender: {kind: "contact", id: "c"}, text: $text}')"
    [[ $STATUS == 201 ]] || return 1
    JOB=$(field .bot.ai_job_id)
}
handles() {
    at "$1" POST "/v1/conversations/$CONVERSATION/handle" "{\"history\": \"<USER>$2</USER><br>\"}"
}
job_is() {
    at "$1" GET "/v1/ai-jobs/$2"
    [[ $STATUS == 200 && $(field .status) == "$3" ]]
}
has_ended() {
    at "$1" GET "/v1/ai-jobs/$2"
    [[ $(field .finished_at) != null ]]
}
# said: how many answers the conversation holds, and how many of them are stale.
said() {
    sql "select count(*) || ' ' || count(*) filter (where stale) from messaging.messages
        where conversation_id = '$CONVERSATION' and sender_kind = 'bot'"
}
has_said() { [[ $(said) == "$1" ]]; }
asked() {
    curl -s "http://127.0.0.1:$AI_PORT/_requests" |
        jq -r --arg path "$ENDPOINT" "[.requests[] | select(.path == \$path)] | $1"
}
was_asked() { [[ $(asked length) == "$1" ]]; }
ended_as() { [[ $(asked 'last | .end') == "$1" ]]; }
first_ended_as() { [[ $(asked 'first | .end') == "$1" ]]; }
lock_key() { printf 'lock:conversation:{%s}:%s' "$SWITCHBOARD_TENANT" "$CONVERSATION"; }

# ends FAULT STATUS ATTEMPTS [TIMEOUT_S]: what becomes of a job whose provider does that.
ends() {
    bot_of "$A" "$1" "${4:-20}"
    open_at "$A" "$BOT"
    says "$A" "hello $1"
    eventually 30 has_ended "$A" "$JOB" || { echo "$1 did not end" && return 1; }
    [[ $(field .status) == "$2" && $(field .attempts) == "$3" ]] ||
        { echo "$1: $(field .status) after $(field .attempts): $(field .error)" && return 1; }
}
# has_passed SINCE MILLISECONDS
has_passed() { ((${EPOCHREALTIME/./} - ${1/./} >= $2 * 1000)); }
lock_is_gone() { [[ $(redis EXISTS "$(lock_key)") == 0 ]]; }
