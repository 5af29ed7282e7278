# shellcheck shell=bash
# Slack's side of messaging: channels, signed events, the stand-in. After messaging_support.bash;
# uses TEAM, SLACK_CHANNEL, SLACK_USER, EVENT and TS.

# A channel of Slack in dispatch-worker, which tells messaging of it. Uses CHANNEL.
make_slack_channel() {
    dispatch PUT "/v1/workspaces/$CHANNEL" "$(jq -nc --arg url "$SLACK_STANDIN_URL" --arg team "$TEAM" \
        '{provider: "slack", token: ("xoxb-team-" + $team), team_id: $team, api_base_url: $url}')"
    [[ $STATUS == 201 ]]
    dispatch PUT "/v1/channels/$CHANNEL" "$(jq -nc --arg code "$CHANNEL" --arg id "$SLACK_CHANNEL" \
        '{workspace_code: $code, provider_channel_id: $id, rate: {per_second: 100, burst: 100}}')"
    [[ $STATUS == 201 ]]
    eventually 20 messaging_knows_channel
}
messaging_knows_channel() {
    [[ $(psql "$DATABASE_URL" -XAtqc "select count(*) from messaging.channels
        where code = '$CHANNEL' and team_id = '$TEAM'
          and provider_channel_id = '$SLACK_CHANNEL'") == 1 ]]
}

# Slack's name for a message: seconds, a point, six digits; none twice.
new_ts() { printf '%d.%06d' "$EPOCHSECONDS" $((RANDOM * 30)); }

# stand_in PATH BODY
stand_in() { curl -sS --fail --max-time 5 -o /dev/null --data-binary "$2" "${SLACK_STANDIN_URL%/api}/$1"; }

# sends BODY [SECRET [TIMESTAMP]] [curl options…]: signed, as Slack sends it.
sends() {
    local body=$1 timestamp signature
    read -r timestamp signature < <(printf %s "$body" |
        python3 "$BATS_TEST_DIRNAME/slack_sign.py" "${2:-$SLACK_SIGNING_SECRET}" ${3:+"$3"})
    shift $(($# < 3 ? $# : 3))
    posts "$body" -H "X-Slack-Request-Timestamp: $timestamp" -H "X-Slack-Signature: $signature" "$@"
}
posts() {
    local answer
    answer=$(curl -sS --max-time 20 -w '\n%{http_code}' -H 'Content-Type: application/json' \
        --data-binary "$1" "${@:2}" "$MESSAGING_URL/v1/channels/slack/events")
    # shellcheck disable=SC2034 # read by the tests
    STATUS=${answer##*$'\n'} BODY=${answer%$'\n'*}
}
# message TEXT [EVENT MEMBERS… [ENVELOPE MEMBERS…]]: an event_callback.
message() {
    jq -nc --arg team "$TEAM" --arg channel "$SLACK_CHANNEL" --arg user "$SLACK_USER" \
        --arg ts "$TS" --arg id "$EVENT" --arg text "$1" --argjson more "${2:-{\}}" \
        --argjson around "${3:-{\}}" '{type: "event_callback", team_id: $team, api_app_id: "A1",
        event_id: $id, event_time: 1, authorizations: [], token: "x",
        event: ({type: "message", channel: $channel, user: $user, text: $text, ts: $ts,
        event_ts: $ts, client_msg_id: $id} + $more)} + $around'
}
# has_state STATE REASON: of EVENT.
has_state() {
    [[ $(psql "$DATABASE_URL" -XAtqc "select state, reason from messaging.inbound_events
        where event_id = '$EVENT'") == "$1|$2" ]]
}
