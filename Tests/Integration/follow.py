#!/usr/bin/env python3
"""Follows conversations by server-sent events and writes what comes, one JSON document a line.

    follow.py URL KEY SECONDS CONVERSATION… [--since N] [--until-seq N] [--told FILE]

Connects again with Last-Event-ID whenever the stream breaks, as an EventSource does, until SECONDS
have passed or the event --until-seq has come. Tells in FILE each time a stream has begun: the local
port, which says who serves it.
"""

import argparse
import http.client
import json
import sys
import time
import urllib.parse


class Follower:
    def __init__(self, options):
        self.options = options
        self.url = urllib.parse.urlsplit(options.url)
        self.deadline = time.monotonic() + options.seconds
        self.last_id = None
        self.is_done = False

    def run(self):
        while not self.is_done and time.monotonic() < self.deadline:
            try:
                self.read_one_stream()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
        return 0 if self.is_done or self.options.until_seq is None else 1

    def read_one_stream(self):
        connection = http.client.HTTPConnection(
            self.url.hostname, self.url.port, timeout=max(0.1, self.deadline - time.monotonic())
        )
        query = [("conversation_id", c) for c in self.options.conversations]
        if self.options.since is not None:
            query.append(("since", self.options.since))
        headers = {"Authorization": f"Bearer {self.options.key}"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        connection.request("GET", "/v1/stream?" + urllib.parse.urlencode(query), headers=headers)
        port = connection.sock.getsockname()[1]
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{answer.status}: {answer.read()!r}")
        if self.options.told:
            with open(self.options.told, "a", encoding="utf-8") as told:
                told.write(f"{port}\n")
        event_id, data = None, []
        for line in answer:
            line = line.decode().rstrip("\n")
            if line.startswith("id: "):
                event_id = line[4:]
            elif line.startswith("data: "):
                data.append(line[6:])
            elif not line and data:
                if event_id is not None:
                    self.last_id = event_id
                self.take("\n".join(data))
                event_id, data = None, []
                if self.is_done:
                    return

    def take(self, text):
        event = json.loads(text)
        print(json.dumps(event), flush=True)
        until = self.options.until_seq
        self.is_done = until is not None and (event["seq"] or 0) >= until


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("seconds", type=float)
    parser.add_argument("conversations", nargs="+")
    parser.add_argument("--since")
    parser.add_argument("--until-seq", type=int)
    parser.add_argument("--told")
    sys.exit(Follower(parser.parse_args()).run())


main()
