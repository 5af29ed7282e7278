#!/usr/bin/env bats
# Where the message handler reaches a limit: a contact who never stops, a Redis that is slow, a tenant
# whose bots nobody knows, a process that outlives its own lease. Needs a stack whose processes are on
# this machine (`compose/local run`).

# shellcheck source=handler_support.bash
source "$BATS_TEST_DIRNAME/handler_support.bash"

ends_are() { [[ $(asked 'map(.end) | join(" ")') == "$1" ]]; }
# The calls so far, beside one that may be under way.
ends_begin() { [[ $(asked 'map(.end) | join(" ")') == "$1"* ]]; }

@test "two calls in a row are aborted for newer messages; the third answer is shown as stale" {
    instance A
    bot_of "$A" slow
    open_at "$A" "$BOT"
    says "$A" one
    eventually 10 was_asked 1
    says "$A" two
    eventually 5 ends_begin aborted
    eventually 10 was_asked 2
    says "$A" three
    eventually 10 ends_begin "aborted aborted"
    eventually 10 was_asked 3
    # Nobody may abort this one, however many come.
    says "$A" four
    says "$A" five
    [[ $(field .bot.status) == locked && $(field .bot.pending_count) == 2 ]]
    eventually 10 has_said "1 1"
    ends_begin "aborted aborted answered"
    # The rest is answered by the next one, which is not stale; and the count begins anew.
    eventually 10 has_said "2 1"
    [[ $(sql "select string_agg(status || consolidated_messages, ' ' order by created_at)
        from messaging.ai_jobs where conversation_id = '$CONVERSATION'") == \
        "superseded1 superseded2 completed3 completed2" ]]
    says "$A" six
    eventually 10 was_asked 5
    says "$A" seven
    eventually 10 has_said "3 1"
    ends_are "aborted aborted answered answered aborted answered"
}

cached() { redis --scan --pattern "ai:analysis:{$SWITCHBOARD_TENANT}:*" | wc -l; }

@test "a slow cache does not delay the answer; its write is waited for at the end, and saves time" {
    local port before
    port=$(free_port)
    # shellcheck disable=SC2046 # two words
    python3 "$BATS_TEST_DIRNAME/slow_redis.py" "$port" $(redis_place) 2 3>&- &
    echo $! >"$BATS_TEST_TMPDIR/proxy.pid"
    eventually 5 redis_answers_at "$port"
    instance A REDIS_CACHE_URL="$(redis_url "$port")"
    bot_of "$A" slow 20 '{}'
    open_at "$A" "$BOT"
    before=$(cached)
    says "$A" "what are your hours?"
    eventually 10 job_is "$A" "$JOB" completed
    # The AI takes two seconds; a write that is waited for would take as long again.
    [[ $(sql "select finished_at - started_at < interval '3.5 s' from messaging.ai_jobs
        where id = '$JOB'") == t ]]
    [[ $(cached) == "$before" ]]
    kill -TERM "$(pid_of A)"
    eventually 15 is_dead "$(pid_of A)"
    [[ $(cached) == $((before + 1)) ]]
    # What was remembered is given at once, and how long it took at first is counted as saved.
    instance B
    open_at "$B" "$BOT"
    says "$B" "what are your hours?"
    eventually 10 job_is "$B" "$JOB" completed
    [[ $(field .result.remembered) == true ]]
    was_asked 1
    (($(metric ai_cache_saved_ms_sum) >= 1900 && $(metric ai_cache_saved_ms_count) == 1))
    (($(metric 'cache_requests_total{ns="ai_analysis",result="hit"}') == 1))
}
metric() { curl -sS "$B/metrics" | awk -v name="$1" '$1 == name { print int($2) }'; }
# The host and the port of the stack's Redis.
redis_place() { sed -E 's|^[a-z]+://([^@]*@)?([^:/]+):([0-9]+).*|\2 \3|' <<<"$REDIS_URL"; }
# redis_url PORT: the same Redis behind that port.
redis_url() { sed -E "s|^([a-z]+://([^@]*@)?)[^:/]+:[0-9]+|\1127.0.0.1:$1|" <<<"$REDIS_URL"; }
redis_answers_at() { [[ $(redis-cli -u "$(redis_url "$1")" --no-auth-warning PING) == PONG ]]; }

# A tenant that allows no built-in bot: sets STRICT_KEY and CONVERSATION.
open_strict() {
    local tenant=strict-$RANDOM$RANDOM
    STRICT_KEY=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$tenant" --role admin \
        2>/dev/null | tail -n 1)
    ask_at "$A" "$SERVICE_TOKEN" POST /v1/internal/channels \
        "{\"code\": \"$CHANNEL\", \"kind\": \"local\", \"version\": 1}" -H "Switchboard-Tenant: $tenant"
    strict PUT /v1/tenant/bot-policy '{"allow_default_bot": false}'
    strict POST /v1/conversations \
        "{\"channel_code\": \"$CHANNEL\", \"contact\": {\"external_id\": \"$(new_uuid)\"}}"
    CONVERSATION=$(field .id)
}
strict() { ask_at "$A" "$STRICT_KEY" "$@"; }
takes_postgres_away() {
    touch "$SWITCHBOARD_STACK/hold/postgres"
    kill -QUIT "$(<"$SWITCHBOARD_STACK/pids/postgres")"
}
handovers_asked() {
    sql "select count(*) from platform.outbox where kind = 'call'
        and target = 'assignment-engine' and key = '$CONVERSATION'"
}
was_handed_over() { [[ $(handovers_asked) == 1 ]]; }

@test "where no bot may answer while Postgres is away, people get the conversation when it is back" {
    instance A
    open_strict
    takes_postgres_away
    strict POST "/v1/conversations/$CONVERSATION/handle" '{"history": "<USER>my chest hurts</USER><br>"}'
    [[ $STATUS == 200 && $(jq -c . <<<"$BODY") == \
        '{"success":true,"status":"human","action":"handover_requested"}' ]]
    # A second wish, and one for a conversation that is none.
    strict POST "/v1/conversations/$CONVERSATION/handle" '{"history": "<USER>hello?</USER><br>"}'
    strict POST "/v1/conversations/$(new_uuid)/handle" '{"history": "<USER>hello?</USER><br>"}'
    [[ $(field .action) == handover_requested && $(redis HLEN handover:wanted) == 2 ]]
    # Nothing that was said is kept there.
    [[ $(redis HVALS handover:wanted) != *hurts* ]]
    # Who took it dies before it is fulfilled: any other one does that.
    kill -KILL "$(pid_of A)"
    rm -f "$SWITCHBOARD_STACK/hold/postgres"
    eventually 30 postgres_answers
    instance B
    eventually 20 was_handed_over
    eventually 5 nothing_is_wanted
    [[ $(sql "select owner_kind <> 'bot' from messaging.conversations where id = '$CONVERSATION'") == t ]]
    [[ $(sql "select count(*) from platform.audit where subject = '$CONVERSATION'
        and action = 'conversation.handover'") == 1 ]]
    [[ $(handovers_asked) == 1 ]]
}
nothing_is_wanted() { [[ $(redis EXISTS handover:wanted) == 0 ]]; }

@test "a handover that Redis forgot is fulfilled by who took it; without Redis it is refused" {
    instance A
    open_strict
    takes_postgres_away
    strict POST "/v1/conversations/$CONVERSATION/handle" '{"history": "<USER>hello</USER><br>"}'
    [[ $(field .action) == handover_requested ]]
    redis DEL handover:wanted
    touch "$SWITCHBOARD_STACK/hold/redis"
    kill -KILL "$(<"$SWITCHBOARD_STACK/pids/redis")"
    strict POST "/v1/conversations/$(new_uuid)/handle" '{"history": "<USER>hello</USER><br>"}'
    [[ $STATUS == 503 && $(field .retryable) == true ]]
    rm -f "$SWITCHBOARD_STACK/hold/redis" "$SWITCHBOARD_STACK/hold/postgres"
    eventually 30 postgres_answers
    eventually 20 was_handed_over
}

@test "a process that stood still takes its own job again, keeps it, and answers once" {
    instance A SWITCHBOARD_FAULT=bot.answered:1:hang AI_JOB_LEASE_MS=3000
    bot_of "$A" slower
    open_at "$A" "$BOT"
    says "$A" "hello"
    eventually 20 is_stopped "$(pid_of A)"
    local stopped=$EPOCHREALTIME
    eventually 10 has_passed "$stopped" 4500
    # As any other process would find it: its time is over, and it waits for who takes it.
    sql "select messaging.sweep_ai(100, 3, interval '0', interval '1 hour')"
    kill -CONT "$(pid_of A)"
    # Its first answer is nobody's any more; the second call takes longer than a lease.
    eventually 25 job_is "$A" "$JOB" completed
    [[ $(field .attempts) == 2 ]]
    has_said "1 0"
    was_asked 2
}

@test "jobs that take longer than their lease stay with the process that works on them" {
    instance A
    instance B
    bot_of "$A" slow
    local jobs=() job
    for job in 1 2 3 4 5 6; do
        open_at "$A" "$BOT"
        says "$A" "hello $job"
        jobs+=("$JOB")
    done
    for job in "${jobs[@]}"; do
        eventually 15 job_is "$A" "$job" completed
        [[ $(field .attempts) == 1 ]]
    done
    was_asked 6
}

@test "a tenant whose AI hangs does not hold up the bots of another" {
    instance A
    bot_of "$A" hang 60
    for _ in {1..40}; do
        open_at "$A" "$BOT"
        says "$A" "hello"
    done
    # As many as one tenant may have at once; the others wait behind them.
    eventually 15 was_asked 32
    open_strict
    strict PUT /v1/tenant/bot-policy '{"allow_default_bot": true}'
    strict POST "/v1/conversations/$CONVERSATION/messages" \
        '{"sender": {"kind": "contact", "id": "c"}, "text": "hello"}'
    [[ $(field .bot.status) == ai_processing_started ]]
    eventually 5 has_said "1 0"
    was_asked 32
    # Who waits is asked for as soon as there is room again.
    sql "select messaging.stop_ai_job(tenant_id, id, null, 'cancelled', 'test', '', '')
        from messaging.ai_jobs where status = 'processing' and tenant = '$SWITCHBOARD_TENANT'"
    eventually 10 was_asked 40
}
