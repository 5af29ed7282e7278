#!/usr/bin/env python3
"""Many clients follow one conversation: what they cost, and how soon an event is with all of them.

    compose/local run -- python3 Tests/Bench/live_streams.py [clients]

Prints the memory that messaging's process took for them, and for ten messages the time from the
request to the last client.
"""

import asyncio
import json
import os
import sys
import time
import urllib.parse
import urllib.request
import uuid

URL = os.environ["MESSAGING_URL"]
KEY = os.environ["SWITCHBOARD_AGENT_KEY"]
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
CLIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 5000


def call(method, path, body, headers=AUTHORIZED):
    request = urllib.request.Request(URL + path, method=method, headers=dict(headers))
    request.add_header("Content-Type", "application/json")
    request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def conversation():
    channel = f"bench-{uuid.uuid4().hex[:12]}"
    service = {
        "Authorization": f"Bearer {os.environ['SERVICE_TOKEN']}",
        "Switchboard-Tenant": os.environ["SWITCHBOARD_TENANT"],
    }
    call("POST", "/v1/internal/channels", {"code": channel, "kind": "local", "version": 1}, service)
    body = {"channel_code": channel, "contact": {"external_id": "c1"}}
    return call("POST", "/v1/conversations", body)["id"]


def resident():
    """MiB of messaging's process."""
    with open(os.environ["SWITCHBOARD_STACK"] + "/pids/messaging.1", encoding="ascii") as file:
        pid = file.read().strip()
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Follower(asyncio.Protocol):
    """Counts the events that a stream brings."""

    def __init__(self, head, board):
        self.head, self.board, self.begun = head, board, False

    def connection_made(self, transport):
        transport.write(self.head)

    def data_received(self, data):
        if not self.begun:
            self.begun = True
            self.board["begun"] += 1
        self.board["events"] += data.count(b'"message.created"')

    def connection_lost(self, error):
        self.board["lost"] += 1


async def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.002)


async def main():
    room = conversation()
    parts = urllib.parse.urlsplit(URL)
    head = f"GET /v1/stream?conversation_id={room} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head = (head + f"Authorization: Bearer {KEY}\r\n\r\n").encode()
    board = {"begun": 0, "events": 0, "lost": 0}
    before = resident()
    loop = asyncio.get_running_loop()
    for start in range(0, CLIENTS, 100):
        await asyncio.gather(
            *(
                loop.create_connection(lambda: Follower(head, board), parts.hostname, parts.port)
                for _ in range(min(100, CLIENTS - start))
            )
        )
        await until(lambda: board["begun"] >= min(start + 100, CLIENTS), 30)
    await asyncio.sleep(1)  # for what the first reads left behind
    held = resident() - before
    print(f"{CLIENTS} streams: {held:.1f} MiB, {held * 1024 / CLIENTS:.1f} KiB each")
    times = []
    for number in range(10):
        board["events"] = 0
        begun = time.monotonic()
        sending = loop.run_in_executor(
            None, call, "POST", f"/v1/conversations/{room}/messages",
            {"sender": {"kind": "agent", "id": "a"}, "text": f"topic{number}"},
        )
        await until(lambda: board["events"] >= CLIENTS, 20)
        times.append((time.monotonic() - begun) * 1000)
        await sending
    times.sort()
    print(f"one event to all: median {times[5]:.0f} ms, slowest {times[-1]:.0f} ms; lost {board['lost']}")
    print(f"afterwards {resident() - before:.1f} MiB")


asyncio.run(main())
