"""Bytes out, bytes in: a connection that knows nothing of HTTP but where an answer ends."""

import asyncio
import os
import sys
from urllib.parse import urlsplit

ADDRESS = urlsplit(sys.argv[1] if len(sys.argv) > 1 else os.environ["MESSAGING_URL"])
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def get(*lines, body=b"", target=b"/healthz"):
    """A request with these field lines behind its Host."""
    return b"\r\n".join((b"GET %s HTTP/1.1" % target, b"Host: a", *lines, b"", b"")) + body


async def connect():
    return await asyncio.open_connection(ADDRESS.hostname, ADDRESS.port, limit=1 << 22)


async def exchange(data, by_byte, bound=8):
    """Sends; what came back until the server closed, or None when it did not close in time."""
    reader, writer = await connect()
    try:
        for part in ([data[n : n + 1] for n in range(len(data))] if by_byte else [data]):
            writer.write(part)
            if by_byte:
                await asyncio.sleep(0)
        return await asyncio.wait_for(reader.read(-1), bound)
    except asyncio.TimeoutError:
        return None
    except ConnectionError:
        return b""
    finally:
        writer.close()


def statuses(answer, heads=()):
    """The statuses of the answers in these bytes, framed by their own length; 1xx left out."""
    found = []
    while answer:
        head, separator, answer = answer.partition(b"\r\n\r\n")
        assert separator and head.startswith(b"HTTP/1.1 "), f"no answer but {head[:60]!r}"
        status = int(head[9:12])
        if status < 200:
            continue
        lengths = [
            line[16:]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length: ")
        ]
        assert len(lengths) == 1, f"no length in {head!r}"
        found.append(status)
        if len(found) - 1 not in heads:
            body, answer = answer[: int(lengths[0])], answer[int(lengths[0]) :]
            assert len(body) == int(lengths[0]), "an answer was cut off"
    return found


async def gather(checks, failures, at_once=32):
    gate = asyncio.Semaphore(at_once)

    async def one(name, check):
        async with gate:
            try:
                await check
            except AssertionError as fault:
                failures.append(f"{name}: {fault}")

    await asyncio.gather(*(one(name, check) for name, check in checks))
