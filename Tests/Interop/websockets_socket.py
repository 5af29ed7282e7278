#!/usr/bin/env python3
"""`/v1/socket` with the client of the `websockets` library.

The eight groups of events do what they say; each refuses a socket without a session with 401, and
then nothing has happened. What a follower has is compared with what was done.
"""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "Integration"))
from socket_client import Socket, call, conversation  # noqa: E402


ADMIN = {"Authorization": f"Bearer {os.environ['SWITCHBOARD_ADMIN_KEY']}"}


def sql(query):
    command = ["psql", os.environ["DATABASE_URL"], "-XAtqc", query]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def remembering_bot():
    """A bot whose AI is asked only after its memory was: each question counts there."""
    core, bot = str(uuid.uuid4()), str(uuid.uuid4())
    body = {"name": "AI", "api_endpoint": "http://127.0.0.1:9/v1", "meta_data": {"cache": True}}
    assert call("PUT", f"/v1/core-ai/{core}", body, ADMIN)[0] in (200, 201)
    body = {"name": "Lin", "core_ai_id": core}
    assert call("PUT", f"/v1/bots/{bot}", body, ADMIN)[0] in (200, 201)
    return bot


def asked():
    """How often an AI was asked, or its memory."""
    _, answer = call("GET", "/v1/admin/integrations", headers=ADMIN)
    cache = next(item for item in answer["items"] if item["name"] == "message_cache")
    return cache["hits"] + cache["misses"]


def state(made, message):
    """Everything that a frame could have changed; judgements and questions to the AI included."""
    path = f"/v1/conversations/{made['id']}"
    return [
        call("GET", p)[1]
        for p in (path, f"{path}/messages", f"{path}/threads", f"{path}/presence",
                  f"/v1/messages/{message}")
    ] + [sql(f"select count(*) from messaging.feedback where message_id = '{message}'"), asked()]


def main():
    made = conversation(bot_id=remembering_bot())
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
    questions = before[-1]

    follower = Socket(f"?conversation_id={room}&since=0")
    socket = Socket()
    answers = {kind: socket.ask(mine, kind, data) for kind, data in requests.items()}
    for kind, answer in answers.items():
        assert answer["type"] == "ok", (kind, answer)
    sent = answers["message.send"]["data"]["message"]
    assert sent["sender"] == {"kind": "agent", "id": "anna"}, sent
    assert answers["coaching.request"]["data"]["advice"]
    judged, questions_then = state(made, message)[-2:]
    assert judged == "1" and questions_then > questions, "what would show an effect does not"
    _, messages = call("GET", f"/v1/conversations/{room}/messages")
    assert [m["text"] for m in messages["items"]] == [
        "hello from a socket", "the first one, edited",
    ], "advice must not be posted"
    assert call("GET", f"/v1/conversations/{room}")[1]["contact"]["name"] == "Benjamin"
    users = call("GET", f"/v1/conversations/{room}/presence")[1]["users"]
    assert [u["user_id"] for u in users] == ["anna"], users

    # Who follows sees all of it, in order and without a hole.
    while not any(e["data"].get("text") == "hello from a socket" for e in follower.events):
        follower.take(10)
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
