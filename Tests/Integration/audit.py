"""Makes every writing call that there is, once, and looks for its trace in the audit.

The routes come from each service's /openapi.json: one that writes and has no call here is a finding,
so that none is forgotten. `{x}` in a path is filled in with the id of one that exists.

Usage: audit.py, in the environment of `compose/local run`.
"""

import sys
import uuid

import routes
from routes import ADMIN, call, known_id, sql

# A run of the engine leaves a decision with its reasons; that is its trace.
ENGINE_RUNS = ["/v1/sessions", "/v1/sessions/{id}/assign", "/v1/queue/drain"]
# Signs of life, and news from our own services, whose cause is in the audit of the one who caused it.
NOT_AUDITED = ["/heartbeat", "/v1/internal/"]


def calls(ids):
    """(service, method, template) -> bodies; the calls are made in this order."""
    code, team, agent = ids["channels"], ids["teams"], ids["agents"]
    message = {"sender": {"kind": "agent", "id": "a"}, "text": "hello"}
    session = {"conversation_id": str(uuid.uuid4()), "contact_id": "c", "source": "handover"}
    contact = {"channel_code": code, "contact": {"external_id": str(uuid.uuid4())}}
    core = {"name": "AI", "api_endpoint": "https://ai.example/v1", "auth_required": False}
    request = {"channel_code": code, "text": "x", "send_at": "2099-01-01T00:00:00Z"}
    m, e, d = "messaging", "assignment-engine", "dispatch-worker"
    return {
        (m, "POST", "/v1/conversations"): contact,
        (m, "POST", "/v1/conversations/{id}/messages"): message,
        (m, "POST", "/v1/conversations/{id}/replies"): message,
        (m, "POST", "/v1/messages/{id}/auto-assign"): None,
        (m, "POST", "/v1/messages/auto-assign"): {"message_ids": [ids["messages"]]},
        (m, "PUT", "/v1/bots/{id}"): {"name": "B", "language": "en", "is_active": True},
        (m, "PUT", "/v1/core-ai/{id}"): core,
        (m, "PUT", "/v1/platforms/{id}"): {"name": "Q"},
        (m, "PUT", "/v1/channels/{code}/bot"): {"bot_id": ids["bots"]},
        (m, "PUT", "/v1/tenant/default-bot"): {"bot_id": ids["bots"]},
        (m, "POST", "/v1/ai-jobs/{id}/cancel"): None,
        (m, "DELETE", "/v1/conversations/{id}/lock?reason=audit"): None,
        (m, "POST", "/v1/conversations/{id}/handover"): {"team_id": team},
        (e, "PUT", "/v1/teams/{id}"): {"name": "Other"},
        (e, "PUT", "/v1/agents/{id}"): {
            "name": "Other", "capacity_units": 60, "presence_mode": "manual"
        },
        (e, "PUT", "/v1/agents/{id}/status"): {"status": "busy"},
        (e, "POST", "/v1/sessions"): session | {"team_id": team},
        (e, "POST", "/v1/sessions/{id}/assign"): None,
        (e, "POST", "/v1/queue/drain"): {},
        (e, "POST", "/v1/sessions/{id}/close"): {},
        (e, "PUT", "/v1/teams/{id}/members/{agent_id}"): {},
        (e, "DELETE", "/v1/teams/{id}/members/{agent_id}"): None,
        (d, "PUT", "/v1/workspaces/{code}"): {"provider": "local"},
        (d, "PUT", "/v1/channels/{code}"): {
            "workspace_code": code, "provider_channel_id": "C0OTHER"
        },
        (d, "POST", "/v1/message-requests"): request,
        (d, "POST", "/v1/message-requests/{id}/cancel"): None,
        (d, "POST", "/v1/message-requests/{id}/mark-sent"): None,
        (d, "POST", "/v1/message-requests/{id}/mark-not-sent"): {"reason": "looked"},
    }


def prepare(ids, method, template):
    """The state in which a call has something to change."""
    if "auto-assign" in template:
        sql(
            "update messaging.messages set thread_id = null, thread_state = 'deferred', "
            f"method = null where id = '{ids['messages']}'"
        )
    if template in ENGINE_RUNS:
        # Somebody waits whom nobody can take yet.
        session = {"conversation_id": str(uuid.uuid4()), "contact_id": "c", "source": "handover"}
        opened = routes.setup("assignment-engine", "POST", "/v1/sessions", session)
        ids["sessions"] = opened["session"]["id"]
    if "mark-" in template:
        sql(
            "update dispatch.message_requests set status = 'unknown', unknown_since = now() "
            f"where id = '{ids['message-requests']}'"
        )
    if template.endswith("/cancel") and "ai-jobs" in template or method == "DELETE":
        # A job that is not over yet, which also holds the lock.
        message = {"sender": {"kind": "contact", "id": "c"}, "text": "wait"}
        path = f"/v1/conversations/{ids['conversations']}/messages"
        posted = routes.setup("messaging", "POST", path, message)
        ids["ai-jobs"] = posted["bot"].get("ai_job_id") or ids["ai-jobs"]


def traces(actor, template):
    statement = f"select count(*) from platform.audit where actor = '{actor}'"
    if template in ENGINE_RUNS:
        statement = f"select ({statement}) + (select count(*) from assignment.assignment_decisions)"
    return int(sql(statement))


def writing_routes():
    for service in routes.BASES:
        paths = call(service, "GET", "/openapi.json", ADMIN).document["paths"]
        for template, operations in paths.items():
            for method in operations:
                if method.upper() in ("POST", "PUT", "PATCH", "DELETE"):
                    yield service, method.upper(), template


ids = routes.resources("audit")
table = calls(ids)
findings = []
known = {(service, method, path.split("?")[0]) for service, method, path in table}
for route in writing_routes():
    if route not in known and not any(part in route[2] for part in NOT_AUDITED):
        findings.append(f"{' '.join(route)} has no call in {sys.argv[0].rsplit('/', 1)[-1]}")
for (service, method, template), body in table.items():
    prepare(ids, method, template)
    path = template
    while "{" in path:
        name = path.split("{")[1].split("}")[0]
        path = path.replace("{" + name + "}", known_id(ids, template, name), 1)
    actor = ADMIN.split("_")[1]
    before = traces(actor, template)
    answer = call(service, method, path, ADMIN, body)
    if answer.status >= 300:
        findings.append(f"{method} {path} answered {answer.status} {answer.body[:300]!r}")
    elif traces(actor, template) <= before:
        findings.append(f"{service} {method} {template} left nothing in the audit")
print(f"{len(table)} writing calls, {len(findings)} findings")
print("\n".join(findings))
sys.exit(1 if findings else 0)
