"""The peer: a worker on BullMQ, asyncpg and slack_sdk that locks, sends and records the same.

Usage: python_worker.py COUNT SINK. Prints its rate and CPU time per message as a line of JSON.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from urllib.parse import unquote, urlsplit

import asyncpg
import redis.asyncio
from bullmq import Queue, Worker
from slack_sdk.web.async_client import AsyncWebClient

COUNT, SINK = int(sys.argv[1]), sys.argv[2]
AT_ONCE = 50
REDIS = os.environ["REDIS_URL"]

SCHEMA = """
create schema if not exists peer;
create table if not exists peer.requests (id uuid primary key, channel text not null,
  body text not null, status text not null, token uuid, ts text, attempts int not null default 0);
create table if not exists peer.attempts (request uuid, token uuid, status text,
  created_at timestamptz not null default now());
create table if not exists peer.outbox (id bigserial primary key, event text, data jsonb);
truncate peer.requests, peer.attempts, peer.outbox;
"""
FINISH = """
with finished as (update peer.requests set status = 'sent', ts = $3 where id = $1 and token = $2
    returning id),
  noted as (insert into peer.attempts (request, token, status) select id, $2, 'sent' from finished)
insert into peer.outbox (event, data) select 'sent', jsonb_build_object('id', id) from finished
"""


async def main():
    pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=5, max_size=5, server_settings={"jit": "off"}
    )
    locks = redis.asyncio.from_url(REDIS)
    await pool.execute(SCHEMA)
    ids = [uuid.uuid4() for _ in range(COUNT)]
    await pool.executemany(
        "insert into peer.requests values ($1, $2, $3, 'dispatched')",
        [(key, f"C{n % 250}", f"Message {n}") for n, key in enumerate(ids)],
    )
    name = f"peer-{uuid.uuid4()}"
    at = urlsplit(REDIS)
    # With its default timeout redis-py ends BullMQ's waiting read.
    connection = {"connection": {
        "host": at.hostname, "port": at.port, "password": unquote(at.password or "") or None,
        "username": at.username or None, "socket_timeout": None,
    }}
    queue = Queue(name, connection)
    for start in range(0, COUNT, 1000):
        await queue.addBulk([
            {"name": "send", "data": {"id": str(key)}, "opts": {"removeOnComplete": True}}
            for key in ids[start:start + 1000]
        ])
    client = AsyncWebClient(token="xoxb-bench", base_url=SINK + "/")
    done, sent = asyncio.Event(), 0

    async def process(job, _):
        nonlocal sent
        key, token = uuid.UUID(job.data["id"]), uuid.uuid4()
        if not await locks.set(f"peer:{key}", str(token), nx=True, px=600_000):
            return
        row = await pool.fetchrow("select channel, body from peer.requests where id = $1", key)
        await pool.execute("""update peer.requests set status = 'sending', token = $2,
            attempts = attempts + 1 where id = $1 and status = 'dispatched'""", key, token)
        answer = await client.chat_postMessage(
            channel=row["channel"], text=row["body"],
            metadata={"event_type": "request", "event_payload": {"id": str(key)}},
        )
        await pool.execute(FINISH, key, token, answer["ts"])
        await locks.delete(f"peer:{key}")
        sent += 1
        if sent == COUNT:
            done.set()

    begun, cpu = time.monotonic(), time.process_time()
    worker = Worker(name, process, {**connection, "concurrency": AT_ONCE})
    await done.wait()
    seconds, used = time.monotonic() - begun, time.process_time() - cpu
    await worker.close()
    await queue.close()
    await locks.aclose()
    await pool.close()
    print(json.dumps({"rate": COUNT / seconds, "cpu_us": used / COUNT * 1e6}))

asyncio.run(main())
