#!/usr/bin/env python3
"""Holds a stream, a WebSocket and a Socket.IO client open and says what becomes of them.

    held.py URL KEY CONVERSATION

Prints `ready` when all three are there, `event <kind>` for what comes, `cut <kind> <how>` when one
is ended from the other side; ends with the last of them.
"""

import sys
import threading
import urllib.request

import socketio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

URL, KEY, CONVERSATION = sys.argv[1:]
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


WORD = threading.Lock()


def say(*words):
    # Three threads speak; print writes word by word.
    with WORD:
        print(*words, flush=True)


def stream(answer):
    for line in answer:
        if line.startswith(b"data:"):
            say("event", "stream")
    say("cut", "stream", "ended")


def socket(connection):
    try:
        while True:
            connection.recv()
            say("event", "websocket")
    except ConnectionClosed as closed:
        say("cut", "websocket", closed.rcvd.code if closed.rcvd else "broken")


def main():
    query = f"?conversation_id={CONVERSATION}"
    request = urllib.request.Request(URL + "/v1/stream" + query, headers=AUTHORIZED)
    answer = urllib.request.urlopen(request, timeout=60)
    connection = connect(
        URL.replace("http://", "ws://") + "/v1/socket" + query, additional_headers=AUTHORIZED
    )
    client = socketio.Client(reconnection=False)
    client.on("disconnect", lambda *_: say("cut", "socketio", "ended"))
    client.connect(URL, headers=AUTHORIZED, transports=["websocket"], wait_timeout=20)
    threads = [
        threading.Thread(target=stream, args=(answer,)),
        threading.Thread(target=socket, args=(connection,)),
    ]
    for thread in threads:
        thread.start()
    say("ready")
    for thread in threads:
        thread.join()
    client.wait()


main()
