#!/usr/bin/env python3
"""`/v1/socket` with the client of the `websockets` library.

The eight groups of events do what they say; each refuses a socket without a session with 401, and
then nothing has happened. What a follower has is compared with what was done.
"""

import json
import os
import urllib.request
import uuid

from websockets.sync.client import connect

URL = os.environ["MESSAGING_URL"]
KEY = os.environ["SWITCHBOARD_AGENT_KEY"]
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


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


class Socket:
    """A connection, and what came by it that was no answer."""

    def __init__(self, query=""):
        url = URL.replace("http://", "ws://") + "/v1/socket" + query
        self.connection = connect(url, additional_headers=AUTHORIZED, legacy=True)
        self.events = []
        self.number = 0

    def ask(self, socket_id, kind, data):
        self.number += 1
        self.connection.send(
            json.dumps({"type": kind, "id": self.number, "socket_id": socket_id, "data": data})
        )
        while True:
            frame = json.loads(self.connection.recv(timeout=20))
            if "ref" in frame:
                assert frame["ref"] == self.number, frame
                return frame
            self.events.append(frame)

    def wait_for(self, kind):
        while not any(event["type"] == kind for event in self.events):
            frame = json.loads(self.connection.recv(timeout=10))
            assert "ref" not in frame, frame
            self.events.append(frame)
        return next(event for event in self.events if event["type"] == kind)


def conversation():
    channel = f"ws-{uuid.uuid4().hex[:12]}"
    service = {
        "Authorization": f"Bearer {os.environ['SERVICE_TOKEN']}",
        "Switchboard-Tenant": os.environ["SWITCHBOARD_TENANT"],
    }
    body = {"code": channel, "kind": "local", "version": 1}
    assert call("POST", "/v1/internal/channels", body, service)[0] == 200
    body = {"channel_code": channel, "contact": {"external_id": "c1", "name": "Ben"}}
    status, made = call("POST", "/v1/conversations", body)
    assert status == 201, made
    return made


def state(made, message):
    """Everything that a frame could have changed."""
    path = f"/v1/conversations/{made['id']}"
    return [
        call("GET", p)[1]
        for p in (path, f"{path}/messages", f"{path}/threads", f"{path}/presence",
                  f"/v1/messages/{message}")
    ]


def main():
    made = conversation()
    room = made["id"]
    mine = f"s-{uuid.uuid4().hex}"
    status, session = call("PUT", f"/v1/user-sessions/{mine}", {"user_id": "anna"})
    assert status == 201, session
    status, first = call(
        "POST",
        f"/v1/conversations/{room}/messages",
        {"sender": {"kind": "agent", "id": "x"}, "text": "the first one"},
    )
    assert status == 201, first
    message = first["message"]["id"]

    requests = {
        "connection.join": {"conversation_id": room},
        "thread.create": {"conversation_id": room, "title": "Refunds"},
        "navigation.open": {"conversation_id": room},
        "message.edit": {"message_id": message, "text": "the first one, edited"},
        "message.send": {"conversation_id": room, "text": "hello from a socket"},
        "contact.update": {"contact_id": made["contact"]["id"], "name": "Benjamin"},
        "feedback.submit": {"message_id": message, "rating": "up"},
        "coaching.request": {"conversation_id": room, "draft": "we dont know"},
    }

    before = state(made, message)
    stranger = Socket()
    for kind, data in requests.items():
        answer = stranger.ask("nobody-knows-me", kind, data)
        assert (answer["type"], answer["status"], answer["code"]) == (
            "error", 401, "unknown_socket",
        ), answer
    assert state(made, message) == before, "an unknown socket had an effect"
    assert stranger.events == []

    follower = Socket(f"?conversation_id={room}&since=0")
    socket = Socket()
    answers = {kind: socket.ask(mine, kind, data) for kind, data in requests.items()}
    for kind, answer in answers.items():
        assert answer["type"] == "ok", (kind, answer)
    sent = answers["message.send"]["data"]["message"]
    assert sent["sender"] == {"kind": "agent", "id": "anna"}, sent
    assert answers["coaching.request"]["data"]["advice"]
    _, messages = call("GET", f"/v1/conversations/{room}/messages")
    assert [m["text"] for m in messages["items"]] == [
        "hello from a socket", "the first one, edited",
    ], "advice must not be posted"
    assert call("GET", f"/v1/conversations/{room}")[1]["contact"]["name"] == "Benjamin"
    users = call("GET", f"/v1/conversations/{room}/presence")[1]["users"]
    assert [u["user_id"] for u in users] == ["anna"], users

    # Who follows sees all of it, in order and without a hole.
    follower.wait_for("message.updated")
    while follower.events[-1]["data"].get("text") != "hello from a socket":
        follower.events.append(json.loads(follower.connection.recv(timeout=10)))
    numbers = [event["seq"] for event in follower.events]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    # And so does who joined.
    assert socket.wait_for("thread.created")["data"]["title"] == "Refunds"

    # Frames that are none are answered, and the connection lives on.
    for text, status in (
        ("{", 400), ("[]", 422), ('{"type": "message.send"}', 422),
        (json.dumps({"type": "no.such", "id": 1, "socket_id": mine, "data": {}}), 404),
        (json.dumps({"type": "message.send", "socket_id": mine, "data": {"x": 1}}), 422),
    ):
        stranger.connection.send(text)
        answer = json.loads(stranger.connection.recv(timeout=10))
        assert answer["type"] == "error" and answer["status"] == status, (text, answer)

    # The connection ends, and with it the session that it joined for.
    socket.connection.close()
    for _ in range(100):
        if call("GET", f"/v1/user-sessions/{mine}")[0] == 404:
            break
    assert call("GET", f"/v1/user-sessions/{mine}")[0] == 404
    assert call("GET", f"/v1/conversations/{room}/presence")[1]["users"] == []
    print("eight handlers, eight refusals,", len(numbers), "events in order")


main()
