#!/usr/bin/env python3
"""A Redis that is slow to write: passes everything on to the real one, a SET only after a while.

    slow_redis.py PORT HOST PORT_OF_REDIS DELAY_SECONDS
"""

import asyncio
import sys

PORT, HOST, TARGET, DELAY = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])


async def pump(reader, writer, slow):
    try:
        while data := await reader.read(65536):
            if slow and b"\r\nSET\r\n" in data:
                await asyncio.sleep(DELAY)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    up_reader, up_writer = await asyncio.open_connection(HOST, TARGET)
    await asyncio.gather(pump(reader, up_writer, True), pump(up_reader, writer, False))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT)
    async with server:
        await server.serve_forever()


asyncio.run(main())
