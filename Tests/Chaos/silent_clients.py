#!/usr/bin/env python3
"""Clients of Socket.IO that stop answering and do not say so, as behind a connection that is half open.

Each is let go 20 s after the first ping that it leaves unanswered (25 s after it came), and its user is
no longer in the conversation.
"""

import json
import os
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

URL = os.environ["MESSAGING_URL"]
AUTHORIZED = {"Authorization": f"Bearer {os.environ['SWITCHBOARD_AGENT_KEY']}"}
PATH = "/socket.io/?EIO=4&transport="
# From the connection to its end: 45 s, and what a busy machine adds.
LASTS = (44, 60)


def send(method, path, body=None, headers=AUTHORIZED):
    """The status and text of an answer."""
    request = urllib.request.Request(URL + path, body, dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=LASTS[1]) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def call(method, path, body=None, headers=AUTHORIZED):
    """What a good answer says, as JSON."""
    sent = json.dumps(body).encode() if body is not None else None
    status, text = send(method, path, sent, {**headers, "Content-Type": "application/json"})
    assert status in (200, 201), (path, status, text)
    return json.loads(text)


def conversation():
    channel = f"silent-{uuid.uuid4().hex[:12]}"
    service = {
        "Authorization": f"Bearer {os.environ['SERVICE_TOKEN']}",
        "Switchboard-Tenant": os.environ["SWITCHBOARD_TENANT"],
    }
    channel_body = {"code": channel, "kind": "local", "version": 1}
    call("POST", "/v1/internal/channels", channel_body, service)
    return call("POST", "/v1/conversations", {
        "channel_code": channel, "contact": {"external_id": "c1"},
    })["id"]


def eventually(condition, what):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def users(room):
    return {user["user_id"] for user in call("GET", f"/v1/conversations/{room}/presence")["users"]}


def register(sid, user):
    call("PUT", f"/v1/user-sessions/{sid}", {"user_id": user})


def joining(room):
    """The packet of a client that comes into a conversation and waits for the answer."""
    return "421" + json.dumps(["connection.join", {"conversation_id": room, "since": 0}])


def judge(name, began, room):
    lasted = time.monotonic() - began
    assert LASTS[0] < lasted < LASTS[1], f"{name}: {lasted:.1f} s"
    eventually(lambda: name not in users(room), f"{name} is still there")
    return f"{name}: let go after {lasted:.0f} s"


def by_websocket(room):
    began = time.monotonic()
    with connect(f"ws{URL[4:]}{PATH}websocket", additional_headers=AUTHORIZED) as socket:
        assert socket.recv(timeout=5).startswith("0{")
        socket.send("40")
        sid = json.loads(socket.recv(timeout=5)[2:])["sid"]
        register(sid, "by-websocket")
        socket.send(joining(room))
        eventually(lambda: "by-websocket" in users(room), "by-websocket is not there")
        heard = []
        try:
            while True:
                heard.append(socket.recv(timeout=LASTS[1]))
        except ConnectionClosed:
            pass
        assert heard.count("2") == 1, heard
    return judge("by-websocket", began, room)


def poll(sid=None, packet=None):
    """One request of a client that polls."""
    path = f"{PATH}polling" + (f"&sid={sid}" if sid else "")
    return send("POST" if packet else "GET", path, packet.encode() if packet else None)


def by_polling(room):
    began = time.monotonic()
    connection = json.loads(poll()[1][1:])["sid"]
    assert poll(connection, "40")[0] == 200
    sid = json.loads(poll(connection)[1].split("\x1e")[0][2:])["sid"]
    register(sid, "by-polling")
    assert poll(connection, joining(room))[0] == 200
    eventually(lambda: "by-polling" in users(room), "by-polling is not there")
    pings = 0
    while True:
        status, text = poll(connection)
        pings += text.split("\x1e").count("2")
        # The end is an answer to the poll that is open, or the refusal of the next one.
        if status != 200 or "1" in text.split("\x1e"):
            break
    assert pings == 1, pings
    return judge("by-polling", began, room)


def main():
    room = conversation()
    with ThreadPoolExecutor() as pool:
        for ended in [pool.submit(by_websocket, room), pool.submit(by_polling, room)]:
            print(ended.result(timeout=120))
    print("every silent client is gone")


if __name__ == "__main__":
    main()
