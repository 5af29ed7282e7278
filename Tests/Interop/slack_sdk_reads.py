"""Reads with Slack's own client what dispatch-worker posted to the Slack stand-in.

Needs the environment of `compose/local run`.
"""

import json
import os
import secrets
import time
import urllib.request

from slack_sdk import WebClient

BASE = os.environ["SLACK_STANDIN_URL"].rstrip("/").removesuffix("/api")
DISPATCH = os.environ["DISPATCH_WORKER_URL"]
TAG = "sdk-" + secrets.token_hex(4)
BLOCKS = [
    {"type": "header", "text": {"type": "plain_text", "text": "Order 7"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "*On its way*"}},
    {"type": "divider"},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "by parcel"}]},
]


def call(method, url, body=None, key=os.environ["SWITCHBOARD_ADMIN_KEY"]):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def send(**message):
    """Sends a message and waits until it was sent; answers the request."""
    made = call("POST", f"{DISPATCH}/v1/message-requests", {"channel_code": TAG, **message})
    for _ in range(100):
        found = call("GET", f"{DISPATCH}/v1/message-requests/{made['id']}")
        if found["status"] == "sent":
            return found
        time.sleep(0.1)
    raise AssertionError(f"it was not sent: {found}")


def main():
    call("POST", f"{BASE}/_control", {"reset": True})
    call("PUT", f"{DISPATCH}/v1/workspaces/{TAG}",
         {"provider": "slack", "token": "xoxb-sdk", "api_base_url": f"{BASE}/api"})
    call("PUT", f"{DISPATCH}/v1/channels/{TAG}",
         {"workspace_code": TAG, "provider_channel_id": "C0SDK",
          "rate": {"per_second": 50, "burst": 10}})
    call("PUT", f"{DISPATCH}/v1/templates/{TAG}",
         {"text": "Hello {{name}}", "blocks": [
             {"type": "section", "text": {"type": "mrkdwn", "text": "Hello *{{name}}*"}}]})

    plain = send(text="plain")
    shown = send(text="instead of blocks", blocks=BLOCKS)
    root = send(text="root", thread_key="k")
    reply = send(text="reply", thread_key="k")
    late = send(text="into the thread", thread_ts=root["provider_ts"], blocks=BLOCKS)
    made = send(template_code=TAG, variables={"name": "Ann"})

    client = WebClient(token="xoxb-sdk", base_url=f"{BASE}/api/", timeout=5)
    history = client.conversations_history(channel="C0SDK", include_all_metadata=True)["messages"]
    found = {message["ts"]: message for message in history}
    assert set(found) == {m["provider_ts"] for m in (plain, shown, root, made)}, history
    assert found[plain["provider_ts"]]["text"] == "plain", history
    assert found[shown["provider_ts"]]["blocks"] == BLOCKS, history
    assert found[made["provider_ts"]]["text"] == "Hello Ann", history
    assert found[made["provider_ts"]]["blocks"][0]["text"]["text"] == "Hello *Ann*", history
    for request in (plain, shown, root, made):
        payload = found[request["provider_ts"]]["metadata"]["event_payload"]
        assert request["id"] in json.dumps(payload), payload

    thread = client.conversations_replies(channel="C0SDK", ts=root["provider_ts"])["messages"]
    assert [m["ts"] for m in thread] == [m["provider_ts"] for m in (root, reply, late)], thread
    assert [m.get("thread_ts") for m in thread[1:]] == [root["provider_ts"]] * 2, thread
    assert thread[2]["blocks"] == BLOCKS, thread

    violations = call("GET", f"{BASE}/_deliveries")["violations"]
    assert violations == [], violations
    print("slack_sdk reads what dispatch-worker posted")


if __name__ == "__main__":
    main()
