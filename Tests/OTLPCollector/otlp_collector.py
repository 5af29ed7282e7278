"""A collector of OpenTelemetry that keeps what it is sent, as OTLP/HTTP in JSON, and checks its form.

    otlp_collector.py PORT FILE

POST /v1/traces    appends each span to FILE, a line each, with its service; 400 for what is malformed
POST /mode/MODE    from now on: take, refuse (400), busy (503 with Retry-After: 1), hang (no answer)
GET  /faults       what was malformed so far, a line each
"""

import asyncio
import json
import re
import sys

faults = []
mode = "take"


def check(span):
    """What OTLP's JSON mapping asks of a span."""
    if not re.fullmatch("[0-9a-f]{32}", span["traceId"]):
        raise ValueError(f"traceId {span['traceId']!r}")
    for name in ("spanId", "parentSpanId"):
        if name in span and not re.fullmatch("[0-9a-f]{16}", span[name]):
            raise ValueError(f"{name} {span[name]!r}")
    for name in ("startTimeUnixNano", "endTimeUnixNano"):
        if not isinstance(span[name], str) or not span[name].isdigit():
            raise ValueError(f"{name} {span[name]!r}")
    if int(span["startTimeUnixNano"]) > int(span["endTimeUnixNano"]):
        raise ValueError(f"{span['name']} ends before it begins")
    if span["kind"] not in range(1, 6) or not span["name"]:
        raise ValueError(f"kind {span['kind']!r} of {span['name']!r}")


def attributes(of):
    values = {}
    for attribute in of.get("attributes", []):
        (kind, value), = attribute["value"].items()
        values[attribute["key"]] = int(value) if kind == "intValue" else value
    return values


def take(document, file):
    for resource in document["resourceSpans"]:
        service = attributes(resource["resource"])["service.name"]
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                check(span)
                line = dict(span, service=service, attributes=attributes(span))
                file.write(json.dumps(line) + "\n")
    file.flush()


async def answer(reader, writer, file):
    global mode
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    method, path, _ = head.split(" ", 2)
    length = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    status, text, fields = 200, "{}", ""
    if path.startswith("/mode/"):
        mode = path.removeprefix("/mode/")
    elif path == "/faults":
        text = "".join(fault + "\n" for fault in faults)
    elif mode == "hang":
        await asyncio.sleep(3600)
    elif mode == "busy":
        status, fields = 503, "Retry-After: 1\r\n"
    elif mode == "refuse":
        status = 400
    else:
        try:
            if not re.search(r"(?i)\r\ncontent-type: *application/json\r\n", head):
                raise ValueError("Content-Type is not application/json")
            take(json.loads(body), file)
        except (ValueError, KeyError, TypeError) as fault:
            faults.append(f"{type(fault).__name__}: {fault}")
            status = 400
    writer.write(
        f"HTTP/1.1 {status} -\r\n{fields}Content-Length: {len(text)}\r\n\r\n{text}".encode()
    )
    await writer.drain()


async def main():
    file = open(sys.argv[2], "a")

    async def serve(reader, writer):
        try:
            while True:
                await answer(reader, writer, file)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
