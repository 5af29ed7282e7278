#!/usr/bin/env python3
"""Sends the same frames, right and wrong ones, to `/v1/socket` and to the server of `websockets`.

    websockets_differential.py [rounds] [seed]

Both must end with the same close code, and, up to a fault, answer the same pings and take the same
messages. Where they may differ, DIFFERENCES says why.
"""

import base64
import logging
import os
import random
import socket
import struct
import sys
import threading
import urllib.parse

from websockets.sync.server import serve

LIMIT = 64 * 1024
QUIET = 0.06
# What we refuse and the other server takes: RFC 6455 section 5.2 wants the shortest length.
DIFFERENCES = {"long_length"}


def frame(opcode, payload, final=True, reserved=0, masked=True, long_length=False):
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size = len(payload)
    bit = 0x80 if masked else 0
    if long_length:
        head = struct.pack("!BBQ", first, bit | 127, size)
    elif size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


def conversation(rng):
    """Frames, and which of the known differences are in them."""
    data, known, inside = b"", set(), False
    for _ in range(rng.randint(1, 8)):
        kind = rng.choices(
            ["text", "piece", "ping", "pong", "bad_text", "odd"], [6, 4, 3, 2, 1, 2]
        )[0]
        words = "".join(rng.choice("aé漢😀 \"{}") for _ in range(rng.choice([0, 1, 20, 200])))
        payload = words.encode()
        if kind == "piece" or (kind == "text" and inside):
            cut = rng.randint(0, len(payload))
            final = rng.random() < 0.5
            data += frame(0 if inside else 1, payload[:cut] if rng.random() < 0.2 else payload, final)
            inside = not final
        elif kind == "text":
            data += frame(1, payload)
        elif kind == "ping":
            data += frame(9, os.urandom(rng.choice([0, 5, 125])))
        elif kind == "pong":
            data += frame(10, os.urandom(rng.choice([0, 5])))
        elif kind == "bad_text" and not inside:
            data += frame(1, rng.choice([b"\xff", b"\xed\xa0\x80", b"\xc2", b"ok\xf4\x90\x80\x80"]))
        else:
            odd = rng.choice(
                ["opcode", "reserved", "unmasked", "long_ping", "cut_ping", "nothing", "large",
                 "long_length", "close"]
            )
            if odd == "opcode":
                data += frame(rng.choice([3, 7, 11, 15]), b"x")
            elif odd == "reserved":
                data += frame(0 if inside else 1, b"x", reserved=rng.randint(1, 7))
            elif odd == "unmasked":
                data += frame(9, b"x", masked=False)
            elif odd == "long_ping":
                data += frame(9, b"x" * 126)
            elif odd == "cut_ping":
                data += frame(9, b"x", final=False)
            elif odd == "nothing" and not inside:
                data += frame(0, b"x")
            elif odd == "large" and not inside:
                data += frame(1, b"x" * (LIMIT + rng.choice([0, 1])))
            elif odd == "long_length":
                known.add("long_length")
                data += frame(9, b"y", long_length=True)
            elif odd == "close" and not inside:
                code = rng.choice([1000, 1001, 1003, 1007, 3000, 4999, 999, 1004, 1005, 1006, 2999])
                known.add("close")
                # Of two faults in one frame either may be named, so there is one at most.
                bad = [b"\xff"] if code in (1000, 1001, 1003, 1007, 3000, 4999) else []
                data += frame(8, struct.pack("!H", code) + rng.choice([b"", b"bye"] + bad))
    if inside:
        # A close inside a message: Autobahn wants its code back, the other server calls it a fault.
        data += frame(0, b"")
    return data, known


class Client:
    def __init__(self, url, key=None):
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        head += "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        head += f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
        if key:
            head += f"Authorization: Bearer {key}\r\n"
        self.socket.sendall(head.encode() + b"\r\n")
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.read()
        answer, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        assert answer.startswith(b"HTTP/1.1 101"), answer

    def read(self):
        try:
            return self.socket.recv(65536)
        except (TimeoutError, ConnectionError):
            return b""

    def send(self, data, rng):
        try:
            while data:
                size = rng.choice([1, 2, 7, 100, 70000])
                self.socket.sendall(data[:size])
                data = data[size:]
        except OSError:
            pass  # The server has ended it already; what it said is still to be read.

    def verdict(self):
        """Messages answered, pongs, and the close code, after a close of ours at the end."""
        self.socket.settimeout(QUIET)
        chunk = b"x"
        while chunk:
            chunk = self.read()
            self.buffer += chunk
        try:
            self.socket.sendall(frame(8, struct.pack("!H", 1000)))
        except OSError:
            pass
        self.socket.settimeout(5)
        chunk = b"x"
        while chunk:
            chunk = self.read()
            self.buffer += chunk
        self.socket.close()
        return self.parse()

    def parse(self):
        answers, pongs, code = 0, [], None
        data = self.buffer
        while len(data) >= 2:
            opcode, size, start = data[0] & 15, data[1] & 127, 2
            if size == 126:
                size, start = struct.unpack("!H", data[2:4])[0], 4
            elif size == 127:
                size, start = struct.unpack("!Q", data[2:10])[0], 10
            payload, data = data[start : start + size], data[start + size :]
            if opcode == 1:
                answers += 1
            elif opcode == 10:
                pongs.append(payload)
            elif opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if payload else None
        return answers, pongs, code


def main():
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    ours = os.environ["MESSAGING_URL"] + "/v1/socket"
    key = os.environ["SWITCHBOARD_AGENT_KEY"]

    def answer(connection):
        for _ in connection:
            connection.send("taken")

    with serve(answer, "127.0.0.1", 0, max_size=LIMIT, ping_interval=None, compression=None) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        theirs = f"http://127.0.0.1:{other.socket.getsockname()[1]}/"
        codes, left_out, later = {}, 0, 0
        for number in range(rounds):
            rng = random.Random(f"{seed}-{number}")
            data, known = conversation(rng)
            if known & DIFFERENCES:
                left_out += 1
                continue
            verdicts = []
            for client in (Client(ours, key), Client(theirs)):
                client.send(data, random.Random(f"{seed}-{number}-cuts"))
                verdicts.append(client.verdict())
            if verdicts[0][2] != 1000:
                # The other server finds bad text when its handler reads it: it may have answered
                # pings after the fault, and we messages before it or not.
                pongs = [verdict[1] for verdict in verdicts]
                assert pongs[1][: len(pongs[0])] == pongs[0], f"case {seed}-{number}: {pongs}"
                # For the same reason a later fault, or a close, may come first for it.
                if verdicts[0][2] == 1007 and verdicts[1][2] != 1007:
                    later += 1
                    continue
                verdicts = [verdict[2:] for verdict in verdicts]
            elif "close" in known:
                # Whoever reads slowly finds a closed connection and answers nothing.
                verdicts = [verdict[1:] for verdict in verdicts]
            assert verdicts[0] == verdicts[1], f"case {seed}-{number}: {verdicts}\n{data[:400].hex()}"
            code = verdicts[0][-1]
            codes[code] = codes.get(code, 0) + 1
        assert {1000, 1002, 1007, 1009} <= set(codes), codes
        print(f"{sum(codes.values())} conversations agree, {left_out} left out, {later} later; {codes}")
        other.shutdown()


main()
