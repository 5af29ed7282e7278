"""Accepts at a steady rate over thirty channels of each tenant.

Usage: steady_load.py URL RATE SECONDS KEY…, a key for each tenant. Prints what was accepted.
"""

import asyncio
import json
import sys
import time

import aiohttp

URL, RATE, SECONDS, KEYS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
CHANNELS = 30


async def main():
    total = RATE * SECONDS
    accepted = errors = 0
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(connector=connector) as session:
        async def post(number):
            nonlocal accepted, errors
            key = KEYS[number % len(KEYS)]
            channel = number // len(KEYS) % CHANNELS
            async with session.post(
                f"{URL}/v1/message-requests",
                json={"channel_code": f"c{channel}", "text": f"Message {number}"},
                headers={"Authorization": f"Bearer {key}"},
            ) as answer:
                if answer.status == 202:
                    accepted += 1
                else:
                    errors += 1

        begun, tasks = time.monotonic(), []
        for number in range(total):
            ahead = begun + number / RATE - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            tasks.append(asyncio.create_task(post(number)))
        await asyncio.gather(*tasks)
        seconds = time.monotonic() - begun
    print(json.dumps({"count": accepted, "errors": errors, "rate": accepted / seconds}))

asyncio.run(main())
