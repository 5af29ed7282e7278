"""Bytes on a real connection: what the server must take, must refuse, and must wait for.

Usage: http_conformance.py [http://127.0.0.1:8081], else MESSAGING_URL

The cases follow RFC 9112 and the kinds of fault that public lists of broken servers name
(http-garden, h1spec). Each is sent whole and byte by byte. After a refusal the connection must be
closed and nothing that follows on it may be answered.
"""

import asyncio
import sys

from wire.client import LAST, connect, exchange, gather, get, statuses

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def chunked(body):
    return get(b"Transfer-Encoding: chunked", body=body)


def raw(head):
    return head + b"\r\n\r\n"


# Taken: the answers in order; the last request asks for the connection's end.
TAKEN = [
    ("one request", LAST, [200]),
    ("two in one write", get() + LAST, [200, 200]),
    ("a hundred in one write", get() * 99 + LAST, [200] * 100),
    ("an empty line first", b"\r\n" + LAST, [200]),
    ("an empty line between", get() + b"\r\n" + LAST, [200, 200]),
    (
        "names in any case, blanks around values",
        b"GET /healthz HTTP/1.1\r\nhOsT:\t a \t\r\nempty:\r\n\r\n" + LAST,
        [200, 200],
    ),
    ("a body on GET", get(b"Content-Length: 5", body=b"hello") + LAST, [200, 200]),
    (
        "a body that looks like a request",
        get(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + LAST,
        [200, 200],
    ),
    ("a length of nothing", get(b"Content-Length: 0") + LAST, [200, 200]),
    (
        "leading zeros are decimal",
        get(b"Content-Length: 010", body=b"0123456789") + LAST,
        [200, 200],
    ),
    ("chunks", chunked(b"5\r\nhello\r\n0\r\n\r\n") + LAST, [200, 200]),
    (
        "chunks in capitals and hexadecimal",
        get(b"TRANSFER-ENCODING: Chunked", body=b"00A\r\n0123456789\r\n000\r\n\r\n") + LAST,
        [200, 200],
    ),
    ("chunk extensions", chunked(b'5;a=b;c="d e";f\r\nhello\r\n0;x\r\n\r\n') + LAST, [200, 200]),
    ("trailers", chunked(b"0\r\nX-Check: 1\r\nY:\r\n\r\n") + LAST, [200, 200]),
    (
        "a trailer that names a length is no length",
        chunked(b"0\r\nContent-Length: 99\r\n\r\n") + LAST,
        [200, 200],
    ),
    ("absolute form", get(target=b"http://a/healthz") + LAST, [200, 200]),
    ("an escape", get(target=b"/he%61lthz") + LAST, [200, 200]),
    ("HTTP/1.0 ends by itself", b"GET /healthz HTTP/1.0\r\n\r\n", [200]),
    (
        "HTTP/1.0 that stays",
        b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + LAST,
        [200, 200],
    ),
    (
        "HEAD has a head only",
        b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + LAST,
        ["head 200", 200],
    ),
    ("what is not there", get(target=b"/nowhere") + LAST, [404, 200]),
    ("a method that is not there", b"PUT /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + LAST, [405, 200]),
    ("a method that nobody knows", b"BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + LAST, [405, 200]),
    ("an expectation without a body", get(b"Expect: 100-continue") + LAST, [200, 200]),
    ("after close nothing is answered", LAST + SMUGGLED, [200]),
    ("after close not even nonsense", LAST + b"Invalid\r\n\r\n", [200]),
    ("a host with a port", b"GET /healthz HTTP/1.1\r\nHost: a:80\r\n\r\n" + LAST, [200, 200]),
    ("an IPv6 host", b"GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n" + LAST, [200, 200]),
    ("no tunnel", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" + LAST, [404, 200]),
    ("99 fields and the host", get(*(b"x-%d: y" % n for n in range(99))) + LAST, [200, 200]),
    ("bytes above 127 in a value", get(b"X: \xe4\xff") + LAST, [200, 200]),
]

LENGTHS = [
    b"",
    b" ",
    b"+5",
    b"-5",
    b"-48",
    b"abc",
    b"1Z",
    b"5x",
    b"0x10",
    b"1_0",
    b"+1_0",
    b"5.0",
    b"1 0",
    b"5,5",
    b"5, 5",
    b"00000000000000000005",
    b"123456789123456789123456789",
    b"-123456789123456789123456789",
    b"\xa05",
    b"5\x00",
    b"\xef\xbc\x95",
]
SIZES = [
    b"",
    b"0_2e",
    b"0x0",
    b"-0x0",
    b"+0",
    b"-1",
    b"-0",
    b" 0",
    b"           0",
    b"0 ",
    b"\t0",
    b"Z",
    b"INVALID!!!",
    b"1these",
    b"11111111111111111",
    b"FFFFFFFFFFFFFFFF",
    b"5;\x00",
    b"5;a=\x01",
    b'5;a="b',
    b"5;a=b\r\r",
    b"2\r\r;a",
    b"5\r\r;ABCD",
    b"0\x00",
    b"\xef\xbc\x90",
    b"0;\na",
    b"5; =b",
]
CODINGS = [
    b"gzip",
    b"identity",
    b"xchunked",
    b"chunked, chunked",
    b"chunked,gzip",
    b"gzip, chunked",
    b"blegh",
    b"chunked;a=b",
]
MALFORMED_CODINGS = [
    b"",
    b",chunked",
    b"chunked,",
    b"\xa0chunked\xa0",
    b"\xffchunked\xff",
    b"chunked\x00",
    b"\x0bchunked",
    b"chunked\x0b",
]
NAMES = [
    b"",
    b"Content-Length ",
    b"X\t",
    b" X",
    b"X\x00",
    b"X\x85",
    b"\xefoo",
    b"X[]",
    b"X()",
    b"X\x7f",
    b'X"',
    b"X/",
    b"X{}",
    b"X@",
    b"X=",
    b"X,",
    b"X;",
    b"X\x01",
    b"X\xa0",
]
VALUES = [b"a\x00b", b"a\rb", b"a\nb", b"\na", b"a\x00", b"a\x07", b"a\x7f", b"a\x0bb", b"a\x1fb"]
LINES = [
    b"GET",
    b"GET ",
    b"GET /",
    b"GET / ",
    b"GET  / HTTP/1.1",
    b"GET /  HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b" GET / HTTP/1.1",
    b"GET\t/ HTTP/1.1",
    b"GET / http/1.1",
    b"GET / HTTP/1",
    b"GET / HTTP/1.",
    b"GET / HTTP/1.1.1",
    b"GET / HTTP/01.1",
    b"GET / HTTP/1.01",
    b"GET / HTTP/\r\r1.1",
    b"GET / HTTP/+1.1",
    b"GET / FTP/1.1",
    b"GET ! HTTP/1.1",
    b"GET x HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"GET /a b HTTP/1.1",
    b"GET /%zz HTTP/1.1",
    b"GET /% HTTP/1.1",
    b"GET /%4 HTTP/1.1",
    b"GET /#a HTTP/1.1",
    b"GET /\nHTTP/1.1",
    b'G=":<>(e),[T];?" / HTTP/1.1',
    b"\x00 / HTTP/1.1",
    b"G\x80T / HTTP/1.1",
    b"GET\x0b/\x0bHTTP/1.1",
    b"A" * 33 + b" / HTTP/1.1",
    b"Extra lineGET / HTTP/1.1",
    b"GET * HTTP/1.1",
]
VERSIONS = [b"HTTP/9.9", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2"]
HOSTS = [
    b"",
    b"a b",
    b"a/b",
    b"a@b",
    b"a,b",
    b"google.com\x00.example",
    b"\xffa\xff",
    b"a\x00",
    b"[::1",
    b"a:b",
    b"a:99999",
    b"a#b",
    b"a?b",
]


def refused():
    """What must end in one answer of these statuses and the connection's close."""
    for value in LENGTHS:
        yield "length %r" % value, get(
            b"Content-Length: " + value, body=b"0123456789" + SMUGGLED
        ), (400, 413)
    for first, second in ((b"0", b"5"), (b"5", b"0"), (b"5", b"5"), (b"", b"43"), (b"43", b"")):
        yield "lengths %r and %r" % (first, second), get(
            b"Content-Length: " + first, b"Content-Length: " + second, body=b"hello" + SMUGGLED
        ), (400,)
    for size in SIZES:
        yield "chunk size %r" % size, chunked(size + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED), (
            400,
            413,
        )
    for coding in CODINGS:
        yield "coding %r" % coding, get(
            b"Transfer-Encoding: " + coding, body=b"0\r\n\r\n" + SMUGGLED
        ), (501,)
    for coding in MALFORMED_CODINGS:
        yield "coding %r" % coding, get(
            b"Transfer-Encoding: " + coding, body=b"0\r\n\r\n" + SMUGGLED
        ), (400, 501)
    for coding in (b"chunked", b",chunked", b"blegh"):
        for order in ((0, 1), (1, 0)):
            lines = (b"Content-Length: 5", b"Transfer-Encoding: " + coding)
            yield "length and coding %r %r" % (coding, order), get(
                *(lines[n] for n in order), body=b"0\r\n\r\n" + SMUGGLED
            ), (400,)
    yield "two codings", get(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED
    ), (501,)
    yield "a coding in HTTP/1.0", b"GET /healthz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, (
        400,
    )
    for name in NAMES:
        yield "name %r" % name, get(name + b": 5", body=SMUGGLED), (400,)
        yield "name %r first" % name, raw(
            b"GET /healthz HTTP/1.1\r\n%s: 5\r\nHost: a" % name
        ) + SMUGGLED, (400,)
        yield "trailer name %r" % name, chunked(b"0\r\n" + name + b": 5\r\n\r\n" + SMUGGLED), (400,)
    for value in VALUES:
        yield "value %r" % value, get(b"X: " + value, body=SMUGGLED), (400,)
        yield "trailer value %r" % value, chunked(b"0\r\nX: " + value + b"\r\n\r\n" + SMUGGLED), (
            400,
        )
    for line in LINES:
        yield "request line %r" % line, raw(line + b"\r\nHost: a") + SMUGGLED, (400, 505)
    for version in VERSIONS:
        yield "version %r" % version, raw(b"GET /healthz " + version + b"\r\nHost: a") + SMUGGLED, (
            505,
        )
    yield "a version of many digits", raw(b"GET / HTTP/4294967295.255\r\nHost: a"), (400, 505)
    for host in HOSTS:
        yield "host %r" % host, raw(b"GET /healthz HTTP/1.1\r\nHost: " + host) + SMUGGLED, (400,)
    yield "no host", raw(b"GET /healthz HTTP/1.1\r\nX: y") + SMUGGLED, (400,)
    yield "two hosts", raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a") + SMUGGLED, (400,)
    yield "no colon", get(b"Content-Length 10", body=SMUGGLED), (400,)
    yield "a colon alone", get(b":", b"I: am chopped off", body=SMUGGLED), (400,)
    yield "a folded line", get(b"X: a", b" b", body=SMUGGLED), (400,)
    yield "a folded name", get(b"Transfer-", b"Encoding: chunked", body=SMUGGLED), (400,)
    yield "line feeds alone", b"GET /healthz HTTP/1.1\nHost: a\n\n" + SMUGGLED, (400,)
    yield "a line feed at a field", b"GET /healthz HTTP/1.1\r\nHost: a\nX: y\r\n\r\n" + SMUGGLED, (
        400,
    )
    yield "a head ended by half", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\rZGET / HTTP/1.1\r\n\r\n", (
        400,
    )
    yield "a name behind a bare return", get(b"Visible: :/\rSmuggled: :)"), (400,)
    yield "a chunk longer than its size", chunked(b"3\r\nhello\r\n0\r\n\r\n" + SMUGGLED), (400,)
    yield "a chunk that ends in a line feed", chunked(b"a\r\n0123456789\n0\r\n\r\n" + SMUGGLED), (
        400,
    )
    yield "a last chunk that ends in a line feed", chunked(b"0\n\r\n" + SMUGGLED), (400,)
    yield "a body that ends in two other bytes", chunked(
        b"0\r\nX:POST / HTTP/1.1\r\n\r" b"Y" + SMUGGLED
    ), (400,)
    yield "an extra line before the last chunk", chunked(b"1\r\nZ\r\n\r\n0\r\n\r\n" + SMUGGLED), (
        400,
    )
    yield "an extension without an end", chunked(b"5;" + b"a" * 1100), (400,)
    yield "an endless trailer", chunked(b"0\r\n" + b"X: y\r\n" * 1500), (431,)
    yield "101 fields", get(*(b"x-%d: y" % n for n in range(100))), (431,)
    yield "a head of 17 KiB", get(b"X: " + b"y" * 17000), (431,)
    yield "a request line of 9 KiB", get(target=b"/" + b"a" * 9000), (414,)
    yield "a body of 9 exabytes", get(b"Content-Length: 9223372036854775807"), (413,)
    yield "another expectation", get(b"Expect: something", body=SMUGGLED), (417,)
    yield "three empty lines first", b"\r\n\r\n\r\n" + LAST, (400,)
    yield "a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n", (
        400,
    )
    yield "an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)
    yield "nonsense behind a good request", get() + b"Invalid\r\n\r\n" + SMUGGLED, (200, 400)


WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
UNFINISHED = [WHOLE[:length] for length in range(1, len(WHOLE))] + [
    get(b"Content-Length: 5", body=b"hell"),
    chunked(b"5\r\nhell"),
    chunked(b"5\r\nhello"),
    chunked(b"0\r\n"),
    chunked(b"0\r\nX: y\r\n"),
]


async def check_taken(data, wanted, by_byte):
    answer = await exchange(data, by_byte)
    assert answer is not None, "the connection was not closed"
    heads = {n for n, status in enumerate(wanted) if isinstance(status, str)}
    found = statuses(answer, heads)
    assert found == [int(str(status).split()[-1]) for status in wanted], f"{found}"


async def check_refused(data, wanted, by_byte):
    answer = await exchange(data, by_byte)
    assert answer is not None, "the connection was not closed"
    found = statuses(answer)
    if wanted == (200, 400):
        assert found == [200, 400], f"{found}"
    else:
        assert len(found) == 1 and found[0] in wanted, f"{found}, not one of {wanted}"
    assert b"connection: close" in answer.lower(), "it does not say that it closes"


async def check_waits(data):
    reader, writer = await connect()
    writer.write(data)
    try:
        early = await asyncio.wait_for(reader.read(1), 0.3)
        raise AssertionError(f"it did not wait: {early!r}")
    except asyncio.TimeoutError:
        pass
    finally:
        writer.close()


async def main():
    failures = []
    cases = []
    for by_byte in (False, True):
        how = ", byte by byte" if by_byte else ""
        for name, data, wanted in TAKEN:
            cases.append((name + how, check_taken(data, wanted, by_byte)))
        for name, data, wanted in refused():
            cases.append((name + how, check_refused(data, wanted, by_byte)))
    for data in UNFINISHED:
        cases.append(("unfinished %r" % data, check_waits(data)))
    await gather(cases, failures)
    print(f"{len(cases)} cases, {len(failures)} failed")
    for failure in failures:
        print("failed:", failure)
    sys.exit(1 if failures else 0)


asyncio.run(main())
