#!/usr/bin/env bats
# The lists that are kept. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"

setup_file() { make_channel; }
setup() {
    open_conversation
    THREADS=/v1/conversations/$CONVERSATION/threads
    MESSAGES=/v1/conversations/$CONVERSATION/messages
}

# An agent writes: no bot answers.
writes() {
    says "$1" '{"sender": {"kind": "agent", "id": "anna"}}'
    MESSAGE=$(field .message.id) THREAD=$(field .assignment.thread_id)
}
titles() {
    agent GET "$THREADS${1:-}"
    field '[.items[].title] | sort | join("|")'
}
texts() {
    agent GET "$MESSAGES${1:-}"
    field '[.items[].text] | join("|")'
}
sql() { psql "$DATABASE_URL" -XAtqc "$1"; }
redis() { redis-cli -u "$REDIS_URL" "$@"; }
# ttl NAMESPACE: seconds that the kept list has.
ttl() {
    redis --scan --pattern "qc:{$SWITCHBOARD_TENANT}:$1:$CONVERSATION:*" | head -n 1 |
        xargs -r redis-cli -u "$REDIS_URL" ttl
}

@test "a list of threads is read once; its variants are kept apart; each has about 300 s" {
    writes "one topic"
    titles && titles "?limit=5" && titles "?include_archived=true"
    # Behind the service's back: what is kept is what was read.
    sql "update messaging.threads set title = 'changed' where id = '$THREAD'"
    [[ $(titles) == "one topic" && $(titles "?limit=5") == "one topic" ]]
    [[ $(titles "?include_archived=true") == "one topic" ]]
    [[ $(titles "?limit=6") == changed ]]
    local seconds
    seconds=$(ttl threads:room)
    ((seconds >= 265 && seconds <= 330))
}

@test "a thread made, renamed, archived, taken back, filled or merged is seen at once" {
    writes "one topic"
    local first=$THREAD
    [[ $(titles) == "one topic" && $(titles "?include_archived=true") == "one topic" ]]
    agent POST "$THREADS" '{"title": "made by hand"}'
    local made
    made=$(field .id)
    [[ $(titles) == "made by hand|one topic" ]]
    agent PATCH "/v1/threads/$made" '{"title": "renamed"}'
    [[ $(titles) == "one topic|renamed" && $(titles "?include_archived=true") == "one topic|renamed" ]]
    agent POST "/v1/threads/$made/archive"
    [[ $(titles) == "one topic" && $(titles "?include_archived=true") == "one topic|renamed" ]]
    agent POST "/v1/threads/$made/unarchive"
    [[ $(titles) == "one topic|renamed" ]]
    [[ $(texts "?thread_id=$made") == "" ]]
    agent POST "/v1/threads/$made/move" "{\"message_ids\": [\"$MESSAGE\"]}"
    [[ $(texts "?thread_id=$made") == "one topic" && $(texts "?thread_id=$first") == "" ]]
    agent POST "/v1/threads/$first/merge" "{\"into\": \"$made\"}"
    [[ $(titles) == renamed ]]
}

@test "a list of messages is read once and has about 150 s; writing, editing, deleting is seen at once" {
    writes "first words"
    [[ $(texts) == "first words" ]]
    sql "update messaging.messages set text = 'changed' where id = '$MESSAGE'"
    [[ $(texts) == "first words" ]]
    local seconds
    seconds=$(ttl messages:room)
    ((seconds >= 130 && seconds <= 165))
    local first=$MESSAGE
    writes "second words"
    [[ $(texts) == "second words|changed" ]]
    agent PATCH "/v1/messages/$first" '{"text": "edited"}'
    [[ $(texts) == "second words|edited" ]]
    agent DELETE "/v1/messages/$MESSAGE"
    [[ $(texts) == edited ]]
}

@test "a deferred message that gets its thread is seen at once" {
    local i
    for i in {1..11}; do writes "topic$i"; done
    [[ $(field .message.thread_state) == deferred ]]
    local message
    message=$(field .message.id)
    agent GET "$MESSAGES?limit=1"
    [[ $(field '.items[0].thread_state') == deferred ]]
    redis del "rate_limit:room:$CONVERSATION"
    agent POST "/v1/messages/$message/auto-assign"
    [[ $STATUS == 200 ]]
    agent GET "$MESSAGES?limit=1"
    [[ $(field '.items[0].thread_state') == assigned ]]
}

@test "what no request wrote, the bot's answer, is seen as well" {
    says "hello bot"
    texts
    answered() { [[ $(texts) == *"|hello bot" ]]; }
    eventually 15 answered
}

@test "another tenant's list, and one of no conversation, is 404 whatever is kept" {
    agent GET /v1/conversations/018f0000-0000-7000-8000-000000000000/threads
    [[ $STATUS == 404 ]]
    agent GET /v1/conversations/018f0000-0000-7000-8000-000000000000/threads
    [[ $STATUS == 404 ]]
}

@test "hits and misses are counted" {
    writes "one topic"
    titles && titles
    run curl -sS -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" "$MESSAGING_URL/metrics"
    [[ $output == *'cache_requests_total{ns="threads:room",result="hit"}'* ]]
    [[ $output == *'cache_requests_total{ns="threads:room",result="miss"}'* ]]
}

@test "an administrator sees the ten uses of Redis, each as it is now" {
    writes "one topic"
    titles && titles
    agent GET /v1/admin/integrations
    [[ $STATUS == 403 ]]
    admin GET /v1/admin/integrations
    [[ $STATUS == 200 && $(field '.items | length') == 10 ]]
    [[ $(field '[.items[].status] | unique | join(",")') == active ]]
    (($(field '.items[] | select(.name == "thread_query_cache") | .hits') > 0))
}

used_memory() { redis info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p'; }
keeps_lists() {
    agent GET "$THREADS?limit=$((RANDOM % 100 + 1))"
    [[ -n $(ttl threads:room) ]]
}
without_limit() {
    redis config set maxmemory 0 >/dev/null
    redis del filler >/dev/null
}
degraded_of() {
    admin GET /health
    field ".degraded.$1 // 0"
}

# bats test_tags=shared
@test "caches leave a Redis that fills up to locks, limits and queues" {
    local locks limits
    locks=$(degraded_of lock) limits=$(degraded_of rate_limit)
    redis config set maxmemory "$(($(used_memory) + 20000000))" >/dev/null
    eventually 10 keeps_lists || { without_limit && return 1; }
    # Full to nine tenths: nobody is refused yet.
    head -c 5000000 /dev/zero | tr '\0' x | redis -x set filler >/dev/null
    redis config set maxmemory "$(($(used_memory) * 10 / 9))" >/dev/null
    sleep 1.5
    open_conversation
    THREADS=/v1/conversations/$CONVERSATION/threads
    writes "one topic"
    [[ $STATUS == 201 && $(titles) == "one topic" ]] || { without_limit && return 1; }
    run keeps_lists
    without_limit
    ((status != 0))
    (($(degraded_of cache_memory) > 0))
    [[ $(degraded_of lock) == "$locks" && $(degraded_of rate_limit) == "$limits" ]]
    eventually 10 keeps_lists
}
