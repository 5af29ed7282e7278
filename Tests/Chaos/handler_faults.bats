#!/usr/bin/env bats
# The message handler under faults, with processes of its own: what is accepted is answered once, or
# handed over. Needs a stack whose processes are on this machine (`compose/local run`).

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
    A="" B=""
    rm -f "$SWITCHBOARD_STACK/hold/redis" "$SWITCHBOARD_STACK/hold/postgres"
}

teardown() {
    local name
    rm -f "$SWITCHBOARD_STACK/hold/redis" "$SWITCHBOARD_STACK/hold/postgres"
    for name in "$BATS_TEST_TMPDIR"/*.pid; do
        [[ -e $name ]] || continue
        kill -CONT "$(<"$name")" 2>/dev/null || true
        kill -KILL "$(<"$name")" 2>/dev/null || true
    done
    eventually 30 postgres_answers
    eventually 30 redis_answers
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

@test "an answer is taken with and without what is optional, and as it was asked for" {
    instance A
    ends ok completed 1
    [[ $(field .result.text) == "You said: hello ok" && $(field .result.tokens) == 7 ]]
    ends minimal completed 1
    [[ $(field .result.text) == "You said: hello minimal" && $(field .result.tokens) == null ]]
    ends odd-text completed 1
    [[ $(field .result.text) == 'ab &lt;!channel> &lt;@U1> 1 < 2 & 3[0m' ]]
    ends marker completed 1
    [[ $(field .result.text) == "Wait." && $(field .result.handover) == true ]]
    at "$A" GET "/v1/conversations/$CONVERSATION"
    [[ $(field .owner_kind) != bot ]]
    run python3 "$BATS_TEST_DIRNAME/../Interop/openai_standin.py" "http://127.0.0.1:$AI_PORT"
    [[ $status == 0 ]]
}

@test "what may pass is tried again, no sooner than asked" {
    instance A
    local fault
    for fault in rate-once rate-ms-once rate-date-once conflict-once; do ends "$fault" completed 2; done
    ends server-twice completed 3
    bot_of "$A" rate-once
    open_at "$A" "$BOT"
    says "$A" "hello"
    eventually 10 job_is "$A" "$JOB" completed
    # Retry-After: 1, and the burst's end before the first try.
    [[ $(sql "select finished_at - created_at >= interval '1 s' from messaging.ai_jobs where id = '$JOB'") == t ]]
}

@test "what cannot pass is not tried again, and people are asked" {
    instance A
    local fault
    for fault in quota no-retry rate-long bad-request bad-key forbidden no-model redirect; do
        ends "$fault" failed 1
        was_asked 1
    done
    at "$A" GET "/v1/conversations/$CONVERSATION"
    [[ $(field .owner_kind) != bot ]]
    [[ $(said) == "0 0" ]]
}

@test "answers that are none are failures: garbage, HTML, nothing, too much, too slow, cut" {
    instance A
    local fault
    for fault in html garbage nested wrong-types no-choices no-content reset cut; do
        ends "$fault" failed 3
        was_asked 3
    done
    ends huge failed 3
    [[ $(field .error) != *aaaa* ]]
    # A hundred megabytes three times, and the process has not kept them.
    (($(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(pid_of A)/status") < 200000))
    ends hang failed 3 1
    ends drip failed 3 1
}

@test "no key is sent where none is wanted, and a core AI without its key is not asked" {
    instance A
    bot_without "$A" '{"auth_token": "sk-test"}'
    open_at "$A" "$BOT"
    says "$A" hello
    eventually 10 job_is "$A" "$JOB" completed
    was_asked 1
    bot_without "$A" '{"auth_required": true}'
    open_at "$A" "$BOT"
    says "$A" "and now?"
    eventually 10 job_is "$A" "$JOB" failed
    [[ $(field .error) == "the core AI has no token" && $(field .attempts) == 1 ]]
    was_asked 0
}

@test "the same question is asked once, and remembered for a day" {
    instance A
    bot_of "$A" ok 20 '{}'
    for _ in 1 2; do
        open_at "$A" "$BOT"
        says "$A" "what are your hours?"
        eventually 10 job_is "$A" "$JOB" completed
    done
    [[ $(field .result.remembered) == true && $(field .result.text) == "You said: what are your hours?" ]]
    was_asked 1
    local key
    key=$(redis --scan --pattern "ai:analysis:{$SWITCHBOARD_TENANT}:*" | head -n 1)
    (($(redis TTL "$key") > 86000 && $(redis TTL "$key") <= 86400))
}

@test "a job is cancelled from another process, and its call is aborted" {
    instance A
    instance B
    bot_of "$A" hang
    open_at "$A" "$BOT"
    says "$A" hello
    eventually 10 was_asked 1
    # By turns: whichever process works on it, the other one cancels.
    at "$B" POST "/v1/ai-jobs/$JOB/cancel"
    [[ $STATUS == 200 ]]
    eventually 5 ended_as aborted
    job_is "$A" "$JOB" cancelled
    open_at "$A" "$BOT"
    says "$A" hello
    eventually 10 was_asked 2
    says "$B" stop
    eventually 5 ended_as aborted
    [[ $(said) == "0 0" ]]
}

@test "a newer message aborts the call in flight; the next job answers both" {
    instance A
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" one
    local first=$JOB
    eventually 10 was_asked 1
    says "$A" two
    [[ $(field .bot.status) == locked ]]
    eventually 1 first_ended_as aborted
    job_is "$A" "$first" superseded
    eventually 15 has_said "1 0"
    was_asked 2
    [[ $(asked 'last | .end') == answered ]]
    [[ $(sql "select consolidated_messages from messaging.ai_jobs
        where conversation_id = '$CONVERSATION' and status = 'completed'") == 2 ]]
}

@test "a newer message at another process aborts the call in flight as well" {
    instance A
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" one
    eventually 10 was_asked 1
    instance B
    says "$B" two
    # By A's next sign of life.
    eventually 2 first_ended_as aborted
    eventually 15 has_said "1 0"
}

@test "a lock lasts as long as its job lives, however short its time, and not much longer" {
    # It would end after a second; the job takes two.
    instance A CONVERSATION_LOCK_MS=1000 AI_JOB_HEARTBEAT_MS=300
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" one
    eventually 10 was_asked 1
    local since=$EPOCHREALTIME
    while ! has_passed "$since" 1600; do
        [[ $(redis PTTL "$(lock_key)") -gt 0 ]]
    done
    eventually 5 has_said "1 0"
    eventually 2 lock_is_gone
    # A worker that dies leaves it for as long as it had left; then the job is another's.
    bot_of "$A" hang
    open_at "$A" "$BOT"
    says "$A" one
    eventually 10 was_asked 1
    kill -KILL "$(pid_of A)"
    eventually 2 lock_is_gone
    instance B
    eventually 5 nobody_sleeps
}
# No job runs whose worker has been silent for longer than its lease and a sweep.
nobody_sleeps() {
    [[ $(sql "select count(*) from messaging.ai_jobs where status = 'processing'
        and lease_until < now() - interval '1 s'") == 0 ]]
}

# dies_at POINT ANSWERS_ASKED: the only worker is killed there; another one finishes its job.
dies_at() {
    instance A "SWITCHBOARD_FAULT=$1:1:die"
    bot_of "$A" ok
    open_at "$A" "$BOT"
    says "$A" hello
    eventually 10 is_dead "$(pid_of A)"
    instance B
    eventually 15 job_is "$B" "$JOB" completed
    has_said "1 0"
    was_asked "$2"
}

@test "a worker killed before it asked: another one finishes its job" { dies_at bot.asking 1; }
@test "a worker killed after the provider answered: another one finishes its job" { dies_at bot.answered 2; }
@test "a worker killed after it posted: nothing is posted twice" { dies_at bot.posted 1; }
@test "a worker killed after its claim: another one finishes its job" { dies_at bot.claimed 1; }

@test "a worker that stops hands its job back, and the attempt does not count" {
    instance A
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" hello
    eventually 10 was_asked 1
    kill -TERM "$(pid_of A)"
    instance B
    eventually 15 job_is "$B" "$JOB" completed
    [[ $(field .attempts) == 1 ]]
    has_said "1 0"
    was_asked 2
}

@test "a holder that stands still for longer than its lock's time says nothing afterwards" {
    instance A SWITCHBOARD_FAULT=bot.answered:1:hang
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" "hello $RANDOM$RANDOM"
    eventually 10 is_stopped "$(pid_of A)"
    # 1.5 times the time of the lock; then it is gone, and so is the lease.
    local stopped=$EPOCHREALTIME
    eventually 8 has_passed "$stopped" 4500
    lock_is_gone
    instance B
    eventually 10 was_asked 2
    # B works on it now. A goes on with its answer, which must change nothing: neither the
    # conversation nor the lock that is B's.
    kill -CONT "$(pid_of A)"
    eventually 10 curl -sf "$A/readyz"
    eventually 5 tried_late
    # (On a slow machine B may have ended by now.)
    [[ $(said) == "1 0" || $(said) == "0 0" && $(redis EXISTS "$(lock_key)") == 1 ]]
    eventually 15 job_is "$B" "$JOB" completed
    has_said "1 0"
}
# has_passed SINCE MILLISECONDS
has_passed() { ((${EPOCHREALTIME/./} - ${1/./} >= $2 * 1000)); }
lock_is_gone() { [[ $(redis EXISTS "$(lock_key)") == 0 ]]; }
# A has looked after its own sign of life again.
tried_late() {
    [[ $(sql "select count(*) from messaging.ai_workers where heartbeat_at > now() - interval '1 s'") -ge 2 ]]
}

@test "two processes without Redis share one lock: the database's lease" {
    instance A
    instance B
    bot_of "$A" slow
    open_at "$A" "$BOT"
    touch "$SWITCHBOARD_STACK/hold/redis"
    kill -KILL "$(<"$SWITCHBOARD_STACK/pids/redis")"
    handles "$A" hello
    [[ $STATUS == 200 && $(field .status) == ai_processing_started ]]
    local job
    job=$(field .ai_job_id)
    handles "$B" again
    [[ $STATUS == 200 && $(field .status) == locked && $(field .buffered) == true ]]
    at "$B" GET "/v1/conversations/$CONVERSATION/lock"
    [[ $(field .locked) == true && $(field .ai_job_id) == "$job" && $(field .ttl_ms) == null ]]
    at "$B" GET /v1/handler/status
    [[ $(field .status) == degraded && $(field .components.redis_connected) == false ]]
    eventually 15 job_is "$A" "$job" completed
}

@test "Redis killed while a job runs: it is answered once, and nobody sees a 5xx" {
    instance A
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" one
    local job=$JOB
    eventually 10 was_asked 1
    touch "$SWITCHBOARD_STACK/hold/redis"
    kill -KILL "$(<"$SWITCHBOARD_STACK/pids/redis")"
    eventually 10 job_is "$A" "$job" completed
    has_said "1 0"
    says "$A" two
    eventually 15 has_said "2 0"
    rm -f "$SWITCHBOARD_STACK/hold/redis"
    eventually 20 redis_answers
    eventually 10 is_healthy "$A"
    says "$A" three
    eventually 15 has_said "3 0"
}

is_healthy() {
    at "$1" GET /v1/handler/status
    [[ $(field .status) == healthy ]]
}

@test "Postgres restarted while a job runs: it is answered once" {
    instance A
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" one
    eventually 10 was_asked 1
    # QUIT is PostgreSQL's immediate shutdown: as a crash.
    kill -QUIT "$(<"$SWITCHBOARD_STACK/pids/postgres")"
    eventually 30 postgres_answers
    eventually 20 has_said "1 0"
    eventually 10 job_is "$A" "$JOB" completed
    eventually 10 says "$A" two
    eventually 20 has_said "2 0"
}

@test "handle goes on while Postgres is away, says so, and its result is read at the job" {
    instance A
    bot_of "$A" slow
    open_at "$A" "$BOT"
    local STRICT_KEY
    STRICT_KEY=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "strict-$RANDOM$RANDOM" --role admin \
        2>/dev/null | tail -n 1)
    ask_at "$A" "$STRICT_KEY" PUT /v1/tenant/bot-policy '{"allow_default_bot": false}'
    ask_at "$A" "$STRICT_KEY" GET /v1/tenant/bot-policy
    [[ $(field .allow_default_bot) == false ]]
    handles "$A" "before"
    eventually 15 job_is "$A" "$(field .ai_job_id)" completed
    touch "$SWITCHBOARD_STACK/hold/postgres"
    kill -QUIT "$(<"$SWITCHBOARD_STACK/pids/postgres")"
    handles "$A" "while it is away"
    [[ $STATUS == 200 && $(field .status) == ai_processing_started ]]
    [[ $(field .bot_name) == Lin && $(field .config_source) == last_good ]]
    local job
    job=$(field .ai_job_id)
    [[ $job =~ ^[0-9a-f]{8}-[0-9a-f]{4}-4 ]]
    handles "$A" "and again"
    [[ $STATUS == 200 && $(field .status) == locked && $(field .buffered) == true && $(field .pending_count) == 1 ]]
    at "$A" GET "/v1/conversations/$CONVERSATION/lock"
    [[ $STATUS == 200 && $(field .locked) == true && $(field .ai_job_id) == "$job" ]]
    # What must be stored is refused, and may come again.
    at "$A" POST "/v1/conversations/$CONVERSATION/messages" '{"sender": {"kind": "contact", "id": "c"}, "text": "x"}'
    [[ $STATUS == 503 && $(field .retryable) == true ]]
    eventually 15 job_is "$A" "$job" completed
    [[ $(field .result.text) == "You said: while it is away" ]]
    # Nothing is known of a conversation that was not asked for before: the built-in bot answers.
    at "$A" POST "/v1/conversations/$(new_uuid)/handle" '{"history": "<USER>hi</USER><br>"}'
    [[ $STATUS == 200 && $(field .config_source) == default && $(field .bot_name) == "Healthcare Assistant" ]]
    # A tenant that forbids the built-in bot gets none; what is known of its bots goes on.
    ask_at "$A" "$STRICT_KEY" POST "/v1/conversations/$(new_uuid)/handle" '{"history": "<USER>hi</USER><br>"}'
    [[ $STATUS == 503 ]]
    rm -f "$SWITCHBOARD_STACK/hold/postgres"
    eventually 30 postgres_answers
    eventually 10 job_is "$A" "$job" completed
    [[ $(said) == "0 0" ]]
    eventually 15 uses_database "$A"
}
uses_database() {
    handles "$1" "it is back"
    [[ $STATUS == 200 && $(field .config_source) == null ]]
}

@test "one process alone needs neither Redis nor, for handle, Postgres" {
    instance A SINGLE_INSTANCE=1 REDIS_MODE=disabled
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" hello
    eventually 15 has_said "1 0"
    touch "$SWITCHBOARD_STACK/hold/postgres"
    kill -QUIT "$(<"$SWITCHBOARD_STACK/pids/postgres")"
    handles "$A" "while it is away"
    [[ $STATUS == 200 && $(field .status) == ai_processing_started ]]
    local job
    job=$(field .ai_job_id)
    handles "$A" "again"
    [[ $(field .status) == locked ]]
    eventually 15 job_is "$A" "$job" completed
}
