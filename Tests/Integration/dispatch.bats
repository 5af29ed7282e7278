#!/usr/bin/env bats
# dispatch-worker over its API. Needs the environment of `compose/local run`; the tests of the Slack
# transport also need the stand-in at SLACK_STANDIN_URL, whose host OUTBOUND_ALLOW_HOSTS must name.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

setup_file() { local_channel; }

@test "operations answer" {
    ask "" GET /healthz
    [[ $STATUS == 200 ]]
    ask "" GET /readyz
    [[ $STATUS == 200 && $(field .status) == ready ]]
    agent GET /health
    [[ $STATUS == 200 && $(field .sender.running) == true ]]
    ask "" GET /metrics
    [[ $STATUS == 200 ]]
    ask "" GET /openapi.json
    [[ $STATUS == 200 && $(field '.paths["/v1/message-requests"].post.summary') != null ]]
}

@test "a message request is accepted, sent once and shown in the local outbox" {
    sends "hello $TAG" "$LOCAL" '{"metadata": {"order": 12}, "priority": 1}'
    [[ $(field .status) == accepted && $(field .metadata.order) == 12 ]]
    [[ $(field .next_attempt_at) =~ ^2[0-9-]+T[0-9:]+\.[0-9]{3}Z$ ]]
    becomes sent
    [[ $(field '.attempts | length') == 1 && $(field '.attempts[0].status') == sent ]]
    local ts
    ts=$(field .provider_ts)
    agent GET "/v1/local-outbox?channel_code=$LOCAL"
    [[ $STATUS == 200 ]]
    [[ $(jq --arg id "$ID" '[.items[] | select(.message_request_id == $id)] | length' <<<"$BODY") == 1 ]]
    [[ $(jq -r --arg id "$ID" '.items[] | select(.message_request_id == $id) | .ts' <<<"$BODY") == "$ts" ]]
}

@test "the local outbox counts what is delivered again" {
    sends "again and again $TAG" && becomes sent
    [[ $(outbox "$LOCAL" | grep -cx "again and again $TAG") == 1 ]]
    # As if it had been forgotten that it was sent.
    sql "update dispatch.message_requests set status = 'accepted', finished_at = null, job_due_at = null,
        next_attempt_at = now() where id = '$ID'"
    redis del "mr:dispatch:{$SWITCHBOARD_TENANT}:$ID" >/dev/null
    becomes sent 200
    agent GET "/v1/local-outbox?channel_code=$LOCAL"
    [[ $(jq --arg id "$ID" '.items[] | select(.message_request_id == $id) | .repeats' <<<"$BODY") == 1 ]]
    [[ $(outbox "$LOCAL" | grep -cx "again and again $TAG") == 2 ]]
}

@test "blocks and a thread are carried" {
    sends "root" && becomes sent
    local ts
    ts=$(field .provider_ts)
    agent POST /v1/message-requests \
        "{\"channel_code\": \"$LOCAL\", \"blocks\": [{\"type\": \"divider\"}], \"thread_ts\": \"$ts\"}"
    [[ $STATUS == 202 ]]
    ID=$(field .id)
    becomes sent
    agent GET "/v1/local-outbox?channel_code=$LOCAL&limit=1"
    [[ $(field '.items[0].thread_ts') == "$ts" && $(field '.items[0].blocks[0].type') == divider ]]
}

@test "an idempotency key: the first answer again, another body refused" {
    local key=k-$RANDOM$RANDOM body="{\"channel_code\": \"$LOCAL\", \"text\": \"once\"}" first
    agent POST /v1/message-requests "$body" -H "Idempotency-Key: $key"
    [[ $STATUS == 202 ]]
    first=$BODY
    agent POST /v1/message-requests "$body" -H "Idempotency-Key: $key" -D "$BATS_TEST_TMPDIR/head"
    [[ $STATUS == 202 && $BODY == "$first" ]]
    grep -qi '^Idempotency-Replayed: true' "$BATS_TEST_TMPDIR/head"
    agent POST /v1/message-requests "{\"channel_code\": \"$LOCAL\", \"text\": \"other\"}" \
        -H "Idempotency-Key: $key"
    [[ $STATUS == 422 && $(field .code) == idempotency_key_reused ]]
}

@test "twenty equal requests at once make one message" {
    local key=k-$RANDOM$RANDOM pids=() i
    for i in {1..20}; do
        curl -sS --max-time 20 -o "$BATS_TEST_TMPDIR/$i" -H "Authorization: Bearer $SWITCHBOARD_AGENT_KEY" \
            -H 'Content-Type: application/json' -H "Idempotency-Key: $key" \
            -d "{\"channel_code\": \"$LOCAL\", \"text\": \"$key\"}" \
            "$DISPATCH_WORKER_URL/v1/message-requests" &
        pids+=($!)
    done
    wait "${pids[@]}"
    [[ $(cat "$BATS_TEST_TMPDIR"/{1..20} | jq -r .id | sort -u | wc -l) == 1 ]]
    agent GET "/v1/message-requests?q=$key"
    [[ $(field '.items | length') == 1 ]]
}

@test "a service may choose the id; a caller may not" {
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    local body="{\"id\": \"$id\", \"channel_code\": \"$LOCAL\", \"text\": \"from a service\"}"
    as_service POST /v1/message-requests "$body"
    [[ $STATUS == 202 && $(field .id) == "$id" ]]
    as_service POST /v1/message-requests "$body"
    [[ $STATUS == 202 && $(field .id) == "$id" ]]
    ID=$id
    becomes sent
    [[ $(field '.attempts | length') == 1 ]]
    agent POST /v1/message-requests "$body"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /id ]]
}

@test "who asked is told what became of a message, not of its first way to the queue" {
    local body="{\"channel_code\": \"$LOCAL\", \"text\": \"told\"}"
    as_service POST /v1/message-requests "$body"
    [[ $STATUS == 202 ]]
    ID=$(field .id)
    becomes sent
    told() { psql -qtAX "$DATABASE_URL" -c "select string_agg(payload->>'status', ' ' order by id)
        from platform.outbox where kind = 'call' and path = '/v1/internal/delivery' and key = '$ID'"; }
    [[ $(told) == sent ]]
    # That it is on its way again is news.
    admin POST "/v1/message-requests/$ID/resend" '{"force": true, "reason": "told again"}'
    [[ $STATUS == 200 || $STATUS == 202 ]]
    becomes sent
    [[ $(told) == "sent dispatched sent" ]]
}

@test "what is wrong with a body is named, and nothing is stored" {
    local before
    agent GET "/v1/message-requests?channel_code=$LOCAL&limit=1"
    before=$(field '.items[0].id')
    local body pointer
    while IFS='|' read -r pointer body; do
        agent POST /v1/message-requests "${body//CH/$LOCAL}"
        [[ $STATUS == 422 && $(field '.errors[0].pointer') == "$pointer" ]] || {
            echo "$body: $STATUS $BODY"
            return 1
        }
    done <<'ROWS'
/channel_code|{"text": "x"}
/channel_code|{"channel_code": "Not A Code", "text": "x"}
/channel_code|{"channel_code": "nowhere", "text": "x"}
/text|{"channel_code": "CH"}
/text|{"channel_code": "CH", "text": ""}
/text|{"channel_code": "CH", "text": 7}
/blocks|{"channel_code": "CH", "blocks": []}
/blocks/0|{"channel_code": "CH", "blocks": ["x"]}
/blocks/1/type|{"channel_code": "CH", "blocks": [{"type": "divider"}, {}]}
/blocks/0/text|{"channel_code": "CH", "blocks": [{"type": "section"}]}
/template_code|{"channel_code": "CH", "template_code": "no-such-template"}
/template_code|{"channel_code": "CH", "template_code": "t", "text": "x"}
/variables|{"channel_code": "CH", "text": "x", "variables": {}}
/on_root_failed|{"channel_code": "CH", "text": "x", "on_root_failed": "guess"}
/priority|{"channel_code": "CH", "text": "x", "priority": 5}
/thread_ts|{"channel_code": "CH", "text": "x", "thread_ts": "yesterday"}
/send_at|{"channel_code": "CH", "text": "x", "send_at": "tomorrow"}
/deadline_at|{"channel_code": "CH", "text": "x", "send_at": "2030-01-02T00:00:00Z", "deadline_at": "2030-01-01T00:00:00Z"}
/max_attempts|{"channel_code": "CH", "text": "x", "max_attempts": 0}
/metadata|{"channel_code": "CH", "text": "x", "metadata": []}
/colour|{"channel_code": "CH", "text": "x", "colour": "red"}
ROWS
    agent POST /v1/message-requests \
        "$(jq -nc --arg channel "$LOCAL" '{channel_code: $channel, text: ("x" * 40001)}')"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /text ]]
    agent POST /v1/message-requests \
        "$(jq -nc --arg channel "$LOCAL" '{channel_code: $channel, blocks: [range(51) | {type: "divider"}]}')"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /blocks ]]
    agent GET "/v1/message-requests?channel_code=$LOCAL&limit=1"
    [[ $(field '.items[0].id') == "$before" ]]
}

@test "what cannot be read is 400, too large 413, not JSON 415" {
    agent POST /v1/message-requests '{"channel_code": '
    [[ $STATUS == 400 ]]
    agent POST /v1/message-requests "{\"channel_code\": \"$LOCAL\", \"text\": \"a\", \"text\": \"b\"}"
    [[ $STATUS == 400 ]]
    head -c 70000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/large"
    agent POST /v1/message-requests "@$BATS_TEST_TMPDIR/large"
    [[ $STATUS == 413 ]]
    agent POST /v1/message-requests '' -H 'Content-Type: text/plain' -d 'hello'
    [[ $STATUS == 415 ]]
    agent DELETE /v1/message-requests
    [[ $STATUS == 405 ]]
}

@test "keys and roles are asked for" {
    local path id
    id=$(cat /proc/sys/kernel/random/uuid)
    for path in /v1/message-requests "/v1/message-requests/$id" /v1/local-outbox "/v1/channels/$LOCAL"; do
        ask "sb_nobody_00000000000000000000" GET "$path"
        [[ $STATUS == 401 && $(field .code) == unauthorized ]]
    done
    agent PUT "/v1/workspaces/$LOCAL" '{"provider": "local"}'
    [[ $STATUS == 403 ]]
    agent GET "/v1/channels/$LOCAL"
    [[ $STATUS == 403 ]]
    agent POST "/v1/message-requests/$id/cancel"
    [[ $STATUS == 403 ]]
    agent POST "/v1/message-requests/$id/mark-sent"
    [[ $STATUS == 403 ]]
}

@test "what is not there is 404" {
    local id path
    id=$(cat /proc/sys/kernel/random/uuid)
    for path in "/v1/message-requests/$id" /v1/message-requests/no-uuid /v1/workspaces/none /v1/channels/none; do
        admin GET "$path"
        [[ $STATUS == 404 ]]
    done
    for path in cancel mark-sent mark-not-sent; do
        admin POST "/v1/message-requests/$id/$path"
        [[ $STATUS == 404 ]]
    done
}

@test "a list is filtered and paged" {
    local i
    for i in 1 2 3; do sends "page $TAG $i"; done
    becomes sent
    agent GET "/v1/message-requests?q=page%20$TAG&limit=2"
    [[ $STATUS == 200 && $(field '.items | length') == 2 && $(field '.items[0].text') == "page $TAG 3" ]]
    agent GET "/v1/message-requests?q=page%20$TAG&limit=2&cursor=$(field .next_cursor)"
    [[ $(field '.items | length') == 1 && $(field .next_cursor) == null ]]
    agent GET "/v1/message-requests?status=failed&channel_code=$LOCAL"
    [[ $STATUS == 200 && $(field '.items | length') == 0 ]]
    agent GET "/v1/message-requests?to=2020-01-01T00:00:00Z"
    [[ $(field '.items | length') == 0 ]]
    local query
    for query in status=odd limit=0 limit=201 from=now cursor=x colour=red; do
        agent GET "/v1/message-requests?$query"
        [[ $STATUS == 422 ]]
    done
}

@test "a request of later can be cancelled, one that was sent cannot" {
    sends later "$LOCAL" '{"send_at": "2099-01-01T00:00:00Z"}'
    becomes dispatched
    admin POST "/v1/message-requests/$ID/cancel" '{"reason": "not any more"}'
    [[ $STATUS == 200 && $(field .status) == cancelled && $(field .finished_at) != null ]]
    admin POST "/v1/message-requests/$ID/cancel"
    [[ $STATUS == 200 && $(field .status) == cancelled ]]
    sends now && becomes sent
    admin POST "/v1/message-requests/$ID/cancel"
    [[ $STATUS == 409 && $(field .code) == too_late ]]
    admin POST "/v1/message-requests/$ID/mark-sent"
    [[ $STATUS == 409 && $(field .code) == not_unknown ]]
    admin POST "/v1/message-requests/$ID/mark-not-sent" '{"reason": "x"}'
    [[ $STATUS == 409 && $(field .code) == not_unknown ]]
}

@test "a request whose deadline has passed expires" {
    sends "too late" "$LOCAL" '{"deadline_at": "2020-01-01T00:00:00Z"}'
    becomes expired
}

@test "configuration is made, changed and checked; secrets read back as stars" {
    local code=$TAG-conf
    admin PUT "/v1/workspaces/$code" '{"provider": "slack", "token": "xoxb-team-T1", "signing_secret": "s3cret", "team_id": "T1"}'
    [[ $STATUS == 201 && $(field .token) == '***' && $(field .signing_secret) == '***' ]]
    admin PUT "/v1/workspaces/$code" '{"provider": "slack"}'
    [[ $STATUS == 200 && $(field .token) == '***' && $(field .team_id) == T1 ]]
    admin GET "/v1/workspaces/$code"
    [[ $STATUS == 200 && $BODY != *xoxb* && $BODY != *s3cret* ]]
    admin PUT "/v1/channels/$code" "{\"workspace_code\": \"$code\", \"provider_channel_id\": \"C1\", \"unknown_policy\": \"park\"}"
    [[ $STATUS == 201 && $(field .unknown_policy) == park && $(field .rate.per_second) == 1 ]]
    admin PUT "/v1/channels/$code" "{\"workspace_code\": \"$code\", \"provider_channel_id\": \"C2\"}"
    [[ $STATUS == 200 && $(field .unknown_policy) == park && $(field .provider_channel_id) == C2 ]]
    admin GET "/v1/channels/$code"
    [[ $STATUS == 200 && $(field .provider_channel_id) == C2 ]]
    admin PUT "/v1/channels/$code" '{"workspace_code": "none", "provider_channel_id": "C1"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /workspace_code ]]
    admin PUT "/v1/channels/$code" "{\"workspace_code\": \"$code\", \"provider_channel_id\": \"C1\", \"unknown_policy\": \"guess\"}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /unknown_policy ]]
    admin PUT "/v1/workspaces/$code" '{"provider": "pigeon"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /provider ]]
    admin PUT "/v1/workspaces/$code" '{"provider": "slack", "api_base_url": "http://169.254.169.254/api"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /api_base_url ]]
    admin PUT "/v1/workspaces/Not%20A%20Code" '{"provider": "local"}'
    [[ $STATUS == 422 ]]
}

@test "slack: a message is posted with its thread, blocks and our id" {
    slack
    sends "parent $TAG" "$SLACK" && becomes sent
    local ts parent=$ID
    ts=$(field .provider_ts)
    agent POST /v1/message-requests "{\"channel_code\": \"$SLACK\", \"text\": \"reply\", \"blocks\": [{\"type\": \"divider\"}], \"thread_ts\": \"$ts\"}"
    ID=$(field .id)
    becomes sent
    BODY=$(curl -sS --max-time 5 "$SLACK_STAND_IN_URL/_deliveries")
    [[ $(field .count) == 2 && $(field '.deliveries[1].thread_ts') == "$ts" ]]
    [[ $(field '.deliveries[0].metadata.event_payload.mr_id') == "$parent" ]]
    [[ $(field '.deliveries[0].metadata.event_type') == switchboard_message_request ]]
    [[ $(field '.deliveries[1].blocks[0].type') == divider ]]
}

@test "slack: a refusal of the message is final" {
    slack xoxb-good CARCHIVED
    sends gone "$SLACK" && becomes failed
    [[ $(field .error) == is_archived && $(field '.attempts | length') == 1 ]]
    [[ $(field '.attempts[0].http_status') == 200 ]]
}

@test "slack: a limit is waited out and spends no attempt" {
    slack
    stand_in '{"fault": "ratelimited", "retry_after": 1}'
    sends limited "$SLACK" '{"max_attempts": 1}' && becomes sent 60
    [[ $(field '.attempts | length') == 2 && $(field '.attempts[0].retry_after_ms') == 1000 ]]
    [[ $(delivered limited) == 1 ]]
}

@test "slack: a revoked token pauses the workspace until it has another" {
    slack xoxb-old
    stand_in '{"revoke": "xoxb-old"}'
    sends waiting "$SLACK" && becomes retry_wait
    admin GET "/v1/workspaces/$SLACK"
    [[ $(field .paused_reason) == token_revoked ]]
    agent GET /v1/pauses
    [[ $(jq -r --arg code "$SLACK" '.items[] | select(.scope.code == $code) | .author + " " + .reason' \
        <<<"$BODY") == "dispatch-worker token_revoked" ]]
    admin PUT "/v1/workspaces/$SLACK" \
        "{\"provider\": \"slack\", \"token\": \"xoxb-new\", \"api_base_url\": \"$SLACK_STAND_IN_URL/api\"}"
    [[ $(field .paused_reason) == null ]]
    becomes sent
    [[ $(delivered waiting) == 1 ]]
    agent GET /v1/pauses
    [[ $(jq --arg code "$SLACK" '[.items[] | select(.scope.code == $code)] | length' <<<"$BODY") == 0 ]]
}

@test "slack: a paused workspace goes on once a probe finds its token well" {
    slack xoxb-flaky
    stand_in '{"revoke": "xoxb-flaky"}'
    sends "probed $TAG" "$SLACK" && becomes retry_wait
    stand_in '{"reinstate": "xoxb-flaky"}'
    psql -q "$DATABASE_URL" -c "update platform.timers set due_at = now() where kind = 'workspace_probe'"
    becomes sent 80
    [[ $(delivered "probed $TAG") == 1 ]]
}

@test "slack: a token is looked at when it is configured" {
    slack
    local path=/v1/workspaces/$SLACK url=$SLACK_STAND_IN_URL/api
    admin GET "$path"
    [[ $(field .team_id) == T0STANDIN ]]
    admin PUT "$path" "{\"provider\": \"slack\", \"token\": \"xoxb-team-T0OTHER\", \"api_base_url\": \"$url\"}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /token && $BODY == *T0OTHER* ]]
    admin PUT "$path" "{\"provider\": \"slack\", \"token\": \"xoxb-revoked-2\", \"api_base_url\": \"$url\"}"
    [[ $STATUS == 422 && $BODY == *token_revoked* && $BODY != *xoxb* ]]
}

@test "slack: three channels limited within ten seconds block the workspace" {
    slack
    local n
    for n in 1 2 3 4; do another_channel "$SLACK-$n" "$SLACK" "C0LIMIT$n"; done
    stand_in '{"fault": "ratelimited", "retry_after": 12, "count": 3}'
    local limited=()
    for n in 1 2 3; do
        sends "limited $TAG $n" "$SLACK-$n" && becomes retry_wait
        limited+=("$ID")
    done
    local before
    before=$(calls chat.postMessage)
    sends "limited $TAG 4" "$SLACK-4"
    # It would leave within some milliseconds; for as long as the block lasts it must not.
    never sent 20
    [[ $(calls chat.postMessage) == "$before" ]]
    becomes sent 150
    # All of them: one that still is to go would meet what the next test does to Slack.
    for ID in "${limited[@]}"; do becomes sent 150; done
    [[ $(curl -sS --max-time 5 "$SLACK_STAND_IN_URL/_deliveries" | jq -c .violations) == '[]' ]]
}

@test "slack: cut off after it was taken, a message is found and not sent again" {
    slack
    stand_in '{"fault": "reset_after_acceptance"}'
    sends "cut $TAG" "$SLACK" && becomes unknown
    [[ $(field .unknown.policy) == verify ]]
    becomes sent 80
    [[ $(field .provider_ts) != null && $(delivered "cut $TAG") == 1 ]]
}

@test "slack: closed on a used connection after it was taken, a message is not sent again by itself" {
    slack
    stand_in '{"fault": "second_request"}'
    # One of the first two goes where a message went before, unless the machine is very slow.
    local n=0 unknown=0
    until ((unknown == 1)); do
        ((++n <= 5))
        sends "$n on a connection $TAG" "$SLACK" && becomes sent 150
        [[ $(delivered "$n on a connection $TAG") == 1 ]]
        unknown=$(field '[.attempts[] | select(.status == "unknown")] | length')
    done
}

@test "slack: a limited look comes again when it may, and is no reason to give up" {
    slack
    stand_in '{"fault": "ratelimited", "method": "conversations.history", "retry_after": 3}'
    stand_in '{"fault": "reset_after_acceptance"}'
    sends "limited look $TAG" "$SLACK" && becomes unknown
    becomes sent 150
    [[ $(delivered "limited look $TAG") == 1 && $(calls conversations.history) == 2 ]]
}

@test "slack: cut off before it was taken, a message is looked for twice and sent again" {
    slack
    stand_in '{"fault": "5xx"}'
    sends "lost $TAG" "$SLACK" && becomes unknown
    becomes sent 150
    [[ $(delivered "lost $TAG") == 1 && $(field '.attempts | length') == 2 ]]
}

@test "slack: the policy resend does not look, the policy park leaves it to people" {
    slack xoxb-good C0BATS resend
    stand_in '{"fault": "html"}'
    sends "again $TAG" "$SLACK" && becomes unknown && becomes sent 100
    [[ $(delivered "again $TAG") == 1 ]]
    admin PUT "/v1/channels/$SLACK" \
        "{\"workspace_code\": \"$SLACK\", \"provider_channel_id\": \"C0BATS\", \"unknown_policy\": \"park\"}"
    stand_in '{"fault": "cut_json", "count": 2}'
    sends "parked $TAG" "$SLACK" && becomes unknown
    admin POST "/v1/message-requests/$ID/mark-sent" '{"provider_ts": "1.000001", "reason": "seen"}'
    [[ $STATUS == 200 && $(field .status) == sent && $(field .provider_ts) == 1.000001 ]]
    sends "not there $TAG" "$SLACK" && becomes unknown
    admin POST "/v1/message-requests/$ID/mark-not-sent" '{"reason": "looked"}'
    [[ $STATUS == 200 && $(field .status) == retry_wait ]]
    becomes sent
}

@test "slack: an unknown message is looked for where it went, wherever its channel has moved" {
    slack xoxb-good C0BEFORE
    stand_in '{"fault": "reset_after_acceptance"}'
    sends "moved on $TAG" "$SLACK" && becomes unknown
    another_channel "$SLACK" "$SLACK" C0AFTER
    [[ $(field .provider_channel_id) == C0AFTER ]]
    becomes sent 150
    [[ $(posts "moved on $TAG" | jq -rs 'map(.channel + " " + .ts) | join(",")') == "C0BEFORE $(field .provider_ts)" ]]
    # Into another workspace, and not even at Slack.
    stand_in '{"fault": "reset_after_acceptance"}'
    sends "moved off $TAG" "$SLACK" && becomes unknown
    [[ $(field '.unknown.sent_to | .provider + " " + .workspace_code + " " + .provider_channel_id') == "slack $SLACK C0AFTER" ]]
    another_channel "$SLACK" "$LOCAL" C0LOCAL
    becomes sent 150
    [[ $(posts "moved off $TAG" | jq -rs 'map(.channel + " " + .ts) | join(",")') == "C0AFTER $(field .provider_ts)" ]]
    [[ -z $(outbox "$SLACK") ]]
    # What is surely not where it went goes to where its channel is now.
    another_channel "$SLACK" "$SLACK" C0BEFORE
    stand_in '{"fault": "reset_before_acceptance"}'
    sends "moved lost $TAG" "$SLACK" && becomes unknown
    another_channel "$SLACK" "$SLACK" C0AFTER
    becomes sent 200
    [[ $(posts "moved lost $TAG" | jq -r .channel) == C0AFTER ]]
}

@test "slack: an unknown message that cannot be looked for where it went any more waits for a person" {
    slack xoxb-team-T0OLD
    local change
    for change in "team_changed|slack|xoxb-team-T0NEW|T0NEW" "provider_changed|local||"; do
        IFS='|' read -r reason provider token team <<<"$change"
        stand_in '{"fault": "reset_after_acceptance"}'
        sends "$reason $TAG" "$SLACK" && becomes unknown
        admin PUT "/v1/workspaces/$SLACK" "$(jq -nc --arg provider "$provider" --arg token "$token" \
            --arg team "$team" --arg url "$SLACK_STAND_IN_URL/api" '{provider: $provider} +
            if $provider == "slack" then {token: $token, team_id: $team, api_base_url: $url} else {} end')"
        [[ $STATUS == 200 ]]
        is_parked "$reason" || { echo "$BODY" && false; }
        # Nothing was sent again, and a person settles it.
        sleep 1
        agent GET "/v1/message-requests/$ID"
        [[ $(field .status) == unknown && $(delivered "$reason $TAG") == 1 && -z $(outbox "$SLACK") ]]
        admin POST "/v1/message-requests/$ID/mark-sent" '{"provider_ts": "1.000001", "reason": "seen"}'
        [[ $STATUS == 200 && $(field .status) == sent ]]
    done
}

@test "slack: while no history can be read a message is looked for again, and found when one can" {
    slack xoxb-looks
    stand_in '{"fault": "reset_after_acceptance"}'
    stand_in '{"fault": "error", "code": "service_unavailable", "method": "conversations.history"}'
    sends "patience $TAG" "$SLACK" && becomes unknown
    local timer="owner = 'dispatch-worker' and ref_id = '$ID'"
    # Many looks have failed before this one.
    sql "update platform.timers set attempts = 50 where $timer"
    looks_fail service_unavailable
    # The token is refused: it may be another soon.
    stand_in '{"revoke": "xoxb-looks"}'
    look_now && looks_fail token_revoked
    agent GET "/v1/message-requests/$ID"
    [[ $(field .status) == unknown ]]
    stand_in '{"reinstate": "xoxb-looks"}'
    look_now && becomes sent 100
    [[ $(delivered "patience $TAG") == 1 ]]
    # After a day of it, it is left to a person. (What was seen in that channel says nothing of another.)
    another_channel "$SLACK-day" "$SLACK" C0DAY
    stand_in '{"fault": "reset_after_acceptance"}'
    stand_in '{"fault": "error", "code": "service_unavailable", "method": "conversations.history"}'
    sends "a day $TAG" "$SLACK-day" && becomes unknown
    sql "update dispatch.message_requests set unknown_since = now() - interval '25 hours' where id = '$ID'"
    is_parked service_unavailable
}
look_now() { sql "update platform.timers set due_at = now() where ref_id = '$ID'"; }
# looks_fail REASON: within 15 s a look for the request of ID did, and comes again in 5 minutes at most.
looks_fail() {
    local tenths=150
    while ((tenths-- > 0)); do
        [[ $(sql "select count(*) from platform.timers where ref_id = '$ID' and last_error like '%$1%'
            and due_at between now() and now() + interval '301 seconds'") != 1 ]] || return 0
        sleep 0.1
    done
    sql "select attempts, last_error, due_at - now() from platform.timers where ref_id = '$ID'"
    return 1
}
# Within 15 s the request of ID says why it was not looked for.
is_parked() {
    local tenths=150
    while ((tenths-- > 0)); do
        agent GET "/v1/message-requests/$ID"
        [[ $(field .error) != "not_looked_up: $1" ]] || return 0
        sleep 0.1
    done
    return 1
}

@test "every field and parameter of the published document says what it means" {
    local silent
    silent=$(curl -sS --max-time 20 "$DISPATCH_WORKER_URL/openapi.json" | jq -c '
        [paths as $p | select($p[-2]? == "properties") | getpath($p) as $field
         | select(($field | type) == "object" and ($field | has("description") | not))
         | $p | map(tostring) | join("/")]
        + [.paths | to_entries[] | .key as $path | .value[] | .parameters[]?
         | select((.description // "") == "") | "\($path) \(.name)"]')
    echo "$silent"
    [[ $silent == "[]" ]]
}
