"""Drives the Slack stand-in with Slack's own client: what that accepts, our transport may rely on.

Usage: slack_sdk_standin.py [http://127.0.0.1:21090], else SLACK_STANDIN_URL
"""

import json
import os
import sys
import urllib.request

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

BASE = (sys.argv[1] if len(sys.argv) > 1 else os.environ["SLACK_STANDIN_URL"]).rstrip("/")
BASE = BASE.removesuffix("/api")


def control(**order):
    request = urllib.request.Request(f"{BASE}/_control", json.dumps(order).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert json.load(answer)["ok"]


def refusal(call):
    try:
        call()
    except SlackApiError as error:
        return error.response["error"], error.response.status_code, error.response.headers
    raise AssertionError("it was not refused")


def main():
    client = WebClient(token="xoxb-good", base_url=f"{BASE}/api/", timeout=5)
    control(reset=True)

    identity = client.auth_test()
    assert identity["team_id"] == "T0STANDIN" and identity["bot_id"], identity

    metadata = {"event_type": "switchboard_message_request", "event_payload": {"mr_id": "m1"}}
    parent = client.chat_postMessage(channel="C0GENERAL", text="hello", metadata=metadata)
    assert parent["ok"] and parent["channel"] == "C0GENERAL", parent
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}}]
    reply = client.chat_postMessage(
        channel="C0GENERAL", text="reply", blocks=blocks, thread_ts=parent["ts"]
    )

    plain = client.conversations_history(channel="C0GENERAL")
    assert [m["ts"] for m in plain["messages"]] == [parent["ts"]], plain
    assert "metadata" not in plain["messages"][0], plain
    full = client.conversations_history(channel="C0GENERAL", include_all_metadata=True, limit=1)
    assert full["messages"][0]["metadata"]["event_payload"]["mr_id"] == "m1", full
    thread = client.conversations_replies(channel="C0GENERAL", ts=parent["ts"])
    assert [m["ts"] for m in thread["messages"]] == [parent["ts"], reply["ts"]], thread

    wrong = {
        "channel_not_found": lambda: client.chat_postMessage(channel="general", text="x"),
        "no_text": lambda: client.chat_postMessage(channel="C0GENERAL"),
        "msg_too_long": lambda: client.chat_postMessage(channel="C0GENERAL", text="x" * 40_001),
        "thread_not_found": lambda: client.chat_postMessage(
            channel="C0GENERAL", text="x", thread_ts="1.000001"
        ),
        "unknown_method": lambda: client.api_call("chat.unknown"),
        "invalid_auth": lambda: WebClient(
            token="xapp-wrong", base_url=f"{BASE}/api/"
        ).auth_test(),
        "token_revoked": lambda: WebClient(
            token="xoxb-revoked-1", base_url=f"{BASE}/api/"
        ).auth_test(),
    }
    for code, call in wrong.items():
        found, status, _ = refusal(call)
        assert (found, status) == (code, 200), (code, found, status)

    control(fault="ratelimited", retry_after=7)
    found, status, headers = refusal(
        lambda: client.chat_postMessage(channel="C0GENERAL", text="late")
    )
    assert (found, status, headers["Retry-After"]) == ("ratelimited", 429, "7"), (found, headers)
    print("slack_sdk and the stand-in agree")


if __name__ == "__main__":
    main()
