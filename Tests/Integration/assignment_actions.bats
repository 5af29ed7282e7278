#!/usr/bin/env bats
# What people and time do with a session: offers, replies, transfers, hold, offline, overflow.

# Each test is a subshell of its own, so what it sets stays there.
# shellcheck disable=SC2030,SC2031,SC2153

load assignment

# act NAME [JSON]: does it to SESSION.
act() { agent POST "/v1/sessions/$SESSION/$1" "${2:-}"; }
by() { printf '{"agent_id": "%s"}' "$1"; }

@test "take: the loser is told who has it; skills do not matter, membership and room do" {
    a_team
    hands_over
    # Kept out of automatic choice only.
    joins Anna '{}' '{"auto_assign": false}'
    local anna=$AGENT
    joins Ben '{"capacity_units": 0}'
    act take "$(by "$AGENT")"
    is 422 '.code == "at_capacity" and .errors[0].pointer == "/agent_id"'
    act take "$(by "$(new_id)")"
    is 422 '.errors[0].pointer == "/agent_id"'
    act take '{}'
    is 422 '.errors[0].pointer == "/agent_id"'
    act take "$(by "$anna")"
    is 200 '.state == "assigned"'
    [[ $(field .assignee_id) == "$anna" ]]
    act take "$(by "$AGENT")"
    is 409 '.code == "already_assigned"'
    [[ $(field .agent_id) == "$anna" ]]
    act take "$(by "$anna")"
    is 200
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].source == "manual" and .items[0].explanation == "Anna took it by hand."'
}

@test "force gives it although something speaks against it, and the decision says what" {
    a_team
    hands_over
    joins Anna '{"capacity_units": 0}'
    act assign "{\"agent_id\": \"$AGENT\"}"
    is 422 '.code == "at_capacity"'
    act assign "{\"agent_id\": \"$AGENT\", \"force\": true, \"reason\": \"asked for her\"}"
    is 200 '.state == "assigned"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].reason == "forced"' \
        '.items[0].explanation == "Anna got it by hand, although at capacity."'
    [[ $(psql "$DATABASE_URL" -qAtc "select action, reason from platform.audit
        where subject = '$SESSION' and action = 'session.assign'") == "session.assign|asked for her" ]]
}

@test "transfer to an agent moves the capacity; to a team it keeps its place in the queue" {
    a_team
    joins Anna
    local anna=$AGENT
    hands_over
    local since
    since=$(field .session.enqueued_at)
    joins Ben
    act transfer "{\"agent_id\": \"$AGENT\", \"reason\": \"Ben knows\"}"
    is 200
    [[ $(field .assignee_id) == "$AGENT" ]]
    agent GET "/v1/agents/$anna"
    is 200 '.active_units == 0'
    agent GET "/v1/agents/$AGENT"
    is 200 '.active_units == 1'
    status "$anna" offline
    act transfer "{\"agent_id\": \"$anna\"}"
    is 422 '.code == "offline"'
    local ben=$AGENT
    a_team
    act transfer "{\"team_id\": \"$TEAM\"}"
    is 200 '.state == "queued" and .assignee_id == null'
    [[ $(field .team_id) == "$TEAM" && $(field .enqueued_at) == "$since" ]]
    agent GET "/v1/agents/$ben"
    is 200 '.active_units == 0'
    act transfer "{\"team_id\": \"$(new_id)\"}"
    is 422 '.errors[0].pointer == "/team_id"'
    act transfer "{}"
    is 422
}

@test "an offer is accepted once, or declined and not offered to the same one again" {
    a_team '{"offer_timeout_s": 60}'
    joins Anna
    local anna=$AGENT
    hands_over
    is 201 '.outcome == "assign" and .session.state == "offered"'
    act accept "$(by "$(new_id)")"
    is 409 '.code == "not_yours"'
    act decline "$(by "$anna")"
    # For ten minutes.
    is 200 '.state == "queued" and .assignee_id == null' \
        '[.declined[] / 1000 - now] | length == 1 and .[0] > 590 and .[0] <= 600'
    act assign
    is 200 '.outcome == "skip"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].counts.declined_recently == 1'
    joins Ben
    becomes '.state == "offered"'
    act accept "$(by "$AGENT")"
    is 200 '.state == "assigned"'
    act accept "$(by "$AGENT")"
    is 200
    act decline "$(by "$AGENT")"
    is 409 '.code == "wrong_state"'
}

@test "an offer that nobody answers goes on; after two missed ones the agent gets no more" {
    a_team '{"offer_timeout_s": 1, "strategy": "least_recently_assigned", "max_reassigns": 50}'
    joins Anna
    hands_over
    is 201 '.session.state == "offered"'
    # Alone she is offered it again, misses that too, and accepts no more.
    becomes '.state == "queued" and .reassigns == 2' 80
    agent GET "/v1/agents/$AGENT"
    is 200 '.accepting == false and .active_units == 0'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '[.items[] | select(.reason == "offer_expired")] | length == 2'
    status "$AGENT" online
    agent GET "/v1/agents/$AGENT"
    is 200 .accepting
    becomes '.state == "offered"'
}

@test "no first reply: it goes to somebody else; a reply in time keeps it" {
    a_team '{"first_reply_timeout_s": 1, "on_first_reply_timeout": "reassign", "strategy": "least_recently_assigned"}'
    joins Anna
    local anna=$AGENT
    hands_over
    act replied "$(by "$anna")"
    is 200 '.replied_at != null'
    hands_over
    joins Ben
    becomes ".assignee_id == \"$AGENT\""
    act replied "$(by "$AGENT")"
    is 200 '.replied_at != null'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '[.items[] | select(.reason == "first_reply_missed")] | length == 1'
}

@test "no first reply: a team may only be told of it, or have it queue again" {
    a_team '{"first_reply_timeout_s": 1, "on_first_reply_timeout": "notify"}'
    joins Anna
    hands_over
    local told=$SESSION
    a_team '{"first_reply_timeout_s": 1, "on_first_reply_timeout": "requeue"}'
    joins Ben '{"capacity_units": 1}'
    hands_over
    # It is left out of one run only: nobody else is there.
    becomes ".assignee_id == \"$AGENT\" and .reassigns == 1"
    agent GET "/v1/sessions/$SESSION/decisions"
    # One for each time that it was given again, which on a slow machine was once more since.
    local missed
    missed=$(jq '[.items[] | select(.reason == "first_reply_missed")] | length' <<<"$BODY")
    ((missed >= 1))
    agent GET "/v1/sessions/$SESSION"
    is 200 ".reassigns >= $missed"
    # Anna's timer was due before Ben's.
    agent GET "/v1/sessions/$told"
    is 200 '.state == "assigned" and .reassigns == 0 and .assignment_seq == 1'
    [[ $(events session.first_reply_missed "$told" | wc -l) == 1 ]]
}

@test "after too many reassignments it overflows to the team that is named for that" {
    a_team
    local overflow=$TEAM
    joins Olga
    a_team "{\"offer_timeout_s\": 1, \"max_reassigns\": 1, \"overflow_team_id\": \"$overflow\"}"
    joins Anna
    hands_over
    becomes ".team_id == \"$overflow\" and .state == \"assigned\""
}

@test "on hold gives the capacity back, resume takes it again" {
    a_team
    joins Anna '{"capacity_units": 1}'
    hands_over
    local held=$SESSION
    act on-hold
    is 200 '.state == "on_hold" and .assignee_id != null'
    hands_over
    is 201 '.outcome == "assign"'
    SESSION=$held
    act resume
    is 422 '.code == "at_capacity"'
    act resume '{"force": true}'
    is 200 '.state == "assigned"'
    agent GET "/v1/agents/$AGENT"
    is 200 '.active_units == 2'
    act resume
    is 409 '.code == "wrong_state"'
}

@test "offline: unanswered work goes back at once and answered work stays" {
    a_team
    joins Anna
    local anna=$AGENT answered
    hands_over
    answered=$SESSION
    act replied "$(by "$anna")"
    hands_over
    local open=$SESSION since
    since=$(field .session.enqueued_at)
    status "$anna" offline
    becomes '.state == "queued"'
    [[ $(field .enqueued_at) == "$since" ]]
    SESSION=$answered
    becomes '.state == "assigned"'
    agent GET "/v1/agents/$anna"
    is 200 '.active_units == 1'
    agent GET "/v1/sessions/$open/decisions"
    is 200 '[.items[] | select(.reason == "agent_offline")] | length == 1'
}

@test "offline: a team may want everything back, or nothing" {
    a_team '{"on_offline": "keep"}'
    joins Ben
    hands_over
    local kept=$SESSION
    status "$AGENT" offline
    a_team '{"on_offline": "requeue_all"}'
    joins Anna
    hands_over
    act replied "$(by "$AGENT")"
    status "$AGENT" offline
    becomes '.state == "queued"'
    # Ben's timer was due before Anna's.
    agent GET "/v1/sessions/$kept"
    is 200 '.state == "assigned"'
}

@test "an agent that is taken out leaves nothing behind" {
    a_team
    joins Anna
    hands_over
    act replied "$(by "$AGENT")"
    admin DELETE "/v1/agents/$AGENT"
    is 204
    becomes '.state == "queued"'
    agent GET "/v1/agents/$AGENT"
    is 404
    agent GET "/v1/teams/$TEAM"
    is 200 '.members == []'
    admin DELETE "/v1/agents/$AGENT"
    is 404
    joins Ben
    becomes ".assignee_id == \"$AGENT\""
}

@test "a team that is taken out leaves its queue to the overflow team" {
    a_team
    local overflow=$TEAM
    a_team "{\"overflow_team_id\": \"$overflow\"}"
    hands_over
    admin DELETE "/v1/teams/$TEAM"
    is 204
    becomes ".team_id == \"$overflow\""
    admin GET "/v1/teams/$TEAM"
    is 404
}

@test "nobody for too long: another team, somebody away, or a word to the contact" {
    a_team
    local overflow=$TEAM
    joins Olga
    a_team "{\"max_wait_s\": 1, \"no_agent_action\": \"overflow_team\", \"overflow_team_id\": \"$overflow\"}"
    hands_over
    is 201 '.outcome == "skip"'
    becomes ".team_id == \"$overflow\" and .state == \"assigned\""
    a_team '{"max_wait_s": 1, "no_agent_action": "assign_offline"}'
    joins Anna
    status "$AGENT" offline
    hands_over
    becomes '.state == "assigned"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[0].explanation == "Anna got it although away: nobody took it for too long."'
    a_team '{"max_wait_s": 1, "no_agent_action": "ask_contact"}'
    hands_over
    local tenths=60
    until [[ -n $(events session.ask_contact "$SESSION") ]]; do
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
    act assign
    is 200 '.outcome == "skip" and .session.state == "queued"'
    [[ $(events session.ask_contact "$SESSION" | wc -l) == 1 ]]
}

@test "flood control spreads new sessions; a cap of the team holds" {
    a_team '{"max_new_per_agent": {"n": 2, "window_s": 600}}'
    joins Anna '{"capacity_units": 10}'
    hands_over
    hands_over
    hands_over
    is 201 '.outcome == "skip"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[-1].counts.agent_rate_limited == 1'
    a_team '{"capacity_units": 1}'
    joins Ben '{"capacity_units": 10}'
    hands_over
    hands_over
    is 201 '.outcome == "skip"'
    agent GET "/v1/sessions/$SESSION/decisions"
    is 200 '.items[-1].counts.at_capacity == 1'
}

@test "what has waited for longer than the team wants is parked, visible, and given by hand" {
    a_team '{"backlog_cutoff_hours": 1}'
    hands_over
    psql "$DATABASE_URL" -qc "update assignment.sessions
        set enqueued_at = enqueued_at - interval '61 min' where id = '$SESSION'"
    joins Anna
    becomes '.state == "parked" and .reason == "stale_backlog"'
    agent GET "/v1/sessions?state=parked&team_id=$TEAM"
    is 200 '.items | length == 1'
    act take "$(by "$AGENT")"
    is 200 '.state == "assigned"'
}

@test "a voice session takes four units, unless the tenant says otherwise" {
    a_team
    joins Anna '{"capacity_units": 5}'
    hands_over '{"context": {"channel": "voice"}}'
    is 201 '.outcome == "assign" and .session.units == 4'
    hands_over '{"context": {"channel": "voice"}}'
    is 201 '.outcome == "skip"'
    hands_over '{"context": {"channel": "chat"}}'
    is 201 '.outcome == "assign" and .session.units == 1'
}

@test "whoever replies first owns it, where the team wants that" {
    a_team '{"claim_on_first_reply": true}'
    hands_over
    joins Anna '{"capacity_units": 0}'
    act replied "$(by "$AGENT")"
    is 200 '.state == "assigned"'
    [[ $(field .assignee_id) == "$AGENT" ]]
    a_team
    hands_over
    joins Ben '{"capacity_units": 0}'
    act replied "$(by "$AGENT")"
    is 200 '.state == "queued"'
}

@test "back to the bot ends the session; a reopening prefers the owner before" {
    a_team
    joins Anna
    hands_over
    local owner=$AGENT
    joins Ben
    joins Cleo
    act reopen
    is 409 '.code == "session_open"'
    act return-to-bot
    is 200 '.state == "closed" and .reason == "returned_to_bot"'
    act take "$(by "$owner")"
    is 409 '.code == "session_closed"'
    act reopen
    is 200 '.outcome == "assign" and .reason == "contact_assigned"'
    [[ $(field .agent_id) == "$owner" ]]
    # Where the team wants that, it goes the way of a new one: to whoever is next.
    a_team '{"on_reopen": "route", "strategy": "least_recently_assigned"}'
    joins Dora
    owner=$AGENT
    hands_over
    joins Emil
    act close
    act reopen
    is 200 '.outcome == "assign" and .reason == "assigned"'
    [[ $(field .agent_id) == "$AGENT" && $AGENT != "$owner" ]]
    a_team '{"on_reopen": "bot"}'
    hands_over
    act close
    act reopen
    is 200 '.outcome == "stop" and .session.state == "closed"'
}

@test "handover asks again, with another team and another priority" {
    a_team
    hands_over
    a_team
    joins Anna
    act handover "{\"team_id\": \"$TEAM\", \"priority\": 0, \"context\": {\"again\": true}}"
    is 200 '.outcome == "assign" and .session.priority == 0 and .session.context.again'
    act close
    act handover
    is 409 '.code == "session_closed"'
}
