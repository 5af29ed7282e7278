#!/usr/bin/env python3
"""The official Python client of Socket.IO against two instances that share a port.

By WebSocket, by long-polling, and by long-polling with the upgrade; each instance is killed once while
messages come in. A client begins anew when its session is gone, and joins with the seq that it has:
no event may be missed. Needs `compose/local run --replicas 2`.
"""

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
import uuid

import socketio

URL = os.environ["MESSAGING_URL"]
STACK = os.environ["SWITCHBOARD_STACK"]
AUTHORIZED = {"Authorization": f"Bearer {os.environ['SWITCHBOARD_AGENT_KEY']}"}

PIDS = {}


def call(method, path, body=None, headers=AUTHORIZED, tries=100):
    for _ in range(tries):
        request = urllib.request.Request(URL + path, method=method, headers=dict(headers))
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no answer to {method} {path}")


def eventually(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


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


class Follower:
    """Follows a room as an application does: joins again, from where it was, at every connection."""

    def __init__(self, room, transports):
        self.room, self.transports = room, transports
        self.events, self.connections, self.stopped = [], 0, False
        self.client = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            self.client = client = socketio.Client(reconnection=False, request_timeout=5)
            client.on("*", self.take)
            try:
                client.connect(
                    URL, headers=AUTHORIZED, transports=self.transports, wait_timeout=5
                )
                if self.transports is None:
                    # On whichever instance its WebSocket came: the client does not go on polling.
                    assert client.transport() == "websocket", client.transport()
                sid = client.get_sid()
                assert call("PUT", f"/v1/user-sessions/{sid}", {"user_id": "anna"})[0] == 201
                since = self.events[-1] if self.events else 0
                answer = client.call(
                    "connection.join", {"room_id": self.room, "since": since}, timeout=5
                )
                assert answer["type"] == "ok", answer
                self.connections += 1
                client.wait()
            except (socketio.exceptions.SocketIOError, OSError):
                pass
            if client.connected:
                client.disconnect()
            time.sleep(0.1)

    def take(self, name, *arguments):
        event = arguments[0]
        if isinstance(event, dict) and event.get("seq") is not None:
            assert name != "resync_required", event
            self.events.append(event["seq"])

    def stop(self):
        self.stopped = True
        self.client.disconnect()


def refused_where_nobody_has_it():
    """An id that no instance has is told so as Engine.IO tells it."""
    for sid in ("nobody", "12345678-" + str(uuid.uuid4())):
        for method in ("GET", "POST"):
            status, refusal = call(
                method, f"/socket.io/?EIO=4&transport=polling&sid={sid}",
                {} if method == "POST" else None,
            )
            assert status == 400, (status, refusal)
            assert refusal["engine_io_code"] == 1, refusal
            assert refusal["message"] == "Session ID unknown", refusal


def pid_of(number):
    """The process of an instance; the same as before while its file is being written."""
    with open(f"{STACK}/pids/messaging.{number}", encoding="ascii") as file:
        PIDS[number] = int(file.read() or PIDS[number])
    return PIDS[number]


def main():
    refused_where_nobody_has_it()
    room = conversation()
    followers = [
        Follower(room, transports)
        for transports in (["websocket"], ["polling"], None, None)
        for _ in range(3)
    ]
    eventually(lambda: all(f.connections for f in followers), "not all came in")
    first = [f.connections for f in followers]
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            status, _ = call(
                "POST", f"/v1/conversations/{room}/messages",
                {"sender": {"kind": "agent", "id": "a"}, "text": f"topic{number}",
                 "external_id": f"{room}-{number}"},
            )
            assert status in (200, 201), status
            time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(2)  # of ordinary traffic
    # Nobody was cut while both were there: polls find their session on either instance.
    assert [f.connections for f in followers] == first, [f.connections for f in followers]
    for number in (1, 2):
        old = pid_of(number)
        os.kill(old, signal.SIGKILL)
        eventually(lambda: pid_of(number) != old, "it does not come back")
        time.sleep(3)
    stop.set()
    writer.join()
    head = int(
        call("GET", f"/v1/conversations/{room}/messages?limit=1")[1]["items"][0]["seq"]
    )
    for follower in followers:
        eventually(
            lambda: follower.events and follower.events == list(range(1, len(follower.events) + 1))
            and len(follower.events) >= head,
            f"{follower.transports}: {follower.events[-3:]} of {head}",
        )
    again = sum(f.connections for f in followers) - len(followers)
    assert again > 0, "nobody was cut: the test shows nothing"
    sizes = {len(f.events) for f in followers}
    for follower in followers:
        follower.stop()
    print(f"every client has every event: {max(sizes)} events, {again} connections anew")


main()
