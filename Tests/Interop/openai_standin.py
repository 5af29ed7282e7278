"""Drives the AI stand-in with OpenAI's own client: what that accepts, our provider may rely on.

Usage: openai_standin.py [http://127.0.0.1:PORT]

With the address of a stand-in that our provider has asked it holds those requests against the
client's own types instead, and against `openai_chat_request.schema.json`: what OpenAI's published
OpenAPI document (openai/openai-openapi, version 2.3.0, MIT) says of this request.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import get_type_hints

import openai
from jsonschema import Draft202012Validator, ValidationError
from openai.types.chat import ChatCompletionMessageParam
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

SCHEMA = Path(__file__).resolve().parent / "openai_chat_request.schema.json"
STANDIN = Path(__file__).resolve().parent.parent / "AIStandIn" / "ai_standin.py"


def free_port():
    with socket.socket() as probe:
        for port in range(21100, 22700):
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def client(base, fault, retries=0, timeout=2.0):
    return openai.OpenAI(
        api_key="sk-test", base_url=f"{base}/{fault}/x{time.time()}/v1", max_retries=retries,
        timeout=timeout,
    )


def ask(made):
    return made.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "hello"}], n=1
    )


def refused(made, kind):
    try:
        ask(made)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_standin(base):
    answer = ask(client(base, "ok"))
    assert answer.choices[0].message.content == "You said: hello", answer
    assert answer.usage.total_tokens == 7 and answer.object == "chat.completion", answer
    # The client waits as it is told and tries again by itself.
    for fault in ["rate-once", "rate-ms-once", "server-twice", "conflict-once"]:
        assert ask(client(base, fault, retries=2)).choices[0].finish_reason == "stop", fault
    limited = refused(client(base, "rate-once"), openai.RateLimitError)
    assert limited.response.headers["retry-after"] == "1", limited
    assert refused(client(base, "quota", retries=0), openai.RateLimitError).code == "insufficient_quota"
    refused(client(base, "bad-key"), openai.AuthenticationError)
    refused(client(base, "forbidden"), openai.PermissionDeniedError)
    refused(client(base, "no-model"), openai.NotFoundError)
    refused(client(base, "bad-request"), openai.BadRequestError)
    refused(client(base, "html"), openai.InternalServerError)
    refused(client(base, "reset"), openai.APIConnectionError)
    refused(client(base, "hang", timeout=0.5), openai.APITimeoutError)
    try:
        openai.OpenAI(api_key="wrong", base_url=f"{base}/ok/y/v1", max_retries=0).models.list()
        raise AssertionError("another route was answered")
    except openai.NotFoundError:
        pass
    refused(
        openai.OpenAI(api_key="wrong", base_url=f"{base}/ok/z/v1", max_retries=0),
        openai.AuthenticationError,
    )


def check_bodies(documents):
    """Every body against the official client's own type and OpenAI's own schema, and nothing that
    they do not know."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    official = Draft202012Validator(schema)
    whole = TypeAdapter(CompletionCreateParamsNonStreaming)
    # An iterable in that type is not looked into.
    turns = TypeAdapter(list[ChatCompletionMessageParam])
    known = set(get_type_hints(CompletionCreateParamsNonStreaming))
    for document in documents:
        assert set(document) <= known, set(document) - known
        whole.validate_python(document)
        turns.validate_python(document["messages"])
        official.validate(document)


def main():
    if len(sys.argv) > 1:
        bodies = [r["body"] for r in fetch(f"{sys.argv[1]}/_requests")["requests"] if r["body"]]
        assert bodies, "nothing was asked"
        check_bodies(bodies)
        print(f"{len(bodies)} requests are as the client's types and the published schema say")
        return
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([sys.executable, str(STANDIN), str(port)])
    try:
        for _ in range(100):
            try:
                fetch(f"{base}/healthz")
                break
            except OSError:
                time.sleep(0.05)
        check_standin(base)
        check_bodies([{"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 1,
                       "stream": False}])
        for wrong in [
            {"model": 1, "messages": []},
            {"model": "m", "messages": "x"},
            {"model": "m", "messages": [{"role": "nobody", "content": "x"}]},
            {"model": "m", "messages": [], "bot": "x"},
        ]:
            try:
                check_bodies([wrong])
            except (AssertionError, ValueError, ValidationError):
                continue
            raise AssertionError(f"passed: {wrong}")
        for wrong in [
            {"model": 1, "messages": [{"role": "user", "content": "x"}]},
            {"model": "m", "messages": []},
            {"model": "m", "messages": [{"role": "nobody", "content": "x"}]},
            {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 0},
        ]:
            schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
            assert not Draft202012Validator(schema).is_valid(wrong), f"the schema takes {wrong}"
        print("the openai client and the stand-in agree")
    finally:
        server.terminate()
        server.wait(timeout=5)


if __name__ == "__main__":
    os.environ.pop("OPENAI_API_KEY", None)
    main()
