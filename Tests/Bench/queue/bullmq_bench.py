"""The same figures for Python's BullMQ: one line of JSON for `add`, `bulk` and `work`."""

import asyncio
import json
import sys
import time

from bullmq import Queue, Worker

what, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connection = {"host": "127.0.0.1", "port": port, "socket_timeout": None}


async def add(queue):
    for i in range(count):
        await queue.add("n", {"a": i}, {})


async def bulk(queue):
    for start in range(0, count, 1000):
        await queue.addBulk([{"name": "n", "data": {"a": i}, "opts": {}} for i in range(1000)])


async def work(queue):
    done = asyncio.Event()
    seen = 0

    async def process(job, token):
        nonlocal seen
        seen += 1
        if seen == count:
            done.set()
    worker = Worker("bench", process, {"connection": connection, "concurrency": 50})
    await done.wait()
    await worker.close()


async def main():
    queue = Queue("bench", {"connection": connection})
    begun, cpu = time.monotonic(), time.process_time()
    await {"add": add, "bulk": bulk, "work": work}[what](queue)
    seconds = time.monotonic() - begun
    print(json.dumps({"rate": round(count / seconds, 1),
                      "cpu_us_per_job": round((time.process_time() - cpu) / count * 1e6, 1)}))
    await queue.close()

asyncio.run(main())
