#!/usr/bin/env python3
"""socket_stays.py URL USER CONVERSATION SECONDS: a socket that has joined, and prints what it hears."""

import json
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from socket_client import Socket, call  # noqa: E402

url, user, room, seconds = sys.argv[1:]
watcher = Socket(f"?conversation_id={room}", url=url)
time.sleep(1)  # in which the instance has looked who is there
socket_id = f"s-{uuid.uuid4().hex}"
assert call("PUT", f"/v1/user-sessions/{socket_id}", {"user_id": user}, url=url)[0] == 201
socket = Socket(url=url)
assert socket.ask(socket_id, "connection.join", {"conversation_id": room})["type"] == "ok"
end = time.monotonic() + float(seconds)
while time.monotonic() < end:
    try:
        watcher.take(0.5)
    except TimeoutError:
        continue
    for event in watcher.events:
        print(json.dumps(event), flush=True)
    watcher.events.clear()
