"""A server that behaves like OpenAI's chat completions, refuses what they refuse, and fails on demand.

Usage: ai_standin.py PORT

    POST /FAULT/ANYTHING/v1/chat/completions   FAULT is a key of FAULTS; `ok` fails in nothing
    GET  /_requests                            what was asked so far, and what became of it
    GET  /healthz

`Tests/Interop/openai_standin.py` drives it with the official client.
"""

import asyncio
import json
import sys
import time
from email.utils import formatdate

KNOWN_FIELDS = {
    "model", "messages", "n", "stream", "temperature", "max_completion_tokens", "max_tokens",
    "top_p", "stop", "user", "seed", "response_format", "metadata", "store",
}
ROLES = {"system", "developer", "user", "assistant", "tool"}
BODY_MAX = 4 << 20

requests = []
calls = {}


class Refusal(Exception):
    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


def checked(method, path, headers, body):
    """The request's document, or the refusal that the real one would answer."""
    if method != "POST" or not path.endswith("/v1/chat/completions"):
        raise Refusal(404, "not_found", "no such route")
    if not path.startswith("/open/"):
        if not headers.get("authorization", "").startswith("Bearer sk-"):
            raise Refusal(401, "invalid_api_key", "no key")
    elif "authorization" in headers:
        raise Refusal(400, "unexpected_key", "a key was sent where none is wanted")
    if headers.get("content-type", "").split(";")[0] != "application/json":
        raise Refusal(400, "invalid_type", "not JSON")
    try:
        document = json.loads(body)
    except ValueError:
        raise Refusal(400, "invalid_json", "not JSON") from None
    unknown = set(document) - KNOWN_FIELDS
    if unknown:
        raise Refusal(400, "unknown_parameter", f"unknown: {sorted(unknown)}")
    if not isinstance(document.get("model"), str) or not document["model"]:
        raise Refusal(400, "missing_required_parameter", "model")
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "missing_required_parameter", "messages")
    for message in messages:
        if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise Refusal(400, "invalid_value", "messages")
    return document


def completion(document, content, finish="stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": content, "refusal": None},
              "finish_reason": finish, "logprobs": None}
    answer = {"id": f"chatcmpl-{len(requests)}", "object": "chat.completion",
              "created": int(time.time()), "model": document["model"], "choices": [choice],
              "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
    answer.update(more)
    return answer


def echo(document):
    said = [m["content"] for m in document["messages"] if m["role"] == "user"]
    return f"You said: {said[-1] if said else ''}"


def head(status, headers=(), length=None, kind="application/json"):
    lines = [f"HTTP/1.1 {status} Answer", f"Content-Type: {kind}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(status, value, headers=(), kind="application/json"):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return head(status, headers, len(body), kind) + body


def error(status, code, message, headers=()):
    kind = {429: "rate_limit_error"}.get(status, "invalid_request_error")
    return whole(status, {"error": {"message": message, "type": kind, "param": None, "code": code}},
                 headers)


# What a fault does: (writer, document, number of the call on this path) -> None.

def answering(make):
    async def fault(writer, document, number):
        writer.write(make(document, number))
    return fault


def failing_first(times, make):
    def fault(document, number):
        return make() if number <= times else whole(200, completion(document, echo(document)))
    return answering(fault)


async def hang(writer, document, number):
    await asyncio.sleep(60)


def thinking(seconds):
    async def fault(writer, document, number):
        await asyncio.sleep(seconds)
        writer.write(whole(200, completion(document, echo(document))))
    return fault


async def drip(writer, document, number):
    answer = whole(200, completion(document, echo(document)))
    for byte in answer:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.2)


async def huge(writer, document, number):
    """A hundred megabytes of a string that does not end."""
    writer.write(head(200) + b'{"choices": [{"message": {"content": "')
    for _ in range(100):
        writer.write(b"a" * (1 << 20))
        await writer.drain()


async def reset(writer, document, number):
    writer.transport.abort()


async def cut(writer, document, number):
    answer = whole(200, completion(document, echo(document)))
    writer.write(answer[:-20])


NESTED = b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
FAULTS = {
    "ok": answering(lambda d, n: whole(200, completion(d, echo(d)))),
    "open": answering(lambda d, n: whole(200, completion(d, echo(d)))),
    "minimal": answering(lambda d, n: whole(200, {
        "id": "x", "object": "chat.completion", "created": 1, "model": d["model"],
        "choices": [{"message": {"content": echo(d)}}], "surprise": [1]})),
    "odd-text": answering(lambda d, n: whole(200, completion(
        d, "a\u0000b <!channel> <@U1> 1 < 2 & 3\u001b[0m"))),
    "marker": answering(lambda d, n: whole(200, completion(d, "Wait. [[handover]]"))),
    "slow": thinking(2),
    # For what needs more than that on a busy machine, such as the start of a process.
    "slower": thinking(6),
    "rate-once": failing_first(1, lambda: error(
        429, "rate_limit_exceeded", "slow down", [("Retry-After", "1")])),
    "rate-ms-once": failing_first(1, lambda: error(
        429, "rate_limit_exceeded", "slow down", [("retry-after-ms", "300"), ("Retry-After", "90")])),
    "rate-date-once": failing_first(1, lambda: error(
        429, "rate_limit_exceeded", "slow down",
        [("Retry-After", formatdate(time.time() + 2, usegmt=True))])),
    "server-twice": failing_first(2, lambda: error(500, None, "oops")),
    "conflict-once": failing_first(1, lambda: error(409, None, "conflict")),
    "rate-long": answering(lambda d, n: error(
        429, "rate_limit_exceeded", "come tomorrow", [("Retry-After", "3600")])),
    "quota": answering(lambda d, n: error(429, "insufficient_quota", "pay")),
    "no-retry": answering(lambda d, n: error(500, None, "no", [("x-should-retry", "false")])),
    "bad-request": answering(lambda d, n: error(400, "context_length_exceeded", "too long")),
    "bad-key": answering(lambda d, n: error(401, "invalid_api_key", "wrong key")),
    "forbidden": answering(lambda d, n: error(403, None, "no")),
    "no-model": answering(lambda d, n: error(404, "model_not_found", "no model")),
    "redirect": answering(lambda d, n: whole(
        302, {}, [("Location", "http://127.0.0.1:1/elsewhere")])),
    "html": answering(lambda d, n: whole(502, b"<html>Bad Gateway</html>", kind="text/html")),
    "garbage": answering(lambda d, n: whole(200, b"\xff\xfe{not json")),
    "nested": answering(lambda d, n: whole(200, NESTED)),
    "wrong-types": answering(lambda d, n: whole(200, {"choices": {"0": 1}})),
    "no-choices": answering(lambda d, n: whole(200, completion(d, "x", choices=[]))),
    "blank": answering(lambda d, n: whole(200, completion(d, " \n\u0000\u200b\t"))),
    "no-content": answering(lambda d, n: whole(200, completion(d, None, "content_filter"))),
    "hang": hang,
    "drip": drip,
    "huge": huge,
    "reset": reset,
    "cut": cut,
}


async def read_request(reader):
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        if line:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if length > BODY_MAX:
        raise Refusal(413, "too_large", "too large")
    return method, path, headers, await reader.readexactly(length)


async def perform(writer, method, path, headers, body):
    if path == "/healthz":
        return writer.write(whole(200, {"status": "ok"}))
    if path == "/_requests":
        return writer.write(whole(200, {"requests": requests}))
    record = {"path": path, "request_id": headers.get("x-request-id"), "body": None, "end": "open"}
    requests.append(record)
    document = checked(method, path, headers, body)
    record["body"] = document
    calls[path] = calls.get(path, 0) + 1
    fault = FAULTS.get(path.split("/")[1])
    if fault is None:
        raise Refusal(404, "not_found", "no such fault")
    try:
        await fault(writer, document, calls[path])
        record["end"] = "answered"
    except asyncio.CancelledError:
        # The caller went away while it waited.
        record["end"] = "aborted"
        raise
    except ConnectionError:
        record["end"] = "aborted"


async def serve(reader, writer):
    try:
        method, path, headers, body = await read_request(reader)
        work = asyncio.ensure_future(perform(writer, method, path, headers, body))
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
        gone.cancel()
        await work
        await writer.drain()
    except Refusal as refusal:
        writer.write(error(refusal.status, refusal.code, refusal.message, refusal.headers))
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
