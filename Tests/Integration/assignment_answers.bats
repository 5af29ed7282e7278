#!/usr/bin/env bats
# What people say in messaging, and what the engine makes of it: who has answered, and who waits again.
# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153

load assignment

in_messaging() { ASSIGNMENT_ENGINE_URL=$MESSAGING_URL "$@"; }

# conversation_handed_over [OUTCOME]
# A conversation of messaging is handed over to TEAM; sets CONVERSATION and SESSION.
conversation_handed_over() {
    local channel=c-$RANDOM$RANDOM
    in_messaging as_service POST /v1/internal/channels \
        "{\"code\": \"$channel\", \"kind\": \"local\", \"version\": 1}"
    in_messaging agent POST /v1/conversations \
        "{\"channel_code\": \"$channel\", \"contact\": {\"external_id\": \"c1\"}}"
    CONVERSATION=$(field .id)
    hands_over "{\"conversation_id\": \"$CONVERSATION\"}"
    is 201 ".outcome == \"${1:-assign}\""
}

# writes contact|agent [ID]
writes() {
    in_messaging agent POST "/v1/conversations/$CONVERSATION/messages" \
        "{\"sender\": {\"kind\": \"$1\", \"id\": \"${2:-x}\"}, \"text\": \"Hello?\"}"
    is 201
}

# answers AGENT: as writes, but sent to the contact
answers() {
    in_messaging agent POST "/v1/conversations/$CONVERSATION/replies" \
        "{\"sender\": {\"kind\": \"agent\", \"id\": \"$1\"}, \"text\": \"Hello?\"}"
    is 202
}

replies() {
    agent POST "/v1/sessions/$SESSION/replied" "{\"agent_id\": \"$1\"}"
    is 200 '.replied_at != null'
}

@test "what an agent writes in messaging is a reply; what the contact writes is none" {
    a_team '{"first_reply_timeout_s": 600}'
    joins Anna
    conversation_handed_over
    local first=$SESSION
    writes contact
    conversation_handed_over
    writes agent
    becomes '.replied_at != null and .state == "assigned"' 100
    # What was said before is known by now, too.
    agent GET "/v1/sessions/$first"
    is 200 '.replied_at == null'
}

@test "whoever was answered and wrote again is not left with an owner who goes" {
    a_team
    joins Anna
    local anna=$AGENT
    conversation_handed_over
    replies "$anna"
    writes contact
    joins Ben
    status "$anna" offline
    becomes ".assignee_id == \"$AGENT\"" 100
}

@test "whoever was answered stays with an owner who went, until it writes" {
    a_team
    joins Anna
    local anna=$AGENT
    hands_over
    local unanswered=$SESSION
    conversation_handed_over
    local answered=$SESSION
    replies "$anna"
    joins Ben
    status "$anna" offline
    # That one goes at once; the other was looked at in the same moment.
    SESSION=$unanswered
    becomes ".assignee_id == \"$AGENT\""
    SESSION=$answered
    agent GET "/v1/sessions/$SESSION"
    is 200 ".assignee_id == \"$anna\""
    writes contact
    becomes ".assignee_id == \"$AGENT\"" 100
}

@test "requeue_on_reply: what an absent owner had queues again when its contact writes" {
    a_team '{"on_offline": "requeue_on_reply", "strategy": "fair"}'
    joins Anna
    local anna=$AGENT
    conversation_handed_over
    joins Ben
    status "$anna" offline
    # The owner's leaving alone takes nothing away, nor does what somebody else writes.
    writes agent
    agent GET "/v1/sessions/$SESSION"
    is 200 ".assignee_id == \"$anna\""
    writes contact
    becomes ".assignee_id == \"$AGENT\"" 100
}

@test "whoever writes first in messaging, a message or a reply, owns what waits, where the team wants that" {
    a_team '{"claim_on_first_reply": true}'
    joins Anna '{"capacity_units": 0}'
    local way
    for way in answers "writes agent"; do
        conversation_handed_over skip
        writes agent
        # shellcheck disable=SC2086
        $way "$AGENT"
        becomes ".assignee_id == \"$AGENT\" and .state == \"assigned\" and .replied_at != null" 100
    done
}
