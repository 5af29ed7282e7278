#!/usr/bin/env python3
"""A client of `/v1/socket` at the second instance, which is killed while messages come in at the first.

It goes on at the first from after the last seq that it has: every event must come, once and in order.
Needs SECOND_URL and SECOND_PID.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from socket_client import URL, Socket, call  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

MESSAGES = 150
room = sys.argv[1]
written = threading.Event()


def write():
    for number in range(MESSAGES):
        body = {"sender": {"kind": "agent", "id": "anna"}, "text": f"message {number}"}
        status, answer = call("POST", f"/v1/conversations/{room}/messages", body)
        assert status == 201, answer
        time.sleep(0.02)
    written.set()


def numbered(socket):
    """The seqs of what has come, which is taken."""
    seqs = [event["seq"] for event in socket.events if event["seq"] is not None]
    assert not any(event["type"] == "resync_required" for event in socket.events)
    socket.events.clear()
    return seqs


def main():
    seqs = []
    socket = Socket(f"?conversation_id={room}&since=0", url=os.environ["SECOND_URL"])
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    while len(seqs) < 40:
        socket.take(10)
        seqs += numbered(socket)
    os.kill(int(os.environ["SECOND_PID"]), signal.SIGKILL)
    try:
        while True:
            socket.take(10)
            seqs += numbered(socket)
    except ConnectionClosed:
        cut = seqs[-1]
    assert not written.is_set(), "the instance died when all was written: the test shows nothing"

    socket = Socket(f"?conversation_id={room}&since={cut}", url=URL)
    writer.join(60)
    assert written.is_set()
    head = seqs[-1]
    while True:
        try:
            socket.take(2)
        except TimeoutError:
            break
        seqs += numbered(socket)
        head = seqs[-1]
    assert seqs == list(range(1, head + 1)), (cut, seqs)
    assert head >= MESSAGES > cut, (cut, head)
    print(f"cut at {cut} of {head}: none is missing, none came twice")


main()
