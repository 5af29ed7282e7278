"""A client of `/v1/socket`, with the `websockets` library, and the calls that go with it."""

import json
import os
import time
import urllib.error
import urllib.request
import uuid

from websockets.sync.client import connect

URL = os.environ["MESSAGING_URL"]
KEY = os.environ["SWITCHBOARD_AGENT_KEY"]
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
SERVICE = {
    "Authorization": f"Bearer {os.environ['SERVICE_TOKEN']}",
    "Switchboard-Tenant": os.environ["SWITCHBOARD_TENANT"],
}


def call(method, path, body=None, headers=AUTHORIZED, url=URL):
    request = urllib.request.Request(url + path, method=method, headers=dict(headers))
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

    def __init__(self, query="", url=URL):
        url = url.replace("http://", "ws://") + "/v1/socket" + query
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
        """The first event of this kind that has not been waited for."""
        while True:
            for event in self.events:
                if event["type"] == kind:
                    self.events.remove(event)
                    return event
            self.take(10)

    def take(self, seconds):
        frame = json.loads(self.connection.recv(timeout=seconds))
        assert "ref" not in frame, frame
        self.events.append(frame)

    def drain(self):
        """Takes what has come already."""
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            try:
                self.take(0.1)
            except TimeoutError:
                pass


def conversation(**more):
    """A conversation with a contact, in a channel of its own."""
    channel = f"ws-{uuid.uuid4().hex[:12]}"
    body = {"code": channel, "kind": "local", "version": 1}
    assert call("POST", "/v1/internal/channels", body, SERVICE)[0] == 200
    body = {"channel_code": channel, "contact": {"external_id": "c1", "name": "Ben"}, **more}
    status, made = call("POST", "/v1/conversations", body)
    assert status == 201, made
    return made
