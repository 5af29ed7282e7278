#!/usr/bin/env python3
"""Compares the HTTP parser with h11 on the same bytes.

    swift build --product HTTPParserProbe
    python3 Tests/Interop/http_differential.py [path of the probe] [rounds] [seed]

Both must cut each connection into the same requests and stop at the same one. Where they may
differ, REASONS says why, and evidence is looked for in what h11 read or in the bytes: a
difference without a reason fails the run, and so does a reason that no case needs any more.
"""

import collections
import os
import random
import re
import subprocess
import sys

import h11

Request = collections.namedtuple("Request", "method target version keep fields body complete")
Verdict = collections.namedtuple("Verdict", "requests end detail")


# --- the two parsers -------------------------------------------------------------------------


def read_ours(line):
    """The verdict in one line of the probe."""
    *parts, end = line.split("; ")
    requests = []
    for part in parts:
        _, method, target, version, keep, fields, body, state = part.split(" ")
        pairs = [pair.split(":") for pair in fields.split(",") if pair]
        requests.append(
            Request(
                method.encode(),
                bytes.fromhex(target),
                version.encode(),
                keep == "keep",
                [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in pairs],
                bytes.fromhex(body),
                state == "complete",
            )
        )
    words = end.split(" ")
    return Verdict(requests, words[1], words[3] if words[1] == "failed" else "")


def read_theirs(data):
    """The verdict of h11, answering each request as a server does."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 16)
    if data:  # Nothing at all would mean the end of the connection.
        connection.receive_data(data)
    requests, current = [], None
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return Verdict(requests + ([current] if current else []), "failed", str(error))
        if event is h11.NEED_DATA:
            if current:
                unread = "unread" if connection.trailing_data[0] else ""
                return Verdict(requests + [current], "body", unread)
            return Verdict(requests, "head" if connection.trailing_data[0] else "idle", "")
        if isinstance(event, h11.Request):
            current = Request(
                event.method,
                event.target,
                event.http_version,
                None,
                event.headers.raw_items(),
                b"",
                False,
            )
        elif isinstance(event, h11.Data):
            current = current._replace(body=current.body + bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            # 404 also declines CONNECT and Upgrade.
            connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            keep = connection.our_state is not h11.MUST_CLOSE
            requests.append(current._replace(complete=True, keep=keep))
            current = None
            if not keep:
                return Verdict(requests, "closing", "")
            connection.start_next_cycle()


# --- what may differ, and why ----------------------------------------------------------------


def values(request, name):
    return [value for key, value in request.fields if key.lower() == name]


HOST = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|([A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)(:[0-9]{0,5})?"
)
TARGET = re.compile(rb"(/|https?://)([\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*", re.I)
EXTENSION = re.compile(
    rb"""([ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+
    ([ \t]*=[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+|"([\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]
    |\\[\t \x21-\x7e\x80-\xff])*"))?)*""",
    re.X,
)
BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
SIZE_LINE = re.compile(rb"(?<=\n)([0-9A-Fa-f]+)([ \t;][^\n]*?)?\r?\n")


def has_bad_host(request, _):
    hosts = values(request, b"host")
    return len(hosts) > 1 or any(
        not HOST.fullmatch(host)
        or int(re.search(rb"(?::(\d*))?$", host)[1] or 0) > 65535
        or host.startswith(b"[")
        for host in hosts
    )


def has_bad_target(request, _):
    target = request.target
    if request.method == b"CONNECT":
        return not re.fullmatch(rb".+:\d{1,5}", target) or not HOST.fullmatch(target)
    if not TARGET.fullmatch(target) or b"#" in target:
        return not (target == b"*" and request.method == b"OPTIONS")
    authority = re.match(rb"https?://([^/?]*)", target, re.I)
    return bool(authority) and not HOST.fullmatch(authority[1])


def has_bad_length(request, data):
    raw = re.findall(rb"(?i)\ncontent-length:([^\r\n]*)", data)
    return len(raw) > 1 or any(not re.fullmatch(rb"[ \t]*\d{1,19}[ \t]*", one) for one in raw)


def has_control(request, _):
    return any(re.search(rb"[\x01-\x08\x0a-\x1f\x7f]", value) for _, value in request.fields)


def has_bad_extension(_, data):
    return any(
        extension and not EXTENSION.fullmatch(extension)
        for _, extension in SIZE_LINE.findall(data)
    )


def has_long_size(_, data):
    return any(len(size) > 16 for size, _ in SIZE_LINE.findall(data))


def declares_much(request, data):
    lengths = [int(value) for value in values(request, b"content-length")]
    sizes = [int(size, 16) for size, _ in SIZE_LINE.findall(data)]
    return any(size > 1 << 20 for size in lengths + sizes)


# (our code) -> (reason, evidence in h11's request and the bytes): h11 takes what we refuse.
REFUSED_BY_US = {
    "lineEnding": (
        "h11 takes LF for CR LF (RFC 9112 2.2 allows it); here two readings are one too many",
        lambda request, data: BARE.search(data),
    ),
    "lineFolding": (
        "h11 unfolds folded lines; RFC 9112 5.2 lets a server refuse them",
        lambda request, data: re.search(rb"\n[ \t]", data),
    ),
    "transferCoding": (
        "h11 unfolds folded lines; RFC 9112 5.2 lets a server refuse them",
        lambda request, data: re.search(rb"\n[ \t]", data),
    ),
    "fieldValue": (
        "h11 takes control characters in values; RFC 9110 5.5 calls them invalid",
        has_control,
    ),
    "target": (
        "h11 takes any visible characters as a target; RFC 9112 3.2 has four forms",
        has_bad_target,
    ),
    "version": (
        "h11 takes any two digits as a version",
        lambda request, data: request.version not in (b"1.0", b"1.1"),
    ),
    "methodLength": (
        "h11 has no limit on methods",
        lambda request, data: len(request.method) > 32,
    ),
    "host": ("h11 counts Host in HTTP/1.1 and checks no value (RFC 9112 3.2)", has_bad_host),
    "contentLength": (
        "h11 takes repeated equal lengths, lists of them and 20 digits",
        has_bad_length,
    ),
    "lengthAndCoding": (
        "h11 lets Transfer-Encoding win over Content-Length; RFC 9112 6.1 lets us refuse",
        lambda request, data: values(request, b"content-length")
        and values(request, b"transfer-encoding"),
    ),
    "codingInHTTP10": (
        "h11 takes chunks in HTTP/1.0; RFC 9112 6.1 calls their framing faulty",
        lambda request, data: request.version < b"1.1" and values(request, b"transfer-encoding"),
    ),
    "expectation": (
        "h11 leaves unknown expectations to its user (RFC 9110 10.1.1: 417)",
        lambda request, data: any(
            value.lower() != b"100-continue" for value in values(request, b"expect")
        ),
    ),
    "bodySize": ("h11 leaves the limit on bodies to its user", declares_much),
    "chunkSize": ("h11 takes 20 digits; 16 hold every length", has_long_size),
    "chunkExtension": ("h11 skips extensions unread; RFC 9112 7.1.1", has_bad_extension),
    "chunkExtensionSize": (
        "h11 has one limit for all that is unfinished",
        lambda request, data: re.search(rb";[^\n]{1024}", data),
    ),
    "requestLineSize": (
        "h11 has one limit for all that is unfinished",
        lambda request, data: len(request.target) > 8192 - 50,
    ),
    "headerSize": (
        "h11 has one limit for all that is unfinished",
        lambda request, data: sum(len(k) + len(v) + 4 for k, v in request.fields) > 16384 - 20,
    ),
    "fieldCount": (
        "h11 has no limit on the number of fields",
        lambda request, data: len(request.fields) > 100 or data.count(b":") > 100,
    ),
    "trailerSize": (
        "h11 has one limit for all that is unfinished",
        lambda request, data: re.search(rb"0\r\n.{8000}", data, re.S),
    ),
    "trailer": (
        "h11 takes folded lines and control characters in trailers too",
        lambda request, data: re.search(rb"\n[ \t]|[\x01-\x08\x0b-\x1f\x7f]", data),
    ),
}

# (reason, evidence in h11's complaint, its request and the bytes): we take what h11 refuses.
REFUSED_BY_THEM = [
    (
        "h11 takes no empty line before a request; RFC 9112 2.2 asks for one",
        lambda complaint, request, data: not request
        and re.search("request line", complaint)
        and (data.startswith(b"\r") or b"\n\r" in data),
    ),
    (
        "h11 takes no blank between a chunk's size and ';'; RFC 9112 7.1.1 does",
        lambda complaint, request, data: "chunk" in complaint
        and re.search(rb"[0-9A-Fa-f][ \t]+;", data),
    ),
    (
        "h11 wants framing fields of trailers to make sense; they mean nothing there",
        lambda complaint, request, data: request
        and re.search("Content-Length|Transfer-Encoding", complaint),
    ),
]
LATE = "h11 judges a head or a line when it is whole, we judge each byte"
NO_REUSE = "h11 closes after every HTTP/1.0 request; we honour its keep-alive"


def as_sent(request, index, field):
    """A field of h11 as it was sent: h11 makes the value of Transfer-Encoding lower case."""
    name, value = field
    if name.lower() == b"transfer-encoding" and index < len(request.fields):
        sent = request.fields[index][1]
        return (name, sent if sent.lower() == value else value)
    return field


def explain(ours, theirs, data):
    """None when both agree, a reason when they may differ, False otherwise."""
    whole = min(
        sum(request.complete for request in ours.requests),
        sum(request.complete for request in theirs.requests),
    )
    for mine, other in zip(ours.requests[:whole], theirs.requests[:whole]):
        if mine[:3] != other[:3] or mine.body != other.body:
            return False
        if mine.fields != [as_sent(mine, index, field) for index, field in enumerate(other.fields)]:
            return False
    failed = (ours.end == "failed", theirs.end == "failed")
    mine = ours.requests[whole] if len(ours.requests) > whole else None
    other = theirs.requests[whole] if len(theirs.requests) > whole else None
    stays_here = mine is None or not mine.complete
    stays_there = other is None or not other.complete
    if theirs.end == "closing" and whole == len(theirs.requests) and whole > 0:
        if ours.requests[whole - 1].keep:
            last = theirs.requests[whole - 1]
            return NO_REUSE if last.version < b"1.1" else False
    if all(failed) and stays_here and stays_there:
        return None
    if failed[0] and stays_here:
        if (theirs.end == "head" and other is None) or theirs.detail == "unread":
            return LATE
        reason = REFUSED_BY_US.get(ours.detail)
        return reason[0] if reason and other and reason[1](other, data) else False
    if failed[1] and stays_there:
        return next(
            (why for why, evidence in REFUSED_BY_THEM if evidence(theirs.detail, other, data)),
            False,
        )
    same = ours.end == theirs.end and len(ours.requests) == len(theirs.requests)
    partial = mine.body == other.body if mine and other else mine == other
    return None if same and partial else False


# --- the cases -------------------------------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

SEEDS = [
    GET,
    b"GET /p?q=%41 HTTP/1.1\r\nHost: [::1]:8\r\nConnection: keep-alive, x\r\n\r\n",
    b"GET http://b:80/p?q HTTP/1.1\r\nHost: b\r\nX: \t y \t\r\nZ:\r\n\r\n",
    POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    POST + b"Content-Length: 0003\r\n\r\nabc",
    CHUNKED + b'3;a="b\\"";c\r\nabc\r\n0A;d=e\r\n0123456789\r\n0\r\nT: u\r\nV:\r\n\r\n',
    b"OPTIONS * HTTP/1.1\r\nHost: b%41:1\r\n\r\n",
    b"CONNECT c:1 HTTP/1.1\r\nHost: c\r\n\r\n",
    b"PUT /y HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
    b"PUT /y HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab",
    b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
]

TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"=", b'"', b"\\",
    b"%", b"#", b"0", b"x", b"+", b"-", b"_", b"ffffffffffffffff", b"00000000000000000",
    b"9999999999999999999", b"chunked", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"Content-Length: 4\r\n", b"Content-Length: ",
    b"Host: b\r\n", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"Expect: x\r\n", b"\x80", b"\xff",
    b"\x7f", b"\x01", b"\x0b", b"[::1]", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n", b"\r\n ",
    b"Connection: close\r\n", b"Upgrade: x\r\n", b"MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM",
]  # fmt: skip

CASES = [
    b"",
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n" + GET,
    b"\r\n" + GET,
    b"\r\n\r\n" + GET,
    GET.replace(b"\r\n", b"\n"),
    GET + b"\r\n" + GET,
    POST + b"Content-Length: 5, 5\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!" + GET,
    POST + b"Content-Length: 00000000000000000005\r\n\r\nhello" + GET,
    POST + b"Content-Length: 2000000\r\n\r\n",
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n" + GET,
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Expect: x\r\n\r\n",
    CHUNKED + b"0_2e\r\n\r\n" + GET,
    CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"00000000000000005\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"200000\r\n",
    CHUNKED + b"5;\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5 ;a\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5\r\r;abc\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    CHUNKED + b"5;" + b"a" * 1100 + b"\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n" + GET,
    CHUNKED + b"0\r\nContent-Length: x\r\n\r\n" + GET,
    CHUNKED + b"0\r\nX:POST / HTTP/1.1\r\n\r\n" + GET,
    CHUNKED + b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n" + GET,
    CHUNKED + b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n" + GET,
    GET.replace(b"/ ", b"/" + b"x" * 9000 + b" "),
    GET.replace(b"GET", b"M" * 33),
    GET.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 17000 + b"\r\n\r\n"),
    GET.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 100 + b"\r\n"),
    GET.replace(b"\r\n\r\n", b"\r\nX: y\r\n z\r\n\r\n"),
    GET.replace(b"\r\n\r\n", b"\r\nX: y\x01\r\n\r\n"),
    GET.replace(b"a\r\n\r\n", b"a/b\r\n\r\n"),
    GET.replace(b"a\r\n\r\n", b"\r\n\r\n"),
    GET.replace(b"GET /", b"GET /#f"),
    GET.replace(b"GET /", b"GET *"),
    GET.replace(b"1.1", b"2.0"),
    GET.replace(b"1.1", b"1.10"),
]


def mutated(generator):
    data = bytearray(b"".join(generator.choices(SEEDS, k=generator.randint(1, 3))))
    for _ in range(generator.randint(0, 3)):
        place = generator.randint(0, len(data))
        size = generator.randint(0, min(12, len(data) - place))
        kind = generator.randrange(5)
        if kind == 0:
            del data[place : place + size]
        elif kind == 1:
            data.insert(place, generator.randrange(256))
        elif kind == 2:
            data[place:place] = data[place : place + size]
        elif kind == 3:
            data[place:place] = generator.choice(TOKENS)
        elif place < len(data):
            data[place] ^= 1 << generator.randrange(8)
    return bytes(data)


def main():
    built = os.path.join(os.environ.get("SWITCHBOARD_BIN", ".build/debug"), "HTTPParserProbe")
    probe = sys.argv[1] if len(sys.argv) > 1 else built
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    generator = random.Random(seed)
    cases = CASES + [mutated(generator) for _ in range(rounds)]
    answer = subprocess.run(
        [probe, "verdicts"],
        input="".join(case.hex() + "\n" for case in cases),
        capture_output=True,
        check=True,
        text=True,
    )
    lines = answer.stdout.splitlines()
    if len(lines) != len(cases):
        sys.exit(f"{len(cases)} cases, {len(lines)} verdicts")
    counts, unexplained = collections.Counter(), 0
    for case, line in zip(cases, lines):
        ours, theirs = read_ours(line), read_theirs(case)
        reason = explain(ours, theirs, case)
        if reason is False:
            unexplained += 1
            if unexplained <= 10:
                print(f"UNEXPLAINED {case!r}\n  ours   {ours}\n  theirs {theirs}\n")
        counts[reason or "both agree"] += 1
    for reason, count in counts.most_common():
        print(f"{count:7}  {reason}")
    known = {reason for reason, _ in REFUSED_BY_US.values()}
    known |= {reason for reason, _ in REFUSED_BY_THEM} | {LATE, NO_REUSE}
    unused = known - set(counts)
    for reason in sorted(unused):
        print(f"UNUSED   {reason}")
    print(f"{len(cases)} cases, {unexplained} unexplained, h11 {h11.__version__}, seed {seed}")
    sys.exit(1 if unexplained or unused else 0)


if __name__ == "__main__":
    main()
