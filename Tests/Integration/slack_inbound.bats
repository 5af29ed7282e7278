#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031
# Events of Slack, signed by Slack's own signer. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"
# shellcheck source=slack_support.bash
source "$BATS_TEST_DIRNAME/slack_support.bash"

setup_file() {
    export CHANNEL=bats-$RANDOM$RANDOM
    export TEAM=T$RANDOM$RANDOM SLACK_CHANNEL=C$RANDOM$RANDOM
    as_service POST /v1/internal/channels "{\"code\": \"$CHANNEL\", \"kind\": \"slack\",
        \"workspace_code\": \"ws-$CHANNEL\", \"team_id\": \"$TEAM\",
        \"team_verified\": true, \"provider_channel_id\": \"$SLACK_CHANNEL\", \"version\": 1}"
    [[ $STATUS == 200 ]]
}
setup() {
    SLACK_USER=U$RANDOM$RANDOM TS=$(date +%s).$RANDOM EVENT=Ev$RANDOM$RANDOM
}

texts() {
    agent GET "/v1/conversations?contact=$SLACK_USER"
    local id
    id=$(field '.items[0].id // empty')
    [[ -n $id ]] || return 0
    agent GET "/v1/conversations/$id/messages"
    field '[.items[] | select(.sender.kind == "contact") | .text] | reverse | join("|")'
}
has_texts() { [[ $(texts) == "$1" ]]; }

@test "the challenge is given back, only to who can sign" {
    sends '{"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "token": "x"}'
    [[ $STATUS == 200 && $(field .challenge) == 3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P ]]
    posts '{"type": "url_verification", "challenge": "c"}'
    [[ $STATUS == 401 && $(field .code) == bad_signature ]]
}

@test "what is not signed right, or not now, is 401 and leaves nothing" {
    local body now
    body=$(message hello) now=$(date +%s)
    sends "$body" another-secret
    [[ $STATUS == 401 ]]
    sends "$body" "$SLACK_SIGNING_SECRET" $((now - 330))
    [[ $STATUS == 401 ]]
    sends "$body" "$SLACK_SIGNING_SECRET" $((now + 330))
    [[ $STATUS == 401 ]]
    local timestamp signature
    read -r timestamp signature < <(printf %s "$body" |
        python3 "$BATS_TEST_DIRNAME/slack_sign.py" "$SLACK_SIGNING_SECRET")
    # One byte more than was signed.
    posts "$body " -H "X-Slack-Request-Timestamp: $timestamp" -H "X-Slack-Signature: $signature"
    [[ $STATUS == 401 ]]
    for timestamp in "+$now" "$now.0" " " abc 99999999999999999999; do
        posts "$body" -H "X-Slack-Request-Timestamp: $timestamp" -H "X-Slack-Signature: $signature"
        [[ $STATUS == 401 ]]
    done
    for signature in "" v0= v0=zz "v1=${signature#v0=}" "${signature^^}"; do
        posts "$body" -H "X-Slack-Request-Timestamp: $now" -H "X-Slack-Signature: $signature"
        [[ $STATUS == 401 ]]
    done
    run curl -sS -D - -o "$BATS_TEST_TMPDIR/b" --data-binary x "$MESSAGING_URL/v1/channels/slack/events"
    [[ ${output,,} == *"x-slack-no-retry: 1"* ]]
    [[ $(psql "$DATABASE_URL" -XAtqc "select count(*) from messaging.inbound_events
        where event_id = '$EVENT'") == 0 ]]
}

@test "signed bytes that are not JSON are 400; those that are not UTF-8 are nobody's, 401" {
    sends '{"type":'
    [[ $STATUS == 400 ]]
    # Slack's own signer cannot sign these bytes; openssl can.
    local timestamp signature
    timestamp=$(date +%s)
    printf '{"type": "event_callback", "team_id": "%s", "text": "\xff"}' "$TEAM" \
        >"$BATS_TEST_TMPDIR/body"
    signature=$({ printf 'v0:%s:' "$timestamp" && cat "$BATS_TEST_TMPDIR/body"; } |
        openssl dgst -sha256 -hmac "$SLACK_SIGNING_SECRET" | awk '{print $NF}')
    posts "@$BATS_TEST_TMPDIR/body" -H "X-Slack-Request-Timestamp: $timestamp" \
        -H "X-Slack-Signature: v0=$signature"
    [[ $STATUS == 401 && $(field .code) == bad_signature ]]
}

@test "a message comes into its writer's conversation, once, however often Slack sends it" {
    local body i pids=()
    body=$(message "where is &lt;my&gt; refund &amp;amp; order?")
    for i in 1 2 3 4; do
        sends "$body" "" "" -H "X-Slack-Retry-Num: $i" -H "X-Slack-Retry-Reason: http_timeout" &
        pids+=($!)
    done
    wait "${pids[@]}"
    sends "$body"
    [[ $STATUS == 200 && $(field .outcome) == duplicate ]]
    eventually 10 has_texts "where is <my> refund &amp; order?"
    [[ $(psql "$DATABASE_URL" -XAtqc "select count(*) from messaging.inbound_events
        where event_id = '$EVENT'") == 1 ]]
    # A mention of the app is sent as two events of one message.
    EVENT=$EVENT-2
    sends "$(message "the same words" '{"type": "app_mention"}')"
    [[ $(field .outcome) == stored ]]
    eventually 10 has_state "done" ""
    [[ $(texts) == "where is <my> refund &amp; order?" ]]
}

@test "an answer in a Slack thread goes to the thread of what it answers" {
    sends "$(message "where is my refund")"
    eventually 10 has_texts "where is my refund"
    local root=$TS
    TS=$(date +%s).9$RANDOM EVENT=$EVENT-2
    sends "$(message "zebra" "{\"thread_ts\": \"$root\"}")"
    eventually 10 has_texts "where is my refund|zebra"
    agent GET "/v1/conversations?contact=$SLACK_USER"
    agent GET "/v1/conversations/$(field '.items[0].id')/messages"
    [[ $(field '[.items[] | select(.sender.kind == "contact") | .thread_id] | unique | length') == 1 ]]
    [[ $(field '[.items[] | select(.text == "zebra")][0].method') == reply ]]
}

@test "what is no person's words is kept and ignored" {
    local i=0 more reason
    while read -r more reason; do
        i=$((i + 1)) EVENT=Ev$RANDOM$RANDOM-$i TS=$(date +%s).$i
        sends "$(message "x" "$more")"
        [[ $STATUS == 200 && $(field .outcome) == stored ]]
        eventually 10 has_state ignored "$reason"
    done <<'END'
{"subtype":"message_changed"} subtype_message_changed
{"subtype":"channel_join"} subtype_channel_join
{"bot_id":"B1"} bot
{"app_id":"A1"} bot
{"type":"reaction_added"} not_a_message
{"text":""} empty
{"user":null} incomplete
END
    [[ -z $(texts) ]]
}

@test "an unknown team is dropped; an unknown channel is kept, and can be fed in later" {
    sends "$(message hello '{}' '{"team_id": "T-nobody"}')"
    [[ $STATUS == 200 && $(field .outcome) == unknown_team ]]
    [[ $(psql "$DATABASE_URL" -XAtqc "select action, subject from platform.audit
        where after ->> 'event_id' = '$EVENT'") == "inbound.unknown_team|T-nobody" ]]
    sends "$(message "a channel to come" '{"channel": "C-later"}')"
    [[ $(field .outcome) == stored ]]
    eventually 5 has_state ignored unknown_channel
    admin GET "/v1/admin/inbound?state=ignored&limit=1"
    [[ $STATUS == 200 && $(field '.items[0].event_id') == "$EVENT" ]]
    local id
    id=$(field '.items[0].id')
    agent POST "/v1/admin/inbound/$id/replay" '{}'
    [[ $STATUS == 403 ]]
    admin POST "/v1/admin/inbound/$id/replay" "{\"channel_code\": \"$CHANNEL\"}"
    [[ $STATUS == 202 ]]
    eventually 10 has_texts "a channel to come"
    # Once more: it is there. By force: it is there twice.
    eventually 5 has_state "done" ""
    admin POST "/v1/admin/inbound/$id/replay" '{}'
    [[ $STATUS == 202 ]]
    eventually 5 has_state "done" ""
    [[ $(texts) == "a channel to come" ]]
    admin POST "/v1/admin/inbound/$id/replay" '{"force": true}'
    eventually 10 has_texts "a channel to come|a channel to come"
}

@test "what came in is sealed, and gone after seven days" {
    sends "$(message "my secret number is 4111222233334444")"
    eventually 10 has_texts "my secret number is 4111222233334444"
    [[ $(psql "$DATABASE_URL" -XAtqc "select count(*) from messaging.inbound_events e
        where e::text ~ '4111222233334444' or encode(sealed, 'escape') ~ '4111222233334444'") == 0 ]]
    [[ $(psql "$DATABASE_URL" -XAtqc "select keep = interval '7 days' from platform.partitioned
        where table_name = 'messaging.inbound_events'") == t ]]
}

# own_secret KEY CODE TEAM SECRET: a workspace with a signing secret of its own, and a channel of it.
own_secret() {
    ask_at "$DISPATCH_WORKER_URL" "$1" PUT "/v1/workspaces/$2" "{\"provider\": \"slack\", \"token\": \"xoxb-team-$3\",
        \"team_id\": \"$3\", \"signing_secret\": \"$4\", \"api_base_url\": \"$SLACK_STANDIN_URL\"}"
    [[ $STATUS == 20[01] && $BODY != *"$4"* ]]
    ask_at "$DISPATCH_WORKER_URL" "$1" PUT "/v1/channels/$2" \
        "{\"workspace_code\": \"$2\", \"provider_channel_id\": \"$SLACK_CHANNEL\"}"
    [[ $STATUS == 20[01] ]]
    eventually 10 knows_channel "$2"
}
knows_channel() {
    [[ -n $(psql "$DATABASE_URL" -XAtqc "select 1 from messaging.channels where code = '$1'
        and team_id is not null") ]]
}
stored_for() { # the tenants that the event was kept for
    psql "$DATABASE_URL" -XAtqc "select string_agg(tenant, ' ' order by tenant)
        from messaging.inbound_events where event_id = '$EVENT'"
}

@test "a workspace with a signing secret of its own: its secret opens, another one does not" {
    TEAM=T9$RANDOM$RANDOM SLACK_CHANNEL=C9$RANDOM
    own_secret "$SWITCHBOARD_ADMIN_KEY" "own-$RANDOM$RANDOM" "$TEAM" "secret-of-$TEAM"
    sends "$(message "signed by the workspace")" "secret-of-$TEAM"
    [[ $STATUS == 200 && $(field .outcome) == stored ]]
    eventually 10 has_texts "signed by the workspace"
    EVENT=$EVENT-2
    sends "$(message "signed by nobody")" "secret-of-another"
    [[ $STATUS == 401 && -z $(stored_for) ]]
    # The secret is this team's: for another team it opens nothing.
    EVENT=$EVENT-3
    sends "$(message "another team" '{}' '{"team_id": "T-elsewhere"}')" "secret-of-$TEAM"
    [[ $STATUS == 401 && -z $(stored_for) ]]
}

@test "who names another tenant's team as its own cannot speak in the other's conversations" {
    TEAM=T8$RANDOM$RANDOM SLACK_CHANNEL=C8$RANDOM
    local code=two-$RANDOM$RANDOM other=other-$RANDOM$RANDOM key
    own_secret "$SWITCHBOARD_ADMIN_KEY" "$code" "$TEAM" "secret-of-$code"
    key=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$other" --role admin | tail -n 1)
    own_secret "$key" "$other" "$TEAM" "secret-of-$other"
    sends "$(message "from the other")" "secret-of-$other"
    [[ $STATUS == 200 && $(stored_for) == "$other" ]]
    EVENT=$EVENT-2
    sends "$(message "from the first")" "secret-of-$code"
    [[ $STATUS == 200 && $(stored_for) == "$SWITCHBOARD_TENANT" ]]
    eventually 10 has_texts "from the first"
}
