"""Every writing call that there is, once, with a body that succeeds, and the state that it needs."""

import os
import uuid

from routes import known_id, setup, sql

M, E, D = "messaging", "assignment-engine", "dispatch-worker"
# What is set first, where the same again would be no change.
FIRST = {"/v1/agents/{id}/status": {"status": "online"}}


def calls(ids):
    """(service, method, template, body, the state that it needs), made in this order."""
    code, team, agent = ids["channels"], ids["teams"], ids["agents"]
    message = {"sender": {"kind": "agent", "id": "a"}, "text": "hello"}
    contact = {"channel_code": code, "contact": {"external_id": str(uuid.uuid4())}}
    core = {"name": "AI", "api_endpoint": "https://ai.example/v1", "auth_required": False}
    request = {"channel_code": code, "text": "x", "send_at": "2099-01-01T00:00:00Z"}
    hook = {"url": os.environ["SLACK_STANDIN_URL"] + "/hook/audit", "secret": "s" * 32,
            "events": ["message_request.sent"]}
    channel = {"workspace_code": code, "provider_channel_id": "C0OTHER"}
    person = {"name": "Other", "capacity_units": 60, "presence_mode": "manual"}
    hours = {"name": "H", "tz": "Europe/Berlin", "windows": [{"day": "mon", "from": "09:00", "to": "17:00"}]}
    session = {"conversation_id": str(uuid.uuid4()), "contact_id": "c", "source": "handover"}
    rule = {"position": 1, "enabled": True, "when": {"context.vip": True}, "then": {"priority": 1}}
    by, moved = {"agent_id": agent}, {"message_ids": [ids["messages"]]}
    return [
        (M, "POST", "/v1/conversations", contact, None),
        (M, "POST", "/v1/conversations/{id}/messages", message, None),
        (M, "POST", "/v1/conversations/{id}/replies", message, None),
        (M, "POST", "/v1/messages/{id}/auto-assign", None, "deferred"),
        (M, "POST", "/v1/messages/auto-assign", moved, "deferred"),
        (M, "PUT", "/v1/bots/{id}", {"name": "B", "language": "en", "is_active": True}, None),
        (M, "PUT", "/v1/core-ai/{id}", core, None),
        (M, "PUT", "/v1/platforms/{id}", {"name": "Q"}, None),
        (M, "PUT", "/v1/channels/{code}/bot", {"bot_id": ids["bots"]}, None),
        (M, "PUT", "/v1/tenant/default-bot", {"bot_id": ids["bots"]}, None),
        (M, "POST", "/v1/ai-jobs/{id}/cancel", None, "live job"),
        (M, "DELETE", "/v1/conversations/{id}/lock?reason=audit", None, "live job"),
        (M, "POST", "/v1/admin/locks/cleanup", {"max_age_hours": 0}, "live job"),
        (M, "POST", "/v1/conversations/{id}/handle", {"history": "<USER>Hi</USER>"}, "live job"),
        (M, "PUT", "/v1/tenant/bot-policy", {"allow_default_bot": True}, None),
        (M, "PUT", "/v1/channels/{code}/mailbox", {"debounce_ms": 1500}, None),
        (M, "PUT", "/v1/channels/{code}/reopening", {"reopen_window_s": 86400}, None),
        (M, "POST", "/v1/conversations/{id}/close", {"reason": "done"}, "live job"),
        (M, "PATCH", "/v1/messages/{id}", {"text": "hello again"}, None),
        (M, "PATCH", "/v1/threads/{id}", {"title": "Renamed"}, None),
        (M, "POST", "/v1/threads/{id}/archive", None, None),
        (M, "POST", "/v1/threads/{id}/unarchive", None, None),
        (M, "POST", "/v1/conversations/{id}/threads", {"title": "By hand"}, None),
        (M, "POST", "/v1/threads/{id}/move", moved, "another thread"),
        (M, "POST", "/v1/threads/{id}/split", moved, "two messages"),
        (M, "POST", "/v1/threads/{id}/merge", {"into": "another thread"}, "another thread"),
        (M, "DELETE", "/v1/messages/{id}", None, None),
        (M, "POST", "/v1/conversations/{id}/handover", {"team_id": team}, None),
        (E, "PUT", "/v1/schedules/{id}", hours, None),
        (E, "PUT", "/v1/tenant/assignment-policy", {"max_wait_s": 600}, None),
        (E, "PUT", "/v1/contacts/{id}/owner", by, None),
        (E, "PUT", "/v1/contacts/{id}/blocked-agents", {"agent_ids": []}, None),
        (E, "PUT", "/v1/rules", {"rules": [rule]}, None),
        (E, "POST", "/v1/rules/publish", None, None),
        (E, "POST", "/v1/rules/rollback", {"policy_version": 1}, None),
        (E, "PUT", "/v1/teams/{id}", {"name": "Other"}, None),
        (E, "PUT", "/v1/agents/{id}", person, None),
        (E, "POST", "/v1/sessions", session | {"team_id": team}, None),
        (E, "POST", "/v1/sessions/{id}/assign", by | {"force": True}, "queued"),
        (E, "POST", "/v1/sessions/{id}/take", by | {"force": True}, "queued"),
        (E, "POST", "/v1/sessions/{id}/transfer", {"team_id": team}, "assigned"),
        (E, "POST", "/v1/sessions/{id}/handover", {"reason": "again"}, "assigned"),
        (E, "POST", "/v1/sessions/{id}/replied", by, "assigned"),
        (E, "POST", "/v1/sessions/{id}/on-hold", {}, "assigned"),
        (E, "POST", "/v1/sessions/{id}/resume", {}, None),
        (E, "POST", "/v1/sessions/{id}/close", {}, None),
        (E, "POST", "/v1/sessions/{id}/reopen", {}, None),
        (E, "POST", "/v1/sessions/{id}/return-to-bot", {}, "assigned"),
        (E, "POST", "/v1/sessions/{id}/decline", by, "offered"),
        (E, "POST", "/v1/sessions/{id}/accept", by, "offered"),
        (E, "PUT", "/v1/agents/{id}/status", {"status": "busy"}, None),
        (E, "DELETE", "/v1/teams/{id}/members/{agent_id}", None, None),
        (E, "PUT", "/v1/teams/{id}/members/{agent_id}", {}, None),
        (E, "DELETE", "/v1/agents/{id}", None, None),
        (E, "DELETE", "/v1/teams/{id}", None, None),
        (D, "PUT", "/v1/workspaces/{code}", {"provider": "local"}, None),
        (D, "PUT", "/v1/channels/{code}", channel, None),
        (D, "POST", "/v1/message-requests", request, None),
        (D, "PUT", "/v1/templates/{code}", {"text": "Hello {{name}}"}, None),
        (D, "PUT", "/v1/webhooks/{code}", hook, None),
        (D, "DELETE", "/v1/webhooks/{code}", None, None),
        (D, "PUT", "/v1/tenant/dispatch-policy", {"retention_days": 30}, None),
        (D, "POST", "/v1/pauses", {"scope": {"kind": "channel", "code": code}, "reason": "x"}, None),
        (D, "DELETE", "/v1/pauses/{id}", None, "paused"),
        (D, "POST", "/v1/message-requests/{id}/cancel", None, None),
        (D, "POST", "/v1/message-requests/cancel", {"cancellation_key": "audit"}, "keyed"),
        (D, "POST", "/v1/message-requests/{id}/retry", {"reason": "again"}, "failed"),
        (D, "POST", "/v1/message-requests/replay", {"filter": {"channel_code": code}}, "failed"),
        (D, "POST", "/v1/message-requests/{id}/resend", {"force": True, "reason": "x"}, "sent"),
        (D, "POST", "/v1/message-requests/{id}/mark-sent", None, "unknown"),
        (D, "POST", "/v1/message-requests/{id}/mark-not-sent", {"reason": "looked"}, "unknown"),
    ]


def prepare(ids, state):
    """Brings about the state in which a call has something to change."""
    ids["conversations"] = ids.setdefault("first conversation", ids["conversations"])
    conversation = f"/v1/conversations/{ids['conversations']}"
    if state == "deferred":
        sql(
            "update messaging.messages set thread_id = null, thread_state = 'deferred', "
            f"method = null where id = '{ids['messages']}'"
        )
    elif state in ("unknown", "failed", "sent"):
        since = ", unknown_since = now()" if state == "unknown" else ""
        sql(
            f"update dispatch.message_requests set status = '{state}'{since} "
            f"where id = '{ids['message-requests']}'"
        )
    elif state == "paused":
        scope = {"kind": "channel", "code": ids["channels"]}
        ids["pauses"] = setup(D, "POST", "/v1/pauses", {"scope": scope, "reason": "x"})["id"]
    elif state == "keyed":
        request = {"channel_code": ids["channels"], "text": "x", "cancellation_key": "audit"}
        setup(D, "POST", "/v1/message-requests", request | {"send_at": "2099-01-01T00:00:00Z"})
    elif state == "live job":
        # In a conversation of its own, where nothing else happens.
        contact = {"channel_code": ids["channels"], "contact": {"external_id": str(uuid.uuid4())}}
        ids["conversations"] = setup(M, "POST", "/v1/conversations", contact)["id"]
        message = {"sender": {"kind": "contact", "id": "c"}, "text": "wait"}
        path = f"/v1/conversations/{ids['conversations']}/messages"
        ids["ai-jobs"] = setup(M, "POST", path, message)["bot"]["ai_job_id"]
    elif state == "another thread":
        made = setup(M, "POST", f"{conversation}/threads", {"title": str(uuid.uuid4())})
        ids["threads"], ids["another thread"] = made["id"], ids["threads"]
    elif state == "two messages":
        message = {"sender": {"kind": "agent", "id": "a"}, "text": "second"}
        setup(M, "POST", f"{conversation}/messages", message | {"thread_id": ids["threads"]})
    elif state is not None:
        open_session(ids, state)


def open_session(ids, state):
    """A new session that is queued, assigned, or offered to the agent."""
    team = {"name": "Audit"} | ({"offer_timeout_s": 300} if state == "offered" else {})
    setup(E, "PUT", f"/v1/teams/{ids['teams']}", team)
    session = {"conversation_id": str(uuid.uuid4()), "contact_id": "c", "source": "handover"}
    session["team_id"] = ids["teams"]
    if state == "queued":
        # In a team of nobody.
        session["team_id"] = str(uuid.uuid4())
        setup(E, "PUT", f"/v1/teams/{session['team_id']}", {"name": "Empty"})
    opened = setup(E, "POST", "/v1/sessions", session)["session"]
    assert opened["state"] == state, (state, opened)
    ids["sessions"] = opened["id"]


def filled(ids, template, body):
    """The path with the ids of these resources, and the body with the thread that `prepare` made."""
    path = template
    while "{" in path:
        name = path.split("{")[1].split("}")[0]
        path = path.replace("{" + name + "}", known_id(ids, template, name), 1)
    if body == {"into": "another thread"}:
        body = {"into": ids["another thread"]}
    return path, body
