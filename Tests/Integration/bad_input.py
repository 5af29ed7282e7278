"""Asks every route of a service wrongly, in every way there is, and checks the answer.

The routes come from the service's own /openapi.json, so a new one is tried without a word here. Each
refusal must be a problem that names what and where, and nothing may have changed afterwards.

Usage: bad_input.py messaging|assignment-engine|dispatch-worker, in the environment of
`compose/local run`.
"""

import hashlib
import http.client
import json
import os
import re
import sys
import urllib.parse
import uuid

import routes
from routes import ADMIN, BASES, ROLES, TENANT, Answer, make_key, sql

SERVICE = sys.argv[1]
URL = BASES[SERVICE]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
DEEP = 100
findings = []
asked = 0


connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=20)


def send(method, path, key=None, body=None, content_type="application/json", **fields):
    """One request over the connection that all share, made anew when the server has closed it."""
    global asked, connection
    asked += 1
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if body is not None and content_type is not None:
        headers["Content-Type"] = content_type
    for attempt in (1, 2):
        try:
            connection.request(method, path, body=body, headers=headers)
            return Answer(connection.getresponse())
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            connection.close()
            if attempt == 2:
                raise


def complain(what, route, answer, wanted):
    findings.append(f"{route}: {what}: wanted {wanted}, got {answer.status} {answer.body[:300]!r}")


def check(what, route, answer, statuses, pointer=None):
    """A refusal with one of `statuses`, told as our contract has it, naming `pointer`."""
    if answer.status not in statuses:
        return complain(what, route, answer, f"status {statuses}")
    problem = answer.document
    if answer.fields["Content-Type"] != "application/problem+json" or problem is None:
        return complain(what, route, answer, "application/problem+json")
    missing = [
        name
        for name in ("type", "title", "status", "detail", "instance", "code", "request_id")
        if not problem.get(name)
    ]
    if missing or problem["status"] != answer.status:
        return complain(what, route, answer, f"the members {missing}")
    if answer.status == 401 and not answer.fields["WWW-Authenticate"]:
        return complain(what, route, answer, "WWW-Authenticate")
    if pointer is not None:
        pointers = [fault["pointer"] for fault in problem.get("errors", [])]
        if pointer not in pointers:
            complain(what, route, answer, f"a fault at {pointer}")


def known_id(template, name):
    return routes.known_id(IDS, template, name)


class Route:
    def __init__(self, path, method, operation, known):
        self.template, self.method = path, method.upper()
        self.names = re.findall(r"{(\w+)}", path)
        self.path = self.filled(known)
        security = operation.get("security", [])
        self.is_open = not security
        self.is_internal = bool(security) and all("service" in entry for entry in security)
        self.role = operation.get("x-required-role")
        self.query = [p for p in operation.get("parameters", []) if p["in"] == "query"]
        content = operation.get("requestBody", {}).get("content", {})
        self.schema = resolved(content.get("application/json", {}).get("schema"))
        self.takes_body = bool(content)
        limit = operation["responses"].get("413", {}).get("description", "")
        self.limit = int((re.findall(r"\d+", limit) or [65536])[0])

    def __str__(self):
        return f"{self.method} {self.template}"

    def filled(self, values):
        path = self.template
        for name in self.names:
            path = path.replace("{" + name + "}", values(self.template, name), 1)
        return path

    @property
    def key(self):
        return os.environ["SERVICE_TOKEN"] if self.is_internal else KEYS["admin"]

    @property
    def fields(self):
        return {"Switchboard-Tenant": TENANT} if self.is_internal else {}


def resolved(schema):
    while schema and "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rsplit("/", 1)[1]]
    return schema


def wrong_value(schema):
    """A value that no reading of the property's type accepts."""
    kind = (resolved(schema) or {}).get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return {"never": True} if "object" not in kinds and kind else 7


def try_keys(route):
    if route.is_open:
        return
    check("no key", route, send(route.method, route.path), [401])
    key_id = KEYS["admin"].split("_")[1]
    for key in ("nonsense", f"sb_{key_id}_{'0' * 43}", f"sb_nobody_{'0' * 43}", "", "é"):
        try:
            check("wrong key", route, send(route.method, route.path, key), [400, 401])
        except UnicodeEncodeError:
            continue
    if route.is_internal:
        check("a tenant's key", route, send(route.method, route.path, KEYS["admin"]), [403])
    elif route.role and route.role != "viewer":
        lower = KEYS[ROLES[ROLES.index(route.role) - 1]]
        check("role too low", route, send(route.method, route.path, lower), [403])


def normal(answer, *ids):
    body = answer.body.decode()
    for value in ids:
        body = body.replace(value, "ID")
    return answer.status, answer.fields["Content-Type"], re.sub(r"20\d\d-[-\d]+T[:.\d]+Z", "AT", body)


def try_other_tenant(route):
    """Another tenant's id must look exactly as one that does not exist."""
    if not route.names or route.is_open or route.method == "PUT":
        return
    key = os.environ["SERVICE_TOKEN"] if route.is_internal else OTHER
    fields = {"X-Request-Id": "same"}
    if route.is_internal:
        fields["Switchboard-Tenant"] = "bad-input-other"
    own = {name: known_id(route.template, name) for name in route.names}
    absent = {
        name: str(uuid.uuid4()) if is_uuid(value) else f"absent-{uuid.uuid4().hex[:8]}"
        for name, value in own.items()
    }
    body = b"{}" if route.takes_body else None
    theirs = send(route.method, route.path, key, body, **fields)
    missing_path = route.filled(lambda _, name: absent[name])
    missing = send(route.method, missing_path, key, body, **fields)
    if normal(theirs, *own.values()) != normal(missing, *absent.values()):
        complain("another tenant's id", route, theirs, f"what an absent id gets: {missing.body!r}")
    if theirs.status < 400 and route.method != "GET":
        complain("another tenant's id", route, theirs, "404")
    if route.method == "GET" and theirs.status != 404:
        complain("another tenant's id", route, theirs, "404")


def is_uuid(text):
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def try_bodies(route):
    if not route.takes_body or route.is_open:
        return

    def post(body, content_type="application/json"):
        return send(route.method, route.path, route.key, body, content_type, **route.fields)

    properties = (route.schema or {}).get("properties", {})
    first = next(iter(properties), "a")
    check("not JSON", route, post(b'{"a": '), [400])
    check("nothing but text", route, post(b"hello"), [400])
    check("a list", route, post(b"[]"), [400, 422])
    check("a number", route, post(b"1"), [400, 422])
    check("another media type", route, post(b"{}", "text/plain"), [415])
    check("no media type", route, post(b"{}", None), [415])
    check("a form", route, post(b"a=b", "application/x-www-form-urlencoded"), [415])
    twice = f'{{"{first}": null, "{first}": null}}'.encode()
    check("a duplicate field", route, post(twice), [400])
    check("invalid UTF-8", route, post(b'{"' + first.encode() + b'": "\xff\xfe"}'), [400])
    check("a lone surrogate", route, post(f'{{"{first}": "\\ud800"}}'.encode()), [400])
    deep = f'{{"{first}": {"[" * DEEP}{"]" * DEEP}}}'.encode()
    check("nesting", route, post(deep), [400])
    check("a huge number", route, post(f'{{"{first}": 1e999}}'.encode()), [400, 422])
    large = b'{"' + first.encode() + b'": "' + b"x" * route.limit + b'"}'
    check("too large", route, post(large), [413])
    if (route.schema or {}).get("additionalProperties") is False:
        check("an unknown field", route, post(b'{"zz_unknown": 1}'), [422], "/zz_unknown")
    for name, schema in properties.items():
        body = json.dumps({name: wrong_value(schema)}).encode()
        answer = post(body)
        pointers = [f["pointer"] for f in (answer.document or {}).get("errors", [])]
        check(f"wrong type of {name}", route, answer, [422])
        if not any(p == f"/{name}" or p.startswith(f"/{name}/") for p in pointers):
            complain(f"wrong type of {name}", route, answer, f"a fault at /{name}")


def try_queries(route):
    if route.is_open:
        return
    for parameter in route.query:
        name, schema = parameter["name"], resolved(parameter["schema"])
        wrong = []
        if schema.get("type") == "integer":
            wrong = ["x", "-1", "99999999999999999999", "1.5"]
        elif name == "cursor":
            wrong = ["nonsense", "%00"]
        elif schema.get("format") in ("uuid", "date-time") or "enum" in schema:
            wrong = ["nonsense"]
        for value in wrong:
            path = f"{route.path}?{name}={value}"
            answer = send(route.method, path, route.key, **route.fields)
            check(f"?{name}={value}", route, answer, [400, 422])
    path = f"{route.path}?zz_unknown=1"
    if route.method == "GET":
        answer = send("GET", path, route.key, **route.fields)
        check("an unknown query parameter", route, answer, [422], "/query/zz_unknown")


def try_ids(route):
    if not route.names or route.is_open or route.method != "GET":
        return
    for value in ("no-such-thing", "%00", "%ff", "a" * 300, "'; select 1", "..%2f.."):
        path = route.filled(lambda _, name: urllib.parse.quote(value, safe="%"))
        answer = send("GET", path, route.key, **route.fields)
        check(f"the id {value[:20]}", route, answer, [400, 404, 422])


def is_served_by_another(path, method):
    """`GET /v1/messages/auto-assign` reads the message of that id."""
    return any(
        method.lower() in operations and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)
        for template, operations in DOCUMENT["paths"].items()
    )


def try_methods(template, methods):
    path = Route(template, "get", {"responses": {}}, known_id).path
    for method in METHODS + ["TRACE", "CONNECTED", "get"]:
        if method in methods or is_served_by_another(path, method):
            continue
        answer = send(method, path, KEYS["admin"])
        where = f"{method} {template}"
        check("another method", where, answer, [405, 501, 400] if method == "TRACE" else [405])
        allowed = {name.strip() for name in (answer.fields["Allow"] or "").split(",")}
        if answer.status == 405 and not methods <= allowed:
            complain("another method", where, answer, f"Allow: {methods}")


def state():
    """What is stored, as a digest per table."""
    tables = sql(
        "select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname in ('platform', 'messaging', 'assignment', 'dispatch') "
        "and c.relkind in ('r', 'p') and not c.relispartition "
        # Signs of life of workers and instances go on by themselves, and so do places in a queue and
        # in a stream.
        "and c.relname not in "
        "('ai_workers', 'workers', 'instances', 'told_positions', 'stream_readers') order by 1"
    ).split()
    rows = {}
    for table in tables:
        # Places in a queue are told when their time comes.
        told = "where target <> 'session.position'" if table == "platform.outbox" else ""
        text = sql(f"select t::text from {table} t {told} order by 1")
        rows[table] = (text.count("\n"), hashlib.sha256(text.encode()).hexdigest())
    return rows


KEYS = {role: make_key(TENANT, role) for role in ROLES[:-1]} | {"admin": ADMIN}
OTHER = make_key("bad-input-other", "admin")


IDS = routes.resources("bad-input")
# Timers of what was tried before would fire meanwhile.
sql("update platform.timers set due_at = due_at + interval '1 hour'")
routes.settled()
DOCUMENT = send("GET", "/openapi.json").document
SCHEMAS = DOCUMENT["components"]["schemas"]
before = state()
count = 0
for template, operations in DOCUMENT["paths"].items():
    methods = {method.upper() for method in operations if method.upper() in METHODS}
    for method in sorted(methods):
        route = Route(template, method, operations[method.lower()], known_id)
        count += 1
        for attempt in (try_keys, try_other_tenant, try_bodies, try_queries, try_ids):
            attempt(route)
    try_methods(template, methods)
after = state()
for table, rows in after.items():
    if rows != before[table]:
        findings.append(f"{table} has changed: {before[table][0]} rows, then {rows[0]}")
print(f"{SERVICE}: {count} routes, {asked} requests, {len(findings)} findings")
print("\n".join(findings))
sys.exit(1 if findings else 0)
