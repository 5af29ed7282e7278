#!/usr/bin/env bats
# The message handler under faults, with processes of its own: what is accepted is answered once, or
# handed over. Needs a stack whose processes are on this machine (`compose/local run`).

# shellcheck source=handler_support.bash
source "$BATS_TEST_DIRNAME/handler_support.bash"

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
    for fault in html garbage nested wrong-types no-choices no-content blank reset cut; do
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

@test "an AI inside of the network is not asked, unless its host is allowed" {
    instance A OUTBOUND_ALLOW_HOSTS=
    ends ok failed 1
    was_asked 0
    [[ $(field .error) == "127.0.0.1: http is not allowed" ]]
    at "$A" GET "/v1/conversations/$CONVERSATION"
    [[ $(field .owner_kind) != bot ]]
    local host
    for host in 127.0.0.1 169.254.169.254 '[::1]' localhost; do
        bot_without "$A" "{\"api_endpoint\": \"https://$host/v1\"}"
        open_at "$A" "$BOT"
        says "$A" "hello"
        eventually 10 job_is "$A" "$JOB" failed
        [[ $(field .attempts) == 1 && $(field .error) == *" a public address" ]]
    done
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
    bot_of "$A" slower
    open_at "$A" "$BOT"
    says "$A" one
    eventually 10 was_asked 1
    instance B
    says "$B" two
    # By A's next sign of life.
    eventually 2 first_ended_as aborted
    eventually 20 has_said "1 0"
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

@test "a job that kills whoever works on it expires after three workers, and people are asked" {
    local victim X
    for victim in X Y Z; do
        instance "$victim" SWITCHBOARD_FAULT=bot.answered:1:die CONVERSATION_LOCK_MS=60000
        if [[ $victim == X ]]; then
            bot_of "$X" ok
            open_at "$X" "$BOT"
            says "$X" "hello"
        fi
        eventually 15 is_dead "$(pid_of "$victim")"
    done
    instance B CONVERSATION_LOCK_MS=60000
    eventually 15 job_is "$B" "$JOB" expired
    [[ $(field .attempts) == 3 && $(field .error) == "the worker gave no sign of life" ]]
    was_asked 3
    has_said "0 0"
    # At once, not when its time is over.
    eventually 3 lock_is_gone
    [[ $(redis HGET "job:ai:{$SWITCHBOARD_TENANT}:$JOB" status) == '"expired"' ]]
    at "$B" GET "/v1/conversations/$CONVERSATION"
    [[ $(field .owner_kind) != bot ]]
}

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
    local job=$JOB statuses=$BATS_TEST_TMPDIR/statuses
    eventually 10 was_asked 1
    asks_on "$BOT" "$statuses" 3>&- &
    local traffic=$!
    eventually 10 grep -q cancel "$statuses"
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
    touch "$statuses.stop"
    wait "$traffic"
    (($(grep -c handle "$statuses") >= 20))
    run grep -vE '^[a-z]+ (200|201)$' "$statuses"
    [[ -z $output ]]
}
# asks_on BOT FILE: everything that the handler answers, again and again, each with its status.
asks_on() {
    local CONVERSATION STATUS BODY JOB
    until [[ -e $2.stop ]]; do
        open_at "$A" "$1"
        handles "$A" "hello"
        printf 'handle %s\n' "$STATUS" >>"$2"
        JOB=$(field .ai_job_id)
        at "$A" GET "/v1/conversations/$CONVERSATION/lock"
        printf 'lock %s\n' "$STATUS" >>"$2"
        at "$A" GET "/v1/ai-jobs/$JOB"
        printf 'job %s\n' "$STATUS" >>"$2"
        at "$A" GET /v1/admin/locks
        printf 'locks %s\n' "$STATUS" >>"$2"
        at "$A" POST "/v1/ai-jobs/$JOB/cancel"
        printf 'cancel %s\n' "$STATUS" >>"$2"
    done
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
    bot_of "$A" slower
    open_at "$A" "$BOT"
    local STRICT_KEY
    STRICT_KEY=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "strict-$RANDOM$RANDOM" --role admin \
        2>/dev/null | tail -n 1)
    ask_at "$A" "$STRICT_KEY" PUT /v1/tenant/bot-policy '{"allow_default_bot": false}'
    ask_at "$A" "$STRICT_KEY" GET /v1/tenant/bot-policy
    [[ $(field .allow_default_bot) == false ]]
    handles "$A" "before"
    eventually 25 job_is "$A" "$(field .ai_job_id)" completed
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
    at "$A" GET /v1/handler/status
    [[ $STATUS == 200 && $(field .status) == unhealthy ]]
    [[ $(field '.components | .database_connected == false and .redis_connected') == true ]]
    # What must be stored is refused, and may come again.
    at "$A" POST "/v1/conversations/$CONVERSATION/messages" '{"sender": {"kind": "contact", "id": "c"}, "text": "x"}'
    [[ $STATUS == 503 && $(field .retryable) == true ]]
    eventually 25 job_is "$A" "$job" completed
    [[ $(field .result.text) == "You said: while it is away" ]]
    # Nothing is known of a conversation that was not asked for before: the built-in bot answers.
    at "$A" POST "/v1/conversations/$(new_uuid)/handle" '{"history": "<USER>hi</USER><br>"}'
    [[ $STATUS == 200 && $(field .config_source) == default && $(field .bot_name) == "Healthcare Assistant" ]]
    # The log says why, once, and each is counted.
    [[ $(grep -c "configurations cannot be read" "$BATS_TEST_TMPDIR/A.log") == 1 ]]
    (($(stood_in default) == 1))
    # A tenant that forbids the built-in bot gets none, and people later.
    ask_at "$A" "$STRICT_KEY" POST "/v1/conversations/$(new_uuid)/handle" '{"history": "<USER>hi</USER><br>"}'
    [[ $STATUS == 200 && $(field .status) == human && $(field .action) == handover_requested ]]
    (($(stood_in people) == 1))
    rm -f "$SWITCHBOARD_STACK/hold/postgres"
    eventually 30 postgres_answers
    eventually 10 job_is "$A" "$job" completed
    [[ $(said) == "0 0" ]]
    eventually 15 uses_database "$A"
}
stood_in() { curl -sS "$A/metrics" | awk -v name="bot_configuration_stand_ins_total{source=\"$1\"}" '$1 == name { print $2 }'; }
uses_database() {
    handles "$1" "it is back"
    [[ $STATUS == 200 && $(field .config_source) == null ]]
}

@test "a process that dies while Postgres is away frees its conversation with its job's lease" {
    instance A CONVERSATION_LOCK_MS=60000
    instance B CONVERSATION_LOCK_MS=60000
    bot_of "$A" slower
    open_at "$A" "$BOT"
    # Both know the caller and the bot from here on.
    local name
    for name in "$A" "$B"; do
        handles "$name" "before"
        at "$name" POST "/v1/ai-jobs/$(field .ai_job_id)/cancel"
        [[ $STATUS == 200 ]]
    done
    touch "$SWITCHBOARD_STACK/hold/postgres"
    kill -QUIT "$(<"$SWITCHBOARD_STACK/pids/postgres")"
    handles "$A" "while it is away"
    [[ $STATUS == 200 && $(field .status) == ai_processing_started ]]
    local job
    job=$(field .ai_job_id)
    kill -KILL "$(pid_of A)"
    handles "$B" "and again"
    [[ $(field .status) == locked && $(field .buffered) == false ]]
    eventually 8 begins_at "$B"
    [[ $(field .ai_job_id) != "$job" ]]
    job_is "$B" "$job" expired
}
begins_at() {
    handles "$1" "and again"
    [[ $(field .status) == ai_processing_started ]]
}

@test "one process alone needs neither Redis nor, for handle, Postgres" {
    instance A SINGLE_INSTANCE=1 REDIS_MODE=disabled
    bot_of "$A" slower
    open_at "$A" "$BOT"
    says "$A" hello
    eventually 25 has_said "1 0"
    # Its bot is known from here on: one that thinks for two seconds.
    handles "$A" "before"
    eventually 25 job_is "$A" "$(field .ai_job_id)" completed
    touch "$SWITCHBOARD_STACK/hold/postgres"
    kill -QUIT "$(<"$SWITCHBOARD_STACK/pids/postgres")"
    handles "$A" "while it is away"
    [[ $STATUS == 200 && $(field .status) == ai_processing_started && $(field .bot_name) == Lin ]]
    local job
    job=$(field .ai_job_id)
    handles "$A" "again"
    [[ $(field .status) == locked ]]
    eventually 25 job_is "$A" "$job" completed
}
