#!/usr/bin/env bats
# Signed webhooks about outcomes, and the transport that posts messages to an endpoint of one's own.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

setup_file() { local_channel; }

hooks() { curl -sS --fail --max-time 5 "$SLACK_STAND_IN_URL/_hooks" | jq -c --arg path "/hook/$1" '[.items[] | select(.path == $path)]'; }

# has_hooks NAME COUNT [TENTHS]
has_hooks() {
    local tenths=${3:-80}
    while ((tenths-- > 0)); do
        [[ $(hooks "$1" | jq length) != "$2" ]] || return 0
        sleep 0.1
    done
    echo "wanted $2 at $1, found $(hooks "$1")"
    return 1
}

# signed HOOK SECRET: what was kept of a delivery bears our signature.
signed() {
    local id timestamp
    id=$(jq -r '.fields["webhook-id"]' <<<"$1")
    timestamp=$(jq -r '.fields["webhook-timestamp"]' <<<"$1")
    [[ $(jq -r '.fields["webhook-signature"]' <<<"$1") == "v1,$(
        { printf '%s.%s.' "$id" "$timestamp" && jq -rj .body <<<"$1"; } |
            openssl dgst -sha256 -hmac "$2" -binary | base64 -w 0)" ]]
}

@test "a webhook is told of outcomes, signed, and again until it was taken" {
    [[ -n $SLACK_STAND_IN_URL ]] || skip "SLACK_STANDIN_URL is not set"
    stand_in '{"reset": true}'
    stand_in '{"fault": "5xx", "method": "hook"}'
    local secret=planted-webhook-secret-$RANDOM
    admin PUT "/v1/webhooks/$TAG" "{\"url\": \"$SLACK_STAND_IN_URL/hook/$TAG\", \"secret\": \"$secret\",
        \"events\": [\"message_request.sent\", \"message_request.cancelled\"]}"
    [[ $STATUS == 201 && $(field .secret) == '***' ]]
    sends "told $TAG" && becomes sent
    has_hooks "$TAG" 2 150
    local first second
    first=$(hooks "$TAG" | jq -c '.[0]')
    second=$(hooks "$TAG" | jq -c '.[1]')
    [[ $(jq .refused <<<"$first") == true && $(jq .refused <<<"$second") == false ]]
    [[ $(jq -r '.fields["webhook-id"]' <<<"$first") == "$(jq -r '.fields["webhook-id"]' <<<"$second")" ]]
    signed "$first" "$secret" && signed "$second" "$secret"
    [[ $(jq -r '.body | fromjson | .type + " " + .data.id' <<<"$second") == "message_request.sent $ID" ]]
    admin GET "/v1/webhooks/$TAG"
    [[ $STATUS == 200 && $(field '.deliveries[0].status') == delivered && $(field '.deliveries[0].attempts') == 2 ]]
    [[ $BODY != *"$secret"* ]]
    admin DELETE "/v1/webhooks/$TAG"
    [[ $STATUS == 204 ]]
    admin GET "/v1/webhooks/$TAG"
    [[ $STATUS == 404 ]]
}

@test "a webhook is told of a workspace that refuses its token" {
    slack xoxb-told
    admin PUT "/v1/webhooks/$TAG" "{\"url\": \"$SLACK_STAND_IN_URL/hook/$TAG-paused\", \"secret\": \"0123456789abcdef\",
        \"events\": [\"workspace.paused\"]}"
    [[ $STATUS == 201 ]]
    stand_in '{"revoke": "xoxb-told"}'
    sends "refused $TAG" "$SLACK" && becomes retry_wait
    has_hooks "$TAG-paused" 1 100
    [[ $(hooks "$TAG-paused" | jq -r '.[0].body | fromjson | .type + " " + .data.code + " " + .data.reason') == "workspace.paused $SLACK token_revoked" ]]
    # Who reads the stream is told as well, once.
    [[ $(psql -qtA "$DATABASE_URL" -c "select count(*) from platform.outbox where kind = 'event'
        and target = 'workspace.paused' and key = '$SLACK' and payload->>'reason' = 'token_revoked'") == 1 ]]
    admin DELETE "/v1/webhooks/$TAG"
    [[ $STATUS == 204 ]]
}

@test "an endpoint that took nothing for five days is disabled, until it is put again" {
    [[ -n $SLACK_STAND_IN_URL ]] || skip "SLACK_STANDIN_URL is not set"
    stand_in '{"reset": true}'
    stand_in '{"fault": "5xx", "method": "hook", "count": 9}'
    local body="{\"url\": \"$SLACK_STAND_IN_URL/hook/$TAG-dead\", \"secret\": \"planted-webhook-secret\",
        \"events\": [\"message_request.sent\"]}"
    admin PUT "/v1/webhooks/$TAG-dead" "$body"
    sends dead && becomes sent
    has_hooks "$TAG-dead" 1
    psql -q "$DATABASE_URL" -c "update dispatch.webhooks set failing_since = now() - interval '6 days'
        where code = '$TAG-dead'"
    has_hooks "$TAG-dead" 2 100
    local tenths=50
    while ((tenths-- > 0)); do
        admin GET "/v1/webhooks/$TAG-dead"
        [[ $(field .disabled_at) == null ]] || break
        sleep 0.1
    done
    [[ $(field .disabled_reason) == http_503 && $(field '.deliveries[0].status') == failed ]]
    admin PUT "/v1/webhooks/$TAG-dead" "$body"
    [[ $STATUS == 200 && $(field .disabled_at) == null ]]
    admin DELETE "/v1/webhooks/$TAG-dead"
    [[ $STATUS == 204 ]]
}

@test "what waits for an endpoint that is disabled fails in batches, and nothing of it is taken" {
    admin PUT "/v1/webhooks/$TAG-full" '{"url": "https://hooks.example.com/", "secret": "0123456789abcdef",
        "events": ["workspace.paused"]}'
    [[ $STATUS == 201 ]]
    # In one transaction that is taken back: the process that cleans up sees nothing of it.
    run psql -qtAX -v ON_ERROR_STOP=1 "$DATABASE_URL" <<SQL
begin;
insert into dispatch.webhook_deliveries (tenant_id, webhook_code, event, body, next_attempt_at)
  select tenant_id, code, 'workspace.paused', '{}', now() from dispatch.webhooks,
         generate_series(1, 1201) where code = '$TAG-full';
update dispatch.webhooks set failing_since = now() - interval '6 days' where code = '$TAG-full';
select dispatch.finish_webhook(tenant_id, id, false, 503, 'http_503', interval '1 s', interval '5 days')
  from dispatch.webhook_deliveries where webhook_code = '$TAG-full' limit 1;
select count(*) from dispatch.webhook_deliveries
 where webhook_code = '$TAG-full' and status = 'failed' and finished_at is not null;
select count(*) from dispatch.take_webhooks(2000, 2000, 2000, '{}', '{}', interval '10 s')
 where webhook_code = '$TAG-full';
select dispatch.clean_refused(500);
select dispatch.clean_refused(500);
select dispatch.clean_refused(500);
rollback;
SQL
    echo "$output"
    [[ $status -eq 0 && $output == $'disabled\n500\n0\n500\n201\n0' ]]
    admin DELETE "/v1/webhooks/$TAG-full"
    [[ $STATUS == 204 ]]
}

@test "an endpoint that hangs holds up neither its tenant's others nor other tenants" {
    [[ -n $SLACK_STAND_IN_URL ]] || skip "SLACK_STANDIN_URL is not set"
    stand_in '{"reset": true}'
    local n slow=$TAG-slow other=$TAG-prompt key began
    # hook NAME KEY: an endpoint that hears of what is sent.
    hook() { ask "$2" PUT "/v1/webhooks/$1" "{\"url\": \"$SLACK_STAND_IN_URL/hook/$1\",
        \"secret\": \"planted-webhook-secret\", \"events\": [\"message_request.sent\"]}" && [[ $STATUS == 201 ]]; }
    key=$("$SWITCHBOARD_BIN/messaging" keys create --tenant "$other" --role admin | tail -n 1)
    ask "$key" PUT /v1/workspaces/w '{"provider": "local"}'
    ask "$key" PUT /v1/channels/c '{"workspace_code": "w", "provider_channel_id": "C"}'
    for n in 1 2 3; do
        stand_in "{\"fault\": \"hang\", \"method\": \"/hook/$slow-$n\", \"count\": 1000}"
        hook "$slow-$n" "$SWITCHBOARD_ADMIN_KEY"
    done
    hook "$other" "$key"
    for n in {1..10}; do sends "slow $n"; done
    becomes sent
    hang() { [[ $(hooks "$slow-1" | jq length) -ge 2 ]]; }
    for n in {1..50}; do ! hang || break; sleep 0.1; done
    hang
    # Three of them hang with all that one tenant may have under way.
    began=$SECONDS
    ask "$key" POST /v1/message-requests '{"channel_code": "c", "text": "prompt"}'
    [[ $STATUS == 202 ]]
    has_hooks "$other" 1 50
    ((SECONDS - began < 8))
    for n in 2 3; do admin DELETE "/v1/webhooks/$slow-$n"; done
    # One that hangs leaves its tenant's others their places.
    hook "$TAG-quick" "$SWITCHBOARD_ADMIN_KEY"
    sleep 11
    sends "quick" && becomes sent
    has_hooks "$TAG-quick" 1 50
    admin DELETE "/v1/webhooks/$slow-1"
    admin DELETE "/v1/webhooks/$TAG-quick"
}

@test "webhooks cannot reach inside: every form of an inner address is refused" {
    local url
    while read -r url; do
        admin PUT "/v1/webhooks/$TAG-inner" "{\"url\": \"$url\", \"secret\": \"0123456789abcdef\", \"events\": [\"message_request.sent\"]}"
        [[ $STATUS == 422 && $(field '.errors[0].pointer') == /url ]] || { echo "$url: $BODY" && return 1; }
    done <<'URLS'
http://example.com/hook
https://127.0.0.1/hook
https://2130706433/hook
https://0x7f.0.0.1/hook
https://0177.0.0.1/hook
https://127.1/hook
https://10.0.0.1/hook
https://169.254.169.254/latest/meta-data
https://172.16.0.1/hook
https://192.168.1.1/hook
https://100.64.0.1/hook
https://[::1]/hook
https://[::ffff:10.0.0.1]/hook
https://[fd00::1]/hook
https://[fe80::1]/hook
https://user:pass@example.com/hook
https://example.com:8443/hook
ftp://example.com/hook
URLS
    admin PUT "/v1/webhooks/$TAG-inner" '{"url": "https://example.com/h", "events": ["message_request.sent"]}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /secret ]]
    admin PUT "/v1/webhooks/$TAG-inner" '{"url": "https://example.com/h", "secret": "0123456789abcdef", "events": ["all"]}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /events ]]
}

@test "the webhook transport posts messages, signed with the workspace's token" {
    [[ -n $SLACK_STAND_IN_URL ]] || skip "SLACK_STANDIN_URL is not set"
    stand_in '{"reset": true}'
    admin PUT "/v1/workspaces/$TAG-hook" "{\"provider\": \"webhook\", \"token\": \"planted-transport-secret\", \"api_base_url\": \"$SLACK_STAND_IN_URL/hook/$TAG-in\"}"
    [[ $STATUS == 201 ]]
    another_channel "$TAG-hook" "$TAG-hook" room-7 '{"unknown_policy": "park"}'
    sends "posted $TAG" "$TAG-hook" && becomes sent
    [[ $(field .provider_ts) == hook.1 ]]
    local hook
    hook=$(hooks "$TAG-in" | jq -c '.[0]')
    signed "$hook" planted-transport-secret
    [[ $(jq -r '.body | fromjson | .channel + " " + .text' <<<"$hook") == "room-7 posted $TAG" ]]
    stand_in '{"fault": "5xx", "method": "hook"}'
    sends "unclear $TAG" "$TAG-hook" && becomes unknown
    [[ $(field .error) == http_503 ]]
}
