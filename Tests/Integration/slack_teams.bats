#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031
# Whose a Slack team is: what is signed with the installation's secret comes in only for who has proven
# it. Needs the environment of `compose/local run`.

# shellcheck source=messaging_support.bash
source "$BATS_TEST_DIRNAME/messaging_support.bash"
# shellcheck source=slack_support.bash
source "$BATS_TEST_DIRNAME/slack_support.bash"

setup_file() {
    # A server that says what it is told of any token, and a worker that may ask it.
    export OTHER_URL=http://127.0.0.1:$((20000 + RANDOM % 4000))
    export WORKER_URL=http://127.0.0.1:$((24000 + RANDOM % 4000))
    HOST=127.0.0.1 PORT=${OTHER_URL##*:} "$SWITCHBOARD_BIN/slack-standin" \
        >"$BATS_FILE_TMPDIR/other.log" 2>&1 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/pids"
    HOST=127.0.0.1 PORT=${WORKER_URL##*:} SLACK_API_BASE_URL=$SLACK_STANDIN_URL \
        OUTBOUND_ALLOW_HOSTS="${SLACK_STANDIN_URL:7:-4},${OTHER_URL#http://}" \
        "$SWITCHBOARD_BIN/dispatch-worker" serve >"$BATS_FILE_TMPDIR/worker.log" 2>&1 3>&- &
    echo $! >>"$BATS_FILE_TMPDIR/pids"
    eventually 20 curl -sf -o /dev/null "$WORKER_URL/readyz"
    eventually 20 curl -sf -o /dev/null "$OTHER_URL/healthz"
}
teardown_file() { xargs kill <"$BATS_FILE_TMPDIR/pids"; }
setup() {
    SLACK_USER=U$RANDOM$RANDOM TS=$(new_ts) EVENT=Ev$RANDOM$RANDOM
    TEAM=T$RANDOM$RANDOM SLACK_CHANNEL=C$RANDOM$RANDOM CODE=ws-$RANDOM$RANDOM
}
teardown() { stand_in _control '{"reset": true}'; }

# claims KEY CODE MEMBERS: a workspace, and a channel of it; leaves the workspace in BODY.
claims() {
    ask_at "$WORKER_URL" "$1" PUT "/v1/workspaces/$2" "{\"provider\": \"slack\", $3}"
    [[ $STATUS == 20[01] ]]
    local workspace=$BODY
    ask_at "$WORKER_URL" "$1" PUT "/v1/channels/$2" \
        "{\"workspace_code\": \"$2\", \"provider_channel_id\": \"$SLACK_CHANNEL\"}"
    [[ $STATUS == 20[01] ]]
    eventually 10 knows "$2" false || knows "$2" true
    BODY=$workspace
}
knows() { # CODE VERIFIED: messaging knows the channel, and whether its team is proven
    [[ $(sql "select team_verified from messaging.channels where code = '$1'
        and team_id is not null") == "${2:0:1}" ]]
}
stored_for() {
    sql "select string_agg(tenant, ' ' order by tenant) from messaging.inbound_events
        where event_id = '$EVENT'"
}
new_tenant() {
    TENANT=t-$RANDOM$RANDOM
    KEY=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$TENANT" --role admin | tail -n 1)
}

@test "who only says that a team is theirs gets nothing of it, whatever server says so too" {
    claims "$SWITCHBOARD_ADMIN_KEY" "$CODE" "\"token\": \"xoxb-team-$TEAM\""
    [[ $(field .team_id) == "$TEAM" && $(field .team_verified) == true ]]
    [[ $(field .verify_team_by) == null ]]
    eventually 10 knows "$CODE" true
    new_tenant
    # Without a token nobody is asked.
    claims "$KEY" "$CODE-1" "\"team_id\": \"$TEAM\""
    [[ $(field .team_verified) == false && $(field .verify_team_by) == *token* ]]
    # With one that Slack does not take, and a server of their own that does.
    stand_in _control "{\"revoke\": \"xoxb-team-$TEAM\"}"
    claims "$KEY" "$CODE-2" "\"token\": \"xoxb-team-$TEAM\", \"api_base_url\": \"$OTHER_URL/api\""
    [[ $(field .team_id) == "$TEAM" && $(field .team_verified) == false ]]
    sends "$(message "for one tenant only")"
    [[ $STATUS == 200 && $(field .outcome) == stored && $(stored_for) == "$SWITCHBOARD_TENANT" ]]
}

@test "a Slack that is not reached proves nothing; it is asked again, and messaging is told" {
    stand_in _control '{"fault": "5xx", "method": "auth.test", "count": 3}'
    claims "$SWITCHBOARD_ADMIN_KEY" "$CODE" "\"team_id\": \"$TEAM\", \"token\": \"xoxb-team-$TEAM\""
    [[ $(field .team_verified) == false && $(field .verify_team_by) == *again* ]]
    sends "$(message "too early")"
    [[ $(field .outcome) == unknown_team && -z $(stored_for) ]]
    # Twice more it fails: then it is well.
    eventually 30 knows "$CODE" true
    EVENT=$EVENT-2
    sends "$(message "in time")"
    [[ $(field .outcome) == stored && $(stored_for) == "$SWITCHBOARD_TENANT" ]]
    ask_at "$WORKER_URL" "$SWITCHBOARD_ADMIN_KEY" GET "/v1/workspaces/$CODE"
    [[ $(field .team_verified) == true ]]
}

@test "without proof a workspace still gets what its own secret has signed" {
    claims "$SWITCHBOARD_ADMIN_KEY" "$CODE" "\"team_id\": \"$TEAM\", \"signing_secret\": \"own-$TEAM\""
    sends "$(message "signed by the installation")"
    [[ $(field .outcome) == unknown_team ]]
    sends "$(message "signed by the workspace")" "own-$TEAM"
    [[ $(field .outcome) == stored ]]
}

@test "a workspace of one app gets no events of another" {
    claims "$SWITCHBOARD_ADMIN_KEY" "$CODE" "\"token\": \"xoxb-team-$TEAM\", \"api_app_id\": \"A-mine\""
    eventually 10 knows "$CODE" true
    sends "$(message "of another app")"
    [[ $(field .outcome) == unknown_team ]]
    sends "$(message "of this app" '{}' '{"api_app_id": "A-mine"}')"
    [[ $(field .outcome) == stored ]]
}

@test "what is written once in a channel that two teams of a tenant share is one message" {
    local first=$TEAM gesture=$RANDOM-$RANDOM
    claims "$SWITCHBOARD_ADMIN_KEY" "$CODE" "\"token\": \"xoxb-team-$TEAM\""
    eventually 10 knows "$CODE" true
    TEAM=$TEAM-2
    claims "$SWITCHBOARD_ADMIN_KEY" "$CODE-2" "\"team_id\": \"$TEAM\", \"signing_secret\": \"own-$TEAM\""
    sends "$(message "once" "{\"client_msg_id\": \"$gesture\"}")" "own-$TEAM"
    [[ $(field .outcome) == stored ]]
    eventually 10 has_state "done" ""
    EVENT=$EVENT-2 TEAM=$first
    sends "$(message "once" "{\"client_msg_id\": \"$gesture\"}")"
    [[ $(field .outcome) == stored ]]
    eventually 10 has_state ignored same_gesture
    agent GET "/v1/conversations?contact=$SLACK_USER"
    [[ $(field '.items | length') == 1 ]]
    # Another gesture in the same place is a message of its own.
    EVENT=$EVENT-3 TS=$(new_ts)
    sends "$(message "twice" "{\"client_msg_id\": \"$gesture-2\"}")"
    eventually 10 has_state "done" ""
}
