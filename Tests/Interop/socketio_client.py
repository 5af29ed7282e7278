#!/usr/bin/env python3
"""The official Python client of Socket.IO against `/socket.io/`.

Three ways to connect: by WebSocket, by long-polling, and by long-polling with the upgrade. Each:
an unknown socket is refused with 401 and has no effect, events are acknowledged, a room's events
come in order, and who leaves is gone.
"""

import json
import os
import time
import urllib.request
import uuid

import socketio

URL = os.environ["MESSAGING_URL"]
AUTHORIZED = {"Authorization": f"Bearer {os.environ['SWITCHBOARD_AGENT_KEY']}"}


def call(method, path, body=None, headers=AUTHORIZED):
    request = urllib.request.Request(URL + path, method=method, headers=dict(headers))
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def conversation():
    channel = f"sio-{uuid.uuid4().hex[:12]}"
    service = {
        "Authorization": f"Bearer {os.environ['SERVICE_TOKEN']}",
        "Switchboard-Tenant": os.environ["SWITCHBOARD_TENANT"],
    }
    body = {"code": channel, "kind": "local", "version": 1}
    assert call("POST", "/v1/internal/channels", body, service)[0] == 200
    body = {"channel_code": channel, "contact": {"external_id": "c1"}}
    return call("POST", "/v1/conversations", body)[1]["id"]


def eventually(condition, what):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def check(transports):
    room = conversation()
    client = socketio.Client(reconnection=False, request_timeout=20)
    events, errors = [], []
    for name in ("thread.created", "message.created", "message.updated"):
        client.on(name, events.append)
    client.on("error", errors.append)
    client.connect(URL, headers=AUTHORIZED, transports=transports, wait_timeout=20)
    if transports is None:
        eventually(lambda: client.transport() == "websocket", "no upgrade")
    else:
        assert client.transport() == transports[0], client.transport()
    sid = client.get_sid()

    # Nobody has registered the socket: every one of the eight says 401, and nothing happens.
    some = str(uuid.uuid4())
    for name, data in {
        "connection.join": {"conversation_id": room},
        "thread.create": {"conversation_id": room, "title": "x"},
        "navigation.open": {"conversation_id": room},
        "message.edit": {"message_id": some, "text": "x"},
        "message.send": {"conversation_id": room, "text": "x"},
        "contact.update": {"contact_id": some, "name": "x"},
        "feedback.submit": {"message_id": some, "rating": "up"},
        "coaching.request": {"conversation_id": room, "draft": "x"},
    }.items():
        answer = client.call(name, data, timeout=20)
        assert (answer["type"], answer["status"]) == ("error", 401), answer
    client.emit("message.send", {"conversation_id": room, "text": "x"})
    eventually(lambda: errors, "no error event")
    assert errors[0]["status"] == 401
    assert call("GET", f"/v1/conversations/{room}/messages")[1]["items"] == []

    assert call("PUT", f"/v1/user-sessions/{sid}", {"user_id": "anna"})[0] == 201
    # `room_id` is what the users of the original say for a conversation.
    answer = client.call("connection.join", {"room_id": room, "since": 0}, timeout=20)
    assert answer["type"] == "ok", answer
    for number in range(20):
        answer = client.call(
            "message.send", {"conversation_id": room, "text": f"topic{number} {'é' * number}"},
            timeout=20,
        )
        assert answer["type"] == "ok", answer
    eventually(lambda: sum(e["type"] == "message.created" for e in events) == 20, events)
    numbers = [event["seq"] for event in events]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    users = call("GET", f"/v1/conversations/{room}/presence")[1]["users"]
    assert [user["user_id"] for user in users] == ["anna"], users

    client.disconnect()
    eventually(lambda: call("GET", f"/v1/user-sessions/{sid}")[0] == 404, "the session stayed")
    assert call("GET", f"/v1/conversations/{room}/presence")[1]["users"] == []
    return len(numbers)


def main():
    for name, transports in (
        ("websocket", ["websocket"]), ("polling", ["polling"]), ("upgrade", None),
    ):
        print(f"{name}: {check(transports)} events in order")
    status, _ = call("GET", "/socket.io/?EIO=3&transport=polling")
    assert status == 400
    status, refusal = call("GET", "/socket.io/?EIO=4&transport=polling&sid=nobody")
    assert status == 400 and refusal["message"] == "Session ID unknown", refusal
    status, _ = call("GET", "/socket.io/?EIO=4&transport=polling", headers={})
    assert status == 401


main()
