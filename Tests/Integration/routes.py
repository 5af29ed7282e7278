"""What the checks of every route share: keys, calls, and one of every resource."""

import http.client
import json
import os
import subprocess
import urllib.parse
import uuid

TENANT = os.environ["SWITCHBOARD_TENANT"]
ROLES = ["viewer", "agent", "operator", "admin"]
BASES = {
    name: urllib.parse.urlsplit(os.environ[name.upper().replace("-", "_") + "_URL"])
    for name in ("messaging", "assignment-engine", "dispatch-worker")
}


def command(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def make_key(tenant, role):
    program = os.environ["SWITCHBOARD_BIN"] + "/messaging"
    output = command(program, "keys", "create", "--tenant", tenant, "--role", role)
    return output.strip().splitlines()[-1]


def sql(statement):
    database = os.environ["DATABASE_URL"]
    return command("psql", "--no-psqlrc", "-qAtX", "-v", "ON_ERROR_STOP=1", database, "-c", statement)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.fields = response.headers
        self.body = response.read()
        try:
            self.document = json.loads(self.body)
        except ValueError:
            self.document = None


def call(service, method, path, key, document=None, **fields):
    """One request over a connection of its own."""
    base = BASES[service]
    connection = http.client.HTTPConnection(base.hostname, base.port, timeout=20)
    headers = {"Authorization": f"Bearer {key}"}
    headers |= {name.replace("_", "-"): value for name, value in fields.items()}
    body = None
    if document is not None:
        body, headers["Content-Type"] = json.dumps(document), "application/json"
    connection.request(method, path, body=body, headers=headers)
    return Answer(connection.getresponse())


def setup(service, method, path, document):
    """A call that has to succeed."""
    answer = call(service, method, path, ADMIN, document)
    assert answer.status < 300, (method, path, answer.status, answer.body)
    return answer.document


def resources(code):
    """One of everything, by the names that the paths of the routes use."""
    ids = {name: str(uuid.uuid4()) for name in ("teams", "agents", "bots", "core-ai", "platforms")}
    setup("dispatch-worker", "PUT", f"/v1/workspaces/{code}", {"provider": "local"})
    channel = {"workspace_code": code, "provider_channel_id": "C0BAD"}
    setup("dispatch-worker", "PUT", f"/v1/channels/{code}", channel)
    request = {"channel_code": code, "text": "x", "send_at": "2099-01-01T00:00:00Z"}
    accepted = setup("dispatch-worker", "POST", "/v1/message-requests", request)
    ids["message-requests"] = accepted["id"]
    team, agent = f"/v1/teams/{ids['teams']}", f"/v1/agents/{ids['agents']}"
    setup("assignment-engine", "PUT", team, {"name": "Bad input"})
    person = {"name": "Nobody", "capacity_units": 50, "presence_mode": "manual"}
    setup("assignment-engine", "PUT", agent, person)
    setup("assignment-engine", "PUT", f"{agent}/status", {"status": "online"})
    setup("assignment-engine", "PUT", f"{team}/members/{ids['agents']}", {})
    bot = {"name": "Bot", "language": "en", "is_active": False}
    setup("messaging", "PUT", f"/v1/bots/{ids['bots']}", bot)
    core = {"name": "AI", "api_endpoint": "https://ai.example/v1", "auth_required": False}
    setup("messaging", "PUT", f"/v1/core-ai/{ids['core-ai']}", core)
    setup("messaging", "PUT", f"/v1/platforms/{ids['platforms']}", {"name": "P"})
    contact = {"channel_code": code, "contact": {"external_id": f"c-{uuid.uuid4()}"}}
    for _ in range(500):
        # messaging hears of a new channel by an event.
        opened = call("messaging", "POST", "/v1/conversations", ADMIN, contact)
        if opened.status < 300:
            break
    ids["conversations"] = opened.document["id"]
    message = {"sender": {"kind": "contact", "id": "c"}, "text": "hello"}
    path = f"/v1/conversations/{ids['conversations']}/messages"
    posted = setup("messaging", "POST", path, message)
    ids["messages"], ids["ai-jobs"] = posted["message"]["id"], posted["bot"]["ai_job_id"]
    ids["threads"] = posted["message"]["thread_id"]
    session = {"conversation_id": str(uuid.uuid4()), "contact_id": "c", "source": "handover"}
    session["team_id"] = ids["teams"]
    ids["sessions"] = setup("assignment-engine", "POST", "/v1/sessions", session)["session"]["id"]
    ids["members"] = ids["agents"]
    ids["channels"] = ids["workspaces"] = code
    return ids


def known_id(ids, template, name):
    """The resource that a name in a path means, by the word before it."""
    if name == "tenant":
        return TENANT
    before = template.split("{" + name + "}")[0].rstrip("/").rsplit("/", 1)[1]
    return ids.setdefault(before, str(uuid.uuid4()))


def settled():
    """Waits until what the set-up caused has been done, with nothing left that is tried again."""
    queued = call("assignment-engine", "GET", "/v1/sessions?state=queued&limit=200", ADMIN)
    for session in queued.document["items"]:
        setup("assignment-engine", "POST", f"/v1/sessions/{session['id']}/close", {})
    for _ in range(600):
        waiting = sql(
            "select (select count(*) from platform.outbox where published_at is null and "
            "laid_aside_at is null) + (select count(*) from messaging.ai_jobs where status in "
            "('pending', 'processing')) + (select count(*) from platform.outbox o "
            "where kind = 'event' and created_at > now() - interval '1 minute' and not exists (select from "
            "assignment.counted_events c where c.tenant_id = o.tenant_id and c.event_id = o.event_id))"
        )
        if waiting.strip() == "0":
            return
    raise SystemExit("the services did not come to rest")


ADMIN = make_key(TENANT, "admin")
