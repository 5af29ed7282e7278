#!/usr/bin/env python3
"""A Socket.IO client that began by polling one instance goes over to a WebSocket at the other.

The packets are made by hand, so that it is known which instance gets which. Needs SECOND_URL and
SECOND_PID; the second instance is killed at the end.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from socket_client import AUTHORIZED, URL, call, conversation  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

SECOND = os.environ["SECOND_URL"]
MESSAGES = 60


class Client:
    """A session at `owner`, whose WebSocket is at `other`."""

    def __init__(self, owner, other):
        self.owner, self.other, self.asked = owner, other, 0
        opened = self.poll("")
        assert opened[:1] == "0", opened
        self.sid = json.loads(opened[1:])["sid"]
        self.post("40")
        connected = self.poll()
        assert connected[:2] == "40", connected
        self.id = json.loads(connected[2:])["sid"]
        assert call("PUT", f"/v1/user-sessions/{self.id}", {"user_id": "anna"})[0] == 201
        self.events, self.answers = [], []

    def address(self, url, transport, sid):
        return f"{url}/socket.io/?EIO=4&transport={transport}" + (f"&sid={sid}" if sid else "")

    def poll(self, sid=None):
        sid = self.sid if sid is None else sid
        request = urllib.request.Request(
            self.address(self.owner, "polling", sid), headers=AUTHORIZED
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def post(self, packets):
        request = urllib.request.Request(
            self.address(self.owner, "polling", self.sid), data=packets.encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.read() == b"ok"

    def go_over(self):
        polled = []
        poll = threading.Thread(target=lambda: polled.append(self.poll()))
        poll.start()
        time.sleep(0.3)
        assert not polled, "there was nothing to poll"
        url = self.other.replace("http://", "ws://")
        self.socket = connect(self.address(url, "websocket", self.sid), legacy=True)
        self.socket.send("2probe")
        assert self.socket.recv(timeout=5) == "3probe"
        # The poll that waits is answered, and one that came before the client heard of it, too.
        began = time.monotonic()
        poll.join(2)
        assert polled == ["6"], polled
        assert self.poll() == "6" and time.monotonic() - began < 2
        self.socket.send("5")

    def ask(self, kind, data):
        self.asked += 1
        self.socket.send(f"42{self.asked}" + json.dumps([kind, data]))

    def take(self):
        packet = self.socket.recv(timeout=10)
        if packet == "2":
            self.socket.send("3")
        elif packet.startswith("43"):
            number, document = packet[2:].split("[", 1)
            answer = json.loads("[" + document)[0]
            assert answer["type"] == "ok", answer
            self.answers.append(int(number))
        else:
            assert packet.startswith("42"), packet
            event = json.loads(packet[2:])[1]
            if event.get("seq") is not None:
                self.events.append(event["seq"])


def main():
    room = conversation()["id"]
    client = Client(URL, SECOND)
    client.go_over()
    client.ask("connection.join", {"conversation_id": room, "since": 0})
    for number in range(MESSAGES):
        if number % 2:
            client.ask("message.send", {"conversation_id": room, "text": f"topic{number}"})
        else:
            body = {"sender": {"kind": "agent", "id": "ben"}, "text": f"topic{number}"}
            assert call("POST", f"/v1/conversations/{room}/messages", body)[0] == 201
    while len(client.answers) < client.asked or len(client.events) < MESSAGES:
        client.take()
    assert client.answers == list(range(1, client.asked + 1)), client.answers
    assert client.events == list(range(1, len(client.events) + 1)), client.events
    # Its end is its session's end, over there.
    client.socket.close()
    end = time.monotonic() + 10
    while call("GET", f"/v1/user-sessions/{client.id}")[0] != 404:
        assert time.monotonic() < end, "the session outlives its WebSocket"
        time.sleep(0.05)

    # No instance has it: refused as it always was.
    try:
        connect(client.address(URL.replace("http", "ws"), "websocket", "12345678-x"), legacy=True)
        raise AssertionError("nobody's session was taken over")
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 400, refusal

    # The instance that has the session dies: its client hears of it, and can begin anew.
    client = Client(SECOND, URL)
    client.go_over()
    client.ask("connection.join", {"conversation_id": room})
    while not client.answers:
        client.take()
    os.kill(int(os.environ["SECOND_PID"]), signal.SIGKILL)
    began = time.monotonic()
    try:
        while True:
            client.take()
    except ConnectionClosed:
        took = time.monotonic() - began
    assert took < 9, took
    print("gone over to the other instance, with every event in order")


main()
