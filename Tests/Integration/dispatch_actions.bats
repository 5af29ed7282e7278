#!/usr/bin/env bats
# What operators and callers do about message requests: pauses, cancelling, sending again, threads,
# templates, order.
# shellcheck disable=SC2030,SC2031,SC2153

load dispatch_support

setup_file() { local_channel; }

# held CODE [JSON members of the pause]: a channel of its own, paused; sets PAUSE.
held() {
    another_channel "$1" "$LOCAL" C0HELD '{"rate": {"per_second": 20, "burst": 1}}'
    admin POST /v1/pauses "$(jq -nc --arg code "$1" --argjson more "${2:-{\}}" \
        '{scope: {kind: "channel", code: $code}, reason: "the test holds it"} + $more')"
    [[ $STATUS == 201 ]]
    PAUSE=$(field .id)
}
released() {
    admin DELETE "/v1/pauses/$PAUSE"
    [[ $STATUS == 200 && $(field .ended_at) != null ]]
}

@test "a pause holds what waits, names its author, and lets it go" {
    held "$TAG-held"
    sends held "$TAG-held"
    agent GET /v1/pauses
    [[ $(jq -r --arg id "$PAUSE" '.items[] | select(.id == $id) | .reason' <<<"$BODY") == "the test holds it" ]]
    [[ $(jq -r --arg id "$PAUSE" '.items[] | select(.id == $id) | .author' <<<"$BODY") != null ]]
    never sent 15
    [[ $(field .error) == "channel_paused: the test holds it" && $(field '.attempts | length') == 0 ]]
    # Nobody looks at it again and again meanwhile.
    [[ $(psql -qtAX "$DATABASE_URL" -c "select next_attempt_at > now() + interval '5 minutes'
        from dispatch.message_requests where id = '$ID'") == t ]]
    released
    becomes sent
    admin DELETE "/v1/pauses/$PAUSE"
    [[ $STATUS == 404 ]]
}

@test "what the pause of a workspace holds goes when its channel moves to another workspace" {
    admin PUT "/v1/workspaces/$TAG-left" '{"provider": "local"}'
    another_channel "$TAG-moving" "$TAG-left" C0MOVING
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"workspace\", \"code\": \"$TAG-left\"}, \"reason\": \"left\"}"
    [[ $STATUS == 201 ]]
    PAUSE=$(field .id)
    sends moving "$TAG-moving"
    held_up() { agent GET "/v1/message-requests/$ID" && [[ $(field .error) == "workspace_paused: left" ]]; }
    for _ in {1..50}; do ! held_up || break; sleep 0.1; done
    held_up
    another_channel "$TAG-moving" "$LOCAL" C0MOVED
    becomes sent
    released
}

@test "a pause ends by itself, and its time does not use a deadline up" {
    held "$TAG-expiring" "{\"expires_at\": \"$(date -u -d '+4 seconds' +%FT%TZ)\"}"
    sends "in time" "$TAG-expiring" "{\"deadline_at\": \"$(date -u -d '+2 seconds' +%FT%TZ)\"}"
    becomes sent 120
    held "$TAG-using" '{"uses_deadlines": true}'
    sends "not in time" "$TAG-using" "{\"deadline_at\": \"$(date -u -d '+2 seconds' +%FT%TZ)\"}"
    becomes expired 80
    sends "keeps its deadline" "$TAG-using" '{"deadline_at": "2099-01-01T00:00:00Z"}'
    released
    becomes sent
    [[ $(field .deadline_at) == 2099-01-01T00:00:00.000Z ]]
}

@test "pauses are checked: scope, code, reason, role" {
    admin POST /v1/pauses '{"scope": {"kind": "channel"}, "reason": "x"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /scope ]]
    admin POST /v1/pauses '{"scope": {"kind": "tenant"}}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /reason ]]
    admin POST /v1/pauses '{"scope": {"kind": "all"}, "reason": "x"}'
    [[ $STATUS == 403 ]]
    agent POST /v1/pauses '{"scope": {"kind": "tenant"}, "reason": "x"}'
    [[ $STATUS == 403 ]]
}

@test "urgent messages leave first, what waits long overtakes" {
    held "$TAG-order"
    local priority
    for priority in 4 3 2 1 0; do sends "p$priority" "$TAG-order" "{\"priority\": $priority}"; done
    # This one has waited for three hours.
    sends old "$TAG-order" '{"priority": 4}'
    psql -q "$DATABASE_URL" -c "update dispatch.message_requests
        set sort_key = sort_key - interval '3 hours' where id = '$ID'"
    becomes retry_wait 3 || true
    released
    local tenths=100
    while ((tenths-- > 0)) && [[ $(outbox "$TAG-order" | wc -l) != 6 ]]; do sleep 0.1; done
    local order
    order=$(outbox "$TAG-order" | tr '\n' ' ')
    echo "order: $order"
    # Slots of one channel go to whoever is due first; the old one and the urgent one lead.
    [[ ${order%% *} == old || ${order%% *} == p0 ]]
    [[ $order == *p0*p4* && $order == *old*p4* ]]
}

@test "messages of a thread leave in order, below their root" {
    held "$TAG-thread"
    local n
    for n in 1 2 3; do sends "thread $n" "$TAG-thread" '{"thread_key": "order-7"}'; done
    released
    becomes sent 100
    agent GET "/v1/local-outbox?channel_code=$TAG-thread"
    [[ $(jq -c '[.items | reverse | .[].text]' <<<"$BODY") == '["thread 1","thread 2","thread 3"]' ]]
    [[ $(jq '.items | reverse | .[0].thread_ts == null and .[1].thread_ts == .[0].ts
        and .[2].thread_ts == .[0].ts' <<<"$BODY") == true ]]
}

@test "slack: a thread whose root failed begins anew, or fails with it" {
    slack
    stand_in '{"fault": "error", "code": "no_text"}'
    sends "root $TAG" "$SLACK" '{"thread_key": "k1"}' && becomes failed
    sends "second $TAG" "$SLACK" '{"thread_key": "k1"}' && becomes sent
    local ts
    ts=$(field .provider_ts)
    [[ $(field .thread_ts) == null ]]
    sends "third $TAG" "$SLACK" '{"thread_key": "k1"}' && becomes sent
    [[ $(field .thread_ts) == "$ts" ]]
    none_violated
    stand_in '{"fault": "error", "code": "no_text"}'
    sends "root 2 $TAG" "$SLACK" '{"thread_key": "k2"}' && becomes failed
    sends "reply 2 $TAG" "$SLACK" '{"thread_key": "k2", "on_root_failed": "fail"}' && becomes failed
    [[ $(field .error) == root_failed && $(field '.attempts | length') == 0 ]]
    sends "into nothing" "$SLACK" '{"thread_ts": "1.000009"}' && becomes failed
    [[ $(field .error) == thread_not_found ]]
}

@test "slack: nothing of a thread passes its root, however long that takes" {
    slack
    local n=0 fault follower root sent
    for fault in '{"fault": "slow", "delay_ms": 1500}' '{"fault": "ratelimited", "retry_after": 2}' \
        '{"fault": "error", "code": "service_unavailable"}' '{"fault": "reset_before_acceptance"}'; do
        n=$((n + 1))
        stand_in "$fault"
        sends "order $n $TAG root" "$SLACK" "{\"thread_key\": \"order-$n-$TAG\"}"
        root=$ID
        # They are due at once, and more urgent.
        for follower in 1 2 3; do
            sends "order $n $TAG follower $follower" "$SLACK" "{\"thread_key\": \"order-$n-$TAG\", \"priority\": 0}"
        done
        becomes sent 250
        sent=$(posts "order $n $TAG" | jq -rs --arg tag "order $n $TAG " 'map(.text | ltrimstr($tag)) | join(",")')
        [[ $sent == "root,follower 1,follower 2,follower 3" ]] || { echo "$fault: $sent" && false; }
        ID=$root
        becomes sent 1
        [[ $(posts "order $n $TAG follower" | jq -rs 'map(.thread_ts) | unique | join(",")') == "$(field .provider_ts)" ]]
    done
}

@test "slack: below a first message that is a reply the others answer what it answers" {
    slack
    sends "topic $TAG" "$SLACK" && becomes sent
    local topic key
    topic=$(field .provider_ts)
    key="{\"thread_key\": \"reply-$TAG\"}"
    sends "first $TAG" "$SLACK" "$(jq -c --arg ts "$topic" '. + {thread_ts: $ts}' <<<"$key")" && becomes sent
    [[ $(field .provider_ts) != "$topic" ]]
    sends "second $TAG" "$SLACK" "$key" && becomes sent
    [[ $(field .thread_ts) == "$topic" ]]
    [[ $(posts "second $TAG" | jq -r .thread_ts) == "$topic" ]]
}

@test "slack: who says that a thread's root was sent says under which id, and the others go below it" {
    slack xoxb-good C0BATS park
    local root key="{\"thread_key\": \"marked-$TAG\"}"
    stand_in '{"fault": "reset_before_acceptance"}'
    sends "root $TAG" "$SLACK" "$key" && becomes unknown
    root=$ID
    admin POST "/v1/message-requests/$root/mark-sent" '{"reason": "seen"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /provider_ts ]]
    sends "below $TAG" "$SLACK" "$key" && never sent 15
    stand_in '{"message": {"channel": "C0BATS", "ts": "1700000000.000007", "text": "root"}}'
    admin POST "/v1/message-requests/$root/mark-sent" '{"reason": "seen", "provider_ts": "1700000000.000007"}'
    [[ $STATUS == 200 && $(field .status) == sent ]]
    becomes sent 100
    [[ $(posts "below $TAG" | jq -r .thread_ts) == 1700000000.000007 ]]
    # Where nobody waits below it the id may stay unknown.
    stand_in '{"fault": "reset_before_acceptance"}'
    sends "alone $TAG" "$SLACK" && becomes unknown
    admin POST "/v1/message-requests/$ID/mark-sent" '{"reason": "seen"}'
    [[ $STATUS == 200 && $(field .status) == sent ]]
}

@test "slack: every body that is sent is one that Slack's reference pages allow" {
    slack
    local blocks='[{"type": "header", "text": {"type": "plain_text", "text": "h"}}, {"type": "divider"},
        {"type": "section", "block_id": "b", "text": {"type": "mrkdwn", "text": "t"}, "fields": [{"type": "plain_text", "text": "f"}]},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "c"}, {"type": "image", "image_url": "https://example.com/i.png", "alt_text": "i"}]},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "b"}, "action_id": "a"}]}]'
    sends "text $TAG" "$SLACK" && becomes sent
    sends "blocks $TAG" "$SLACK" "{\"blocks\": $blocks}" && becomes sent
    sends "root $TAG" "$SLACK" '{"thread_key": "shapes"}' && becomes sent
    sends "reply $TAG" "$SLACK" "{\"thread_key\": \"shapes\", \"blocks\": $blocks}" && becomes sent
    admin PUT "/v1/templates/$TAG-shapes" '{"text": "Hello {{name}}", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "{{name}}"}}]}'
    agent POST /v1/message-requests "{\"channel_code\": \"$SLACK\", \"template_code\": \"$TAG-shapes\", \"variables\": {\"name\": \"Ann\"}}"
    [[ $STATUS == 202 ]]
    ID=$(field .id)
    becomes sent
    [[ $(calls chat.postMessage) == 5 ]]
    none_violated
    # Who looks finds what is not allowed.
    local body
    while read -r body; do
        stand_in '{"reset": true}'
        curl -sS --max-time 5 -H 'Content-Type: application/json' -H 'Authorization: Bearer xoxb-good' \
            -d "$body" "$SLACK_STAND_IN_URL/api/chat.postMessage" >/dev/null
        ! none_violated >/dev/null || { echo "nothing found in $body" && return 1; }
    done <<'BODIES'
{"channel": "C0X"}
{"channel": "C0X", "text": 7}
{"channel": "C0X", "text": "x", "mrkdwn": "yes"}
{"channel": "C0X", "text": "x", "priority": 1}
{"channel": "C0X", "text": "x", "thread_ts": "1503435956"}
{"channel": "C0X", "text": "x", "metadata": {"event_type": "x"}}
{"channel": "C0X", "text": "x", "blocks": []}
{"channel": "C0X", "text": "x", "blocks": [{"type": "paragraph"}]}
{"channel": "C0X", "text": "x", "blocks": [{"type": "section"}]}
{"channel": "C0X", "text": "x", "blocks": [{"type": "section", "text": "plain"}]}
{"channel": "C0X", "text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}
{"channel": "C0X", "text": "x", "blocks": [{"type": "context", "elements": []}]}
{"channel": "C0X", "text": "x", "blocks": [{"type": "divider", "block_id": "b"}, {"type": "divider", "block_id": "b"}]}
BODIES
    stand_in '{"reset": true}'
}

@test "slack: a queued message goes where its channel points when it is sent" {
    slack xoxb-first
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"workspace\", \"code\": \"$SLACK\"}, \"reason\": \"moving\"}"
    local pause
    pause=$(field .id)
    sends "moved $TAG" "$SLACK" && becomes dispatched
    another_channel "$SLACK" "$SLACK" C0MOVED
    # The old token does not work any more; the job knows of neither.
    stand_in '{"revoke": "xoxb-first"}'
    admin PUT "/v1/workspaces/$SLACK" \
        "{\"provider\": \"slack\", \"token\": \"xoxb-second\", \"api_base_url\": \"$SLACK_STAND_IN_URL/api\"}"
    admin DELETE "/v1/pauses/$pause"
    becomes sent
    [[ $(posts "moved $TAG" | jq -r .channel) == C0MOVED ]]
}

@test "slack: cancelled while it is being sent: the answer says what came of it" {
    slack
    stand_in '{"fault": "slow", "delay_ms": 1500}'
    sends "slow $TAG" "$SLACK" && becomes sending
    admin POST "/v1/message-requests/$ID/cancel" '{"reason": "too late"}'
    [[ $STATUS == 409 && $(field .code) == too_late ]]
    becomes sent
    stand_in '{"fault": "reset_before_acceptance"}'
    sends "lost $TAG" "$SLACK" && becomes unknown
    admin POST "/v1/message-requests/$ID/cancel"
    [[ $STATUS == 202 && $(field .status) == unknown && $(field .cancel_requested) == true ]]
    becomes cancelled 200
    [[ $(delivered "lost $TAG") == 0 ]]
}

@test "a cancellation key stops all that carries it" {
    held "$TAG-cancel"
    local n
    for n in 1 2 3; do sends "cancel $n" "$TAG-cancel" "{\"cancellation_key\": \"$TAG\"}"; done
    sends keeps "$TAG-cancel"
    local kept=$ID
    admin POST /v1/message-requests/cancel "{\"cancellation_key\": \"$TAG\", \"reason\": \"not any more\"}"
    [[ $STATUS == 200 && $BODY == *'"cancelled":3'* ]]
    admin POST /v1/message-requests/cancel "{\"cancellation_key\": \"$TAG\"}"
    [[ $STATUS == 200 && $BODY == *'"cancelled":0'* ]]
    released
    ID=$kept
    becomes sent
    [[ $(outbox "$TAG-cancel") == keeps ]]
}

@test "what was sent is sent again only by force, with a reason, and audited" {
    sends "again $TAG" && becomes sent
    admin POST "/v1/message-requests/$ID/resend"
    [[ $STATUS == 409 && $(field .code) == needs_force ]]
    admin POST "/v1/message-requests/$ID/resend" '{"force": true}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /reason ]]
    admin POST "/v1/message-requests/$ID/resend" '{"force": true, "reason": "the customer lost it"}'
    [[ $STATUS == 200 && $(field .status) == accepted && $(field .generation) == 2 ]]
    becomes sent
    [[ $(field '.attempts | length') == 2 && $(outbox "$LOCAL" | grep -cx "again $TAG") == 2 ]]
    [[ $(psql -qtA "$DATABASE_URL" -c "select reason from platform.audit
        where action = 'message_request.resend' and subject = '$ID'") == "the customer lost it" ]]
}

@test "retry tries at once what waits, and begins anew what failed" {
    sends later "$LOCAL" '{"send_at": "2099-01-01T00:00:00Z"}' && becomes dispatched
    admin POST "/v1/message-requests/$ID/retry"
    [[ $STATUS == 200 ]]
    becomes sent
    admin POST "/v1/message-requests/$ID/retry"
    [[ $STATUS == 409 && $(field .code) == not_waiting ]]
}

# in_seconds N: a deadline, as JSON members.
in_seconds() { jq -nc --arg at "$(date -u -d "+$1 seconds" +%FT%TZ)" '{deadline_at: $at}'; }
# fails_with DEADLINE: a request with it that Slack has refused; sets ID.
fails_with() {
    stand_in '{"fault": "error", "code": "no_text"}'
    sends "deadline $TAG" "$SLACK" "$1" && becomes failed
}

@test "slack: a deadline holds for what is tried again, and what is past it is sent by force alone" {
    slack
    local deadline
    fails_with "$(in_seconds 3600)"
    deadline=$(field .deadline_at)
    admin POST "/v1/message-requests/$ID/retry"
    [[ $STATUS == 200 && $deadline != null && $(field .deadline_at) == "$deadline" ]]
    becomes sent
    # Its time stands still while a pause holds it.
    fails_with "$(in_seconds 4)"
    admin POST /v1/pauses "{\"scope\": {\"kind\": \"channel\", \"code\": \"$SLACK\"}, \"reason\": \"a while\"}"
    local pause
    pause=$(field .id)
    admin POST "/v1/message-requests/$ID/retry"
    [[ $STATUS == 200 ]]
    sleep 5
    admin DELETE "/v1/pauses/$pause"
    becomes sent 100
    fails_with "$(in_seconds 3)"
    sleep 4
    admin POST "/v1/message-requests/$ID/retry"
    [[ $STATUS == 409 && $(field .code) == deadline_passed ]]
    admin POST "/v1/message-requests/$ID/resend"
    [[ $STATUS == 409 && $(field .code) == deadline_passed ]]
    # A replay of many does not send it either; it expires, and may be replayed as such.
    admin POST /v1/message-requests/replay "{\"filter\": {\"channel_code\": \"$SLACK\", \"status\": \"failed\"}}"
    [[ $STATUS == 202 && $(field .replayed) == 1 ]]
    becomes expired
    admin POST "/v1/message-requests/$ID/resend" '{"force": true, "reason": "better late than never"}'
    [[ $STATUS == 200 && $(field .deadline_at) == null ]]
    becomes sent
    sends "late $TAG" "$SLACK" '{"deadline_at": "2020-01-01T00:00:00Z"}' && becomes expired
    admin POST /v1/message-requests/replay "{\"filter\": {\"channel_code\": \"$SLACK\", \"status\": \"expired\"}}"
    [[ $STATUS == 202 && $(field .replayed) == 1 ]]
    becomes sent
}

@test "slack: what failed is shown by cause, and replayed by a filter" {
    slack
    stand_in '{"fault": "error", "code": "is_archived", "count": 3}'
    local n
    for n in 1 2 3; do sends "replay $TAG $n" "$SLACK" && becomes failed; done
    agent GET "/v1/dead-letters?channel_code=$SLACK"
    [[ $STATUS == 200 && $(field '.items[0].count') == 3 && $(field '.items[0].error') == is_archived ]]
    local filter="{\"channel_code\": \"$SLACK\", \"error\": \"is_archived\"}"
    admin POST /v1/message-requests/replay "{\"filter\": $filter, \"dry_run\": true}"
    [[ $STATUS == 200 && $(field .count) == 3 && $(field '.causes | length') == 1 ]]
    agent GET "/v1/message-requests?channel_code=$SLACK&status=failed"
    [[ $(field '.items | length') == 3 ]]
    admin POST /v1/message-requests/replay "{\"filter\": $filter, \"per_second\": 1, \"reason\": \"unarchived\"}"
    [[ $STATUS == 202 && $(field .replayed) == 3 ]]
    becomes sent 100
    [[ $(field .generation) == 2 ]]
    for n in 1 2 3; do [[ $(delivered "replay $TAG $n") == 1 ]]; done
    # One a second: the last one left two seconds after the first.
    [[ $(posts "replay $TAG" | jq -s '(.[2].ts | tonumber | floor) - (.[0].ts | tonumber | floor)') -ge 1 ]]
    admin POST /v1/message-requests/replay '{"filter": {"status": "sent"}}'
    [[ $STATUS == 422 ]]
}

@test "in quiet hours only the most urgent leave" {
    another_channel "$TAG-quiet" "$LOCAL" C0QUIET \
        '{"quiet_hours": {"tz": "Asia/Tokyo", "from": "00:00", "to": "00:00"}}'
    [[ $(field .quiet_hours.tz) == Asia/Tokyo ]]
    sends urgent "$TAG-quiet" '{"priority": 0}' && becomes sent
    sends quiet "$TAG-quiet"
    never sent 15
    [[ $(field .error) == quiet_hours ]]
    another_channel "$TAG-quiet" "$LOCAL" C0QUIET '{"quiet_hours": {}}'
    [[ $(field .quiet_hours) == null ]]
    becomes sent
    admin PUT "/v1/channels/$TAG-quiet" "{\"workspace_code\": \"$LOCAL\", \"provider_channel_id\": \"C\",
        \"quiet_hours\": {\"tz\": \"Europe/Nowhere\", \"from\": \"22:00\", \"to\": \"07:00\"}}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /quiet_hours/tz ]]
}

@test "quiet hours go by the day of the week and by dates, and end at the first moment that is allowed" {
    local berlin='"tz": "Europe/Berlin"' quiet
    # quiet_at TIME: for how long the channel is quiet from then on; nothing when it is not.
    quiet_at() { psql -qtAX "$DATABASE_URL" -c "select dispatch.quiet_ms(c, '$1') / 1000
        from dispatch.channels c where c.code = '$TAG-week'"; }
    # Nights of workdays, the whole weekend; a holiday on a Thursday, and a Saturday that is a workday.
    quiet='{"quiet_hours": {'"$berlin"', "windows": [
        {"day": "mon", "from": "20:00", "to": "07:00"}, {"day": "fri", "from": "20:00", "to": "00:00"},
        {"day": "sat", "from": "00:00", "to": "00:00"}, {"day": "sun", "from": "00:00", "to": "00:00"},
        {"day": "mon", "from": "00:00", "to": "07:00"}],
        "exceptions": [{"date": "2026-12-24", "windows": [{"from": "12:00", "to": "00:00"}]},
                       {"date": "2026-11-14", "windows": []}]}}'
    another_channel "$TAG-week" "$LOCAL" C0WEEK "$quiet"
    [[ $(field '.quiet_hours.windows | length') == 5 && $(field '.quiet_hours.exceptions[1].date') == 2026-11-14 ]]
    # From Friday evening to Monday at seven, whichever window that is.
    [[ $(quiet_at '2026-11-20 21:00+01') == $((58 * 3600)) ]]
    [[ $(quiet_at '2026-11-20 19:59+01') == "" && $(quiet_at '2026-11-23 07:00+01') == "" ]]
    # A Monday's night belongs to it; Tuesday's is not quiet.
    [[ $(quiet_at '2026-11-24 06:00+01') == 3600 && $(quiet_at '2026-11-24 21:00+01') == "" ]]
    [[ $(quiet_at '2026-12-24 13:00+01') == $((11 * 3600)) && $(quiet_at '2026-12-24 11:00+01') == "" ]]
    # The Saturday that is none: Friday's window ends at midnight.
    [[ $(quiet_at '2026-11-13 23:00+01') == 3600 && $(quiet_at '2026-11-14 12:00+01') == "" ]]
    # The clock goes back on the night to Sunday, 25 October, and forward on 29 March: an hour more, one less.
    [[ $(quiet_at '2026-10-24 00:00+02') == $((56 * 3600)) && $(quiet_at '2026-03-28 00:00+01') == $((54 * 3600)) ]]
    # Every day alike, as before; and what is neither is refused.
    another_channel "$TAG-week" "$LOCAL" C0WEEK '{"quiet_hours": {'"$berlin"', "from": "22:00", "to": "07:00"}}'
    [[ $(quiet_at '2026-11-24 23:00+01') == $((8 * 3600)) && $(field .quiet_hours.windows) == null ]]
    for quiet in '"windows": []' "$berlin" "$berlin, \"from\": \"22:00\"" \
        "$berlin, \"windows\": [{\"day\": \"odd\", \"from\": \"22:00\", \"to\": \"23:00\"}]" \
        "$berlin, \"windows\": [], \"exceptions\": [{\"date\": \"2026-13-01\", \"windows\": []}]"; do
        admin PUT "/v1/channels/$TAG-week" "{\"workspace_code\": \"$LOCAL\", \"provider_channel_id\": \"C\",
            \"quiet_hours\": {$quiet}}"
        [[ $STATUS == 422 && $(field '.errors[0].pointer') == /quiet_hours/* ]] || { echo "$quiet: $BODY" && return 1; }
    done
    # A message waits for its window's end and then goes.
    local there
    there=$(date -u -d '+4 seconds' +%H:%M:%S)
    another_channel "$TAG-week" "$LOCAL" C0WEEK "{\"quiet_hours\": {\"tz\": \"UTC\", \"windows\": [
        {\"day\": \"mon\", \"from\": \"00:00\", \"to\": \"00:00\"}]}}"
    psql -q "$DATABASE_URL" -c "update dispatch.channels set quiet_windows = jsonb_build_array(jsonb_build_object(
        'day', to_char(now() at time zone 'utc', 'dy'), 'from', '00:00', 'to', '$there')) where code = '$TAG-week'"
    sends "quiet week" "$TAG-week"
    never sent 15
    becomes sent 60
}

@test "templates: versions stay, variables are strict, a preview shows the message" {
    local path=/v1/templates/$TAG-t
    admin PUT "$path" '{"text": "Hello {{name}}, order {{ order }}."}'
    [[ $STATUS == 201 && $(field .version) == 1 && $(jq -c .variables <<<"$BODY") == '["name","order"]' ]]
    agent POST "$path/preview" '{"variables": {"name": "<Ann>", "order": 7}}'
    [[ $STATUS == 200 && $(field .text) == "Hello &lt;Ann&gt;, order 7." ]]
    agent POST "$path/preview" '{"variables": {"name": "Ann"}}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /variables/order ]]
    agent POST "$path/preview" '{"variables": {"name": "Ann", "order": 7, "extra": 1}}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /variables/extra ]]
    agent POST /v1/message-requests "{\"channel_code\": \"$LOCAL\", \"template_code\": \"$TAG-t\", \"variables\": {\"name\": \"Ann\"}}"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /variables/order ]]
    agent POST /v1/message-requests "{\"channel_code\": \"$LOCAL\", \"template_code\": \"$TAG-t\", \"variables\": {\"name\": \"Ann\", \"order\": \"$TAG\"}, \"send_at\": \"$(date -u -d '+2 seconds' +%FT%TZ)\"}"
    [[ $STATUS == 202 && $(field .template.version) == 1 ]]
    ID=$(field .id)
    admin PUT "$path" '{"blocks": [[]], "text": "x"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /blocks/0 ]]
    admin PUT "$path" '{"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "{{name}}"}}]}'
    [[ $STATUS == 200 && $(field .version) == 2 ]]
    agent GET "$path?version=1"
    [[ $(field .text) == "Hello {{name}}, order {{ order }}." ]]
    becomes sent 80
    outbox "$LOCAL" | grep -qx "Hello Ann, order $TAG."
    admin PUT "$path" '{"text": "Hello {{name"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /text ]]
    agent POST /v1/message-requests "$(jq -nc --arg channel "$LOCAL" --arg template "$TAG-t" \
        '{channel_code: $channel, template_code: $template, variables: {name: ("x" * 3001)}}')"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /blocks/0/text/text ]]
}

@test "Slack's limits are checked at accept, each with its pointer" {
    slack
    agent POST /v1/message-requests "$(jq -nc --arg channel "$SLACK" '{channel_code: $channel, text: ("x" * 4001)}')"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /text ]]
    agent POST /v1/message-requests "$(jq -nc --arg channel "$LOCAL" '{channel_code: $channel, text: ("x" * 4001)}')"
    [[ $STATUS == 202 ]]
    agent POST /v1/message-requests "$(jq -nc --arg channel "$SLACK" '{channel_code: $channel, blocks:
        [{type: "header", text: {type: "plain_text", text: ("x" * 151)}}]}')"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /blocks/0/text/text ]]
    agent POST /v1/message-requests "$(jq -nc --arg channel "$SLACK" '{channel_code: $channel, blocks:
        [range(4) | {type: "section", text: {type: "mrkdwn", text: ("x" * 2500)}}]}')"
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /blocks ]]
    sends "$(printf 'y%.0s' {1..4000})" "$SLACK" && becomes sent
}

@test "queues and workers are shown" {
    sends counted && becomes sent
    agent GET /v1/queues
    [[ $STATUS == 200 && $(field '.items[0].tenant') == "$SWITCHBOARD_TENANT" ]]
    [[ $(field '.items[0].completed') -ge 1 && $(field '.items[0].waiting') -ge 0 ]]
    agent GET "/v1/queues/$SWITCHBOARD_TENANT/jobs?state=completed&limit=1"
    [[ $STATUS == 200 && $(field '.items[0].status') == sent ]]
    agent GET "/v1/queues/$SWITCHBOARD_TENANT/jobs?state=odd"
    [[ $STATUS == 422 ]]
    agent GET /v1/queues/somebody-else/jobs
    [[ $STATUS == 404 ]]
    agent GET /v1/workers
    [[ $STATUS == 200 && $(field '.items | length') -ge 1 && $(field '.items[0].heartbeat_age_ms') -lt 60000 ]]
    admin PUT /v1/tenant/dispatch-policy '{"retention_days": 30}'
    [[ $STATUS == 200 && $(field .retention_days) == 30 ]]
    agent GET /v1/tenant/dispatch-policy
    [[ $(field .retention_days) == 30 ]]
}

@test "a process that sends is paused, drains and goes on" {
    stand_in '{"reset": true}'
    slack
    agent GET /v1/workers
    local worker
    worker=$(field '.items[-1].id')
    [[ $(field '.items | length') == 1 && $(field '.items[0].state') == running ]]
    admin PUT "/v1/workers/$worker" '{"state": "paused"}'
    [[ $STATUS == 403 ]]
    as_service PUT "/v1/workers/$worker" '{"state": "odd"}'
    [[ $STATUS == 422 && $(field '.errors[0].pointer') == /state ]]
    as_service PUT /v1/workers/nobody '{"state": "paused"}'
    [[ $STATUS == 404 ]]
    # What it has in hand ends, although it takes nothing more.
    stand_in '{"fault": "slow", "delay_ms": 8500}'
    sends "in hand $TAG" "$SLACK" && becomes sending
    local inHand=$ID
    as_service PUT "/v1/workers/$worker" '{"state": "paused", "reason": "an upgrade"}'
    [[ $STATUS == 200 && $(field .is_paused) == true ]]
    is() { agent GET /v1/workers && [[ $(field '.items[0].state') == "$1" && $(field '.items[0].in_flight') == "${2:-0}" ]]; }
    for _ in {1..80}; do ! is paused 1 || break; sleep 0.1; done
    is paused 1
    sends "waits $TAG"
    never sent 20
    for _ in {1..150}; do ! is paused || break; sleep 0.1; done
    is paused
    agent GET "/v1/message-requests/$inHand"
    [[ $(field .status) == sent ]]
    as_service PUT "/v1/workers/$worker" '{"state": "running"}'
    [[ $STATUS == 200 ]]
    becomes sent 80
    [[ $(psql -qtA "$DATABASE_URL" -c "select count(*) from platform.audit where subject = '$worker'
        and action in ('worker.pause', 'worker.resume')") == 2 ]]
}

@test "the jobs of a queue that are shown as waiting or delayed are those that are counted so" {
    sends "later $TAG" "$LOCAL" '{"send_at": "2099-01-01T00:00:00Z"}' && becomes dispatched
    shown() { agent GET "/v1/queues/$SWITCHBOARD_TENANT/jobs?state=$1&limit=200"; jq -r .items[].id <<<"$BODY"; }
    shown delayed | grep -qx "$ID"
    ! shown waiting | grep -qx "$ID" || return 1
    agent GET /v1/queues
    local delayed
    delayed=$(field '.items[0].delayed')
    [[ $(shown delayed | wc -l) == "$delayed" ]]
    admin POST "/v1/message-requests/$ID/cancel"
    [[ $STATUS == 200 ]]
}

@test "a tenant's queue is counted by state, with the age of what has waited longest" {
    local counts
    sends "counted $TAG" && becomes sent
    # Within a transaction that is taken back: no worker sees these states.
    counts=$(psql -qtA "$DATABASE_URL" <<SQL
begin;
create temporary table six on commit drop as select gen_random_uuid() as id, n from generate_series(1, 6) n;
select dispatch.accept(t.id, t.code, six.id, jsonb_build_object('channel_code', '$LOCAL', 'text', 'x'),
    null, null, null, null, null, 'test', 'r') is null from six, platform.tenants t
 where t.code = '$SWITCHBOARD_TENANT';
create temporary table before on commit drop as select dispatch.queue_json(id, code) as was
  from platform.tenants where code = '$SWITCHBOARD_TENANT';
update dispatch.message_requests m set created_at = now() - interval '900 days',
    next_attempt_at = now() + case six.n when 1 then interval '-1 hour' else interval '1 hour' end,
    status = (array['accepted', 'accepted', 'sending', 'unknown', 'failed', 'sent'])[six.n],
    finished_at = case when six.n > 4 then now() end
  from six where m.id = six.id;
select jsonb_build_object('age', now->'oldest_age_ms', 'waiting', (now->>'waiting')::int - (was->>'waiting')::int,
    'delayed', (now->>'delayed')::int - (was->>'delayed')::int, 'active', (now->>'active')::int - (was->>'active')::int,
    'unknown', (now->>'unknown')::int - (was->>'unknown')::int, 'failed', (now->>'failed')::int - (was->>'failed')::int,
    'completed', (now->>'completed')::int - (was->>'completed')::int)
  from before, (select dispatch.queue_json(id, code) as now from platform.tenants
    where code = '$SWITCHBOARD_TENANT') x;
rollback;
SQL
    )
    counts=$(tail -n 1 <<<"$counts")
    echo "$counts"
    # All six were ready before.
    [[ $(jq -c '[.waiting, .delayed, .active, .unknown, .failed, .completed]' <<<"$counts") == "[-5,1,1,1,1,1]" ]]
    [[ $(jq .age <<<"$counts") -ge $((900 * 86400 * 1000)) ]]
}

@test "every route of the dispatcher is in the published document" {
    ask "" GET /openapi.json
    local route
    while read -r route; do
        [[ $(jq --arg method "${route%% *}" --arg path "${route#* }" '.paths[$path][$method] != null' \
            <<<"$BODY") == true ]] || { echo "missing: $route" && return 1; }
    done <<'ROUTES'
put /v1/workspaces/{code}
get /v1/workspaces/{code}
put /v1/channels/{code}
get /v1/channels/{code}
put /v1/templates/{code}
get /v1/templates/{code}
post /v1/templates/{code}/preview
post /v1/message-requests
get /v1/message-requests
get /v1/message-requests/{id}
post /v1/message-requests/{id}/cancel
post /v1/message-requests/{id}/retry
post /v1/message-requests/{id}/resend
post /v1/message-requests/{id}/mark-sent
post /v1/message-requests/{id}/mark-not-sent
post /v1/message-requests/replay
post /v1/message-requests/cancel
get /v1/dead-letters
get /v1/queues
get /v1/queues/{tenant}/jobs
put /v1/workers/{id}
post /v1/pauses
get /v1/pauses
delete /v1/pauses/{id}
get /v1/workers
get /v1/local-outbox
ROUTES
}
