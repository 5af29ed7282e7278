"""Makes every writing call that there is, once, and looks for its trace in the audit.

The routes come from each service's /openapi.json: one that writes and has no call here is a finding,
so that none is forgotten. `{x}` in a path is filled in with the id of one that exists.

Usage: audit.py, in the environment of `compose/local run`.
"""

import sys

import routes
from routes import ADMIN, call, setup, sql
from writing_calls import FIRST, calls, filled, prepare

# What changes nothing that people decide: signs of life and connections, what-if, a run that finds
# nobody, reports of what happened elsewhere, what Slack tells and its being fed in again; and news from
# our own services, audited where their cause is. What only services may do to a process that sends is
# audited as theirs, where its own test looks.
NOT_AUDITED = [
    "/heartbeat", "/typing", "/v1/internal/", "/v1/engine/", "/v1/queue/drain", "/v1/events",
    "/preview", "/v1/user-sessions/", "/socket.io/", "/v1/channels/slack/events",
    "/v1/admin/inbound/", "/v1/workers/",
]
# Writes with POST to something that is there already.
CHANGING = (
    "/v1/sessions/{id}/", "/v1/threads/{id}/", "/v1/conversations/{id}/close",
    "/v1/message-requests/{id}/",
)
# Written together with others of the same instant; the log has the request beside the message's id.
OF_MESSAGES = {
    "conversation.open", "message.post", "message.reply", "message.assign", "conversation.handle",
}


def traces(actor):
    return int(sql(f"select count(*) from platform.audit where actor = '{actor}'"))


def last(actor):
    """The newest entry: whether it says what was before, what after, and which request it was."""
    row = sql(
        "select action, before is not null, after is not null, request_id is not null "
        f"from platform.audit where actor = '{actor}' order by at desc, id desc limit 1"
    ).strip().split("|")
    return row[0], *(value == "t" for value in row[1:])


def incomplete(actor, method, template):
    """What the newest entry leaves out that a change of this kind has; None when it is whole."""
    action, before, after, request = last(actor)
    # What is made has nothing before it, and a deletion leaves nothing.
    changes = method in ("PUT", "PATCH", "DELETE") or template.startswith(CHANGING)
    if changes and not before:
        return f"{action} does not say what was before"
    if method != "DELETE" and not after:
        return f"{action} does not say what is after"
    return None if request or action in OF_MESSAGES else f"{action} does not name its request"


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
known = {(service, method, path.split("?")[0]) for service, method, path, _, _ in table}
for route in writing_routes():
    if route not in known and not any(part in route[2] for part in NOT_AUDITED):
        findings.append(f"{' '.join(route)} has no call in audit.py")
actor = ADMIN.split("_")[1]
for service, method, template, body, state in table:
    prepare(ids, state)
    path, body = filled(ids, template, body)
    if method == "PUT":
        # The second time it is a change.
        setup(service, method, path, FIRST.get(template, body))
    before = traces(actor)
    answer = call(service, method, path, ADMIN, body)
    if answer.status >= 300:
        findings.append(f"{method} {path} answered {answer.status} {answer.body[:300]!r}")
    elif traces(actor) <= before:
        findings.append(f"{service} {method} {template} left nothing in the audit")
    elif gap := incomplete(actor, method, template):
        findings.append(f"{service} {method} {template}: {gap}")
# Other checks count on the built-in bot.
sql("update messaging.tenant_settings set default_bot_id = null")
print(f"{len(table)} writing calls, {len(findings)} findings")
print("\n".join(findings))
sys.exit(1 if findings else 0)
