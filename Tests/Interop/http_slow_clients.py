"""Clients that are slow, idle, greedy or hasty, each beside an honest one that must not notice.

Usage: http_slow_clients.py [http://127.0.0.1:8081], else MESSAGING_URL
"""

import asyncio
import sys

from wire.client import ADDRESS, LAST, connect, exchange, gather, get, statuses


async def honest(bound=2.0):
    """A probe that a slow neighbour must not be felt by."""
    answer = await exchange(LAST, False, bound)
    assert answer is not None and statuses(answer) == [200], "an honest client was not answered"


async def beside(work):
    """Runs `work` while an honest client asks twice a second."""

    async def probes():
        while True:
            await honest()
            await asyncio.sleep(0.5)

    probe = asyncio.ensure_future(probes())
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({probe, task}, return_when=asyncio.FIRST_COMPLETED)
    probe.cancel()
    if probe in done:
        task.cancel()
        probe.result()
    return await task


async def drip(head, tail, pause, longest):
    """Sends `head`, then `tail` byte by byte; seconds until the server ended it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reader, writer = await connect()
    writer.write(head)
    reading = asyncio.ensure_future(reader.read(-1))
    try:
        for byte in tail:
            await asyncio.wait({reading}, timeout=pause)
            if reading.done():
                break
            writer.write(bytes([byte]))
        await asyncio.wait_for(reading, max(0.1, longest - (loop.time() - began)))
        answer = reading.result() if not reading.exception() else b""
    finally:
        reading.cancel()
        writer.close()
    return loop.time() - began, answer


async def slow_head():
    took, answer = await drip(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", b"y" * 100, 0.5, 14)
    assert 8 < took < 13, f"a head may take 10 s, this one took {took:.1f} s"
    assert statuses(answer) in ([408], []), f"{answer[:40]!r}"


async def slow_body():
    took, answer = await drip(get(b"Content-Length: 1000"), b"x" * 200, 0.5, 36)
    assert took < 33.5, f"a body may take 30 s, this one took {took:.1f} s"


async def idle():
    connections = [await connect() for _ in range(1000)]
    for _, writer in connections:
        writer.write(get())
    for reader, _ in connections:
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(
            b"HTTP/1.1 200"
        )
    await asyncio.sleep(1)
    for _, writer in connections:
        writer.close()


async def greedy():
    """Asks for much and reads nothing: it is cut, and the server keeps little of it."""
    reader, writer = await asyncio.open_connection(ADDRESS.hostname, ADDRESS.port, limit=1024)
    writer.transport.pause_reading()
    ask = get(target=b"/openapi.json")
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        while loop.time() - began < 40:
            writer.write(ask * 20)
            await asyncio.wait_for(writer.drain(), 30)
            await asyncio.sleep(0.05)
    except (ConnectionError, asyncio.TimeoutError):
        pass
    took = loop.time() - began
    writer.transport.abort()
    assert took < 35, f"a client that reads nothing was borne for {took:.0f} s"


async def hasty():
    async def come_and_go(number):
        _, writer = await connect()
        if number % 3:
            writer.write(get()[: number % 30 + 1])
        writer.transport.abort()

    for start in range(0, 3000, 100):
        await asyncio.gather(*(come_and_go(number) for number in range(start, start + 100)))


async def main():
    failures = []
    cases = [
        ("a slow head", slow_head()),
        ("a slow body", slow_body()),
        ("1000 idle connections", idle()),
        ("a reader that does not read", greedy()),
        ("connections that come and go", hasty()),
    ]
    await gather([(name, beside(work)) for name, work in cases], failures)
    await gather([("served again afterwards", honest())], failures)
    print(f"{len(cases) + 1} cases, {len(failures)} failed")
    for failure in failures:
        print("failed:", failure)
    sys.exit(1 if failures else 0)


asyncio.run(main())
