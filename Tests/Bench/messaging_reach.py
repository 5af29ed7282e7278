#!/usr/bin/env python3
"""How far messaging reaches: one hot conversation, cached lists, growth, streams, latency under load.

Started by `compose/local bench --messaging`, which provides the services and a database that flushes
to disk. Ratios are of one run, medians of three rounds.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from urllib.parse import urlsplit

from measuring import (
    SERVICE_ENVIRONMENT, Processes, cpu_seconds, free_port, median, raise_descriptor_limit, rounds,
    wrk,
)
from stores import Database
from table import Table, millis, rate

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.environ["SWITCHBOARD_BIN"]
STACK = os.environ["SWITCHBOARD_STACK"]
MESSAGING = os.environ["MESSAGING_URL"]
DISPATCH = os.environ["DISPATCH_WORKER_URL"]
KEY = os.environ["SWITCHBOARD_AGENT_KEY"]
ADMIN = os.environ["SWITCHBOARD_ADMIN_KEY"]
ROUNDS = 3
SECONDS = 2
STREAMS = 5000
ROOM = 100_000
PER_SECOND = 200
LOAD_SECONDS = 20
WARM_UP_SECONDS = 5

# A room that is as old as rooms get: its messages are spread over many threads, all but 20 of which
# are archived or long past.
GROW = """
insert into messaging.messages (tenant_id, id, conversation_id, seq, channel_code, sender_kind,
    sender_id, text, thread_id, thread_state, method)
  select t.id, platform.uuid_v7(), md5('conversation 2')::uuid, n, 'bench', 'contact', 'bench',
         'message ' || n, md5('thread 2')::uuid, 'assigned', 'similar'
    from platform.tenants t, generate_series(1, :messages) n where t.code = :'tenant';
update messaging.conversations set next_seq = :messages + 1, last_user_seq = :messages
 where id = md5('conversation 2')::uuid;
update messaging.threads set message_count = :messages where id = md5('thread 2')::uuid;
vacuum analyze messaging.messages;
"""

# Conversations that the bot has: everything is on.
BOTS = """
insert into messaging.contacts (tenant_id, id, channel_code, external_id)
  select t.id, md5('contact of a bot ' || n)::uuid, 'bench', 'bot-' || n
    from platform.tenants t, generate_series(1, 400) n where t.code = :'tenant';
insert into messaging.conversations (tenant_id, id, channel_code, contact_id)
  select t.id, md5('bot ' || n)::uuid, 'bench', md5('contact of a bot ' || n)::uuid
    from platform.tenants t, generate_series(1, 400) n where t.code = :'tenant';
select md5('bot ' || n)::uuid from generate_series(1, 400) n;
"""


class Reach:
    def __init__(self, folder):
        self.folder = folder
        self.processes = Processes(folder)
        self.table = Table()
        self.database = Database(folder)
        with open(f"{STACK}/pids/messaging.1") as file:
            self.pid = int(file.read())

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def file_of(self, name, ids):
        path = f"{self.folder}/{name}"
        with open(path, "w") as file:
            file.write("\n".join(ids) + "\n")
        return path

    def post(self, ids, clients, seconds=SECONDS):
        """Posts; the CPU time of messaging and of PostgreSQL for each message, beside the rate."""
        before = self.database.cpu_seconds()
        load = wrk(
            MESSAGING, self.pid, seconds, clients, f"{HERE}/post.lua", [ids, KEY, "20000"]
        )
        load.both_us = load.cpu_us + (self.database.cpu_seconds() - before) / load.requests * 1e6
        self.database.settle_outbox()
        return load

    # -- The rows.

    def hot_conversation(self, ids):
        self.say("one hot conversation")
        one = self.file_of("one", ids[:1])
        counts = (8, 16, 32, 64)
        loads = rounds(ROUNDS, *(lambda n=n: self.post(one, n) for n in counts))
        rates = [median(load.rate for load in round_) for round_ in loads]
        self.table.at_least(
            "one conversation: 64 clients against 8", 1, rates[-1] / rates[0], rate(rates[-1]),
            ", ".join(f"{n}: {rate(value)}" for n, value in zip(counts[:-1], rates)),
        )

    def cached_lists(self, ids):
        self.say("cached lists")
        port = free_port()
        peer = self.processes.start(
            "bench",
            [f"{BIN}/bench-server"],
            {"PORT": str(port), "HOST": "127.0.0.1", **SERVICE_ENVIRONMENT},
        )
        self.processes.wait_for("bench", port)
        script = self.file_of(
            "get.lua", [f'wrk.headers["Authorization"] = "Bearer {KEY}"']
        )
        room = f"{MESSAGING}/v1/conversations/{ids[4]}"
        variants = [
            lambda url=url, pid=pid: wrk(url, pid, SECONDS, script=script)
            for url, pid in (
                (f"{room}/messages?limit=10", self.pid),
                (f"{room}/threads", self.pid),
                (f"http://127.0.0.1:{port}/incr", peer),
            )
        ]
        rounds(1, *variants)
        messages, threads, incr = (
            median(load.rate for load in loads) for loads in rounds(ROUNDS, *variants)
        )
        for name, value in (("messages", messages), ("threads", threads)):
            self.table.at_least(
                f"cached list of {name} against a route of one INCR", 0.8, value / incr,
                rate(value), rate(incr),
            )

    def hits(self, ids):
        """How long a reader waits for what is in a cache, with eight at once (S003-20 to 22)."""
        self.say("what a cache answers")
        script = self.file_of(
            "get.lua", [f'wrk.headers["Authorization"] = "Bearer {KEY}"']
        )
        request = urllib.request.Request(
            f"{MESSAGING}/v1/user-sessions/bench-socket",
            json.dumps({"user_id": "bench", "conversation_id": ids[4]}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=10).close()
        room = f"{MESSAGING}/v1/conversations/{ids[4]}"
        urls = {
            "a session": f"{MESSAGING}/v1/user-sessions/bench-socket",
            "a list of threads": f"{room}/threads",
            "a list of messages": f"{room}/messages?limit=10",
        }
        variants = [lambda url=url: wrk(url, self.pid, SECONDS, 8, script) for url in urls.values()]
        rounds(1, *variants)
        for name, loads in zip(urls, rounds(ROUNDS, *variants)):
            self.table.at_most(
                f"{name} from the cache, 8 clients, p99", 5, median(load.p99_ms for load in loads),
                rate(median(load.rate for load in loads)), "", " ms",
            )

    def growth(self, ids):
        self.say("growth of a room and of their number")
        few, large = self.file_of("few", ids[2:3]), self.file_of("large", ids[1:2])
        many = self.file_of("many", ids[:5000])
        self.database.psql(
            GROW, tenant=os.environ["SWITCHBOARD_TENANT"], messages=ROOM
        )
        # One client: no batches, so that each message is a transaction of its own everywhere.
        small, grown, spread = rounds(
            ROUNDS,
            lambda: self.post(few, 1),
            lambda: self.post(large, 1),
            lambda: self.post(many, 1),
        )
        small, grown, spread = (
            median(load.both_us for load in loads) for loads in (small, grown, spread)
        )
        name = "CPU of messaging and PostgreSQL per message"
        self.table.at_most(
            f"{name}: a room of {ROOM:,} against a small one", 1.2, grown / small,
            f"{grown:.0f} us", f"{small:.0f} us",
        )
        self.table.at_most(
            f"{name}: 5,000 rooms against one", 1.2, spread / small, f"{spread:.0f} us",
            f"{small:.0f} us",
        )

    def streams(self, _):
        self.say(f"{STREAMS} streams")
        text = subprocess.run(
            [sys.executable, f"{HERE}/live_streams.py", str(STREAMS)],
            capture_output=True, text=True, timeout=120, check=True,
        ).stdout
        held = float(re.search(r"streams: ([\d.]+) MiB", text).group(1)) * 2**20 / 1e6
        middle, slowest, lost = map(
            int, re.search(r"median (\d+) ms, slowest (\d+) ms; lost (\d+)", text).groups()
        )
        assert lost == 0, text
        self.table.at_most(f"memory of {STREAMS:,} streams", 60, held, "", "", " MB")
        self.table.at_most(
            f"one event to {STREAMS:,} streams, slowest of ten", 1000, slowest,
            f"median {middle} ms", "", " ms",
        )

    def local_channel(self):
        """What the bot answers goes out as well, to dispatch-worker's own outbox."""
        for path, body in (
            ("workspaces/local", {"provider": "local"}),
            ("channels/bench", {
                "workspace_code": "local", "provider_channel_id": "bench",
                "rate": {"per_second": 1000, "burst": 100},
            }),
        ):
            request = urllib.request.Request(
                f"{DISPATCH}/v1/{path}", json.dumps(body).encode(), method="PUT",
                headers={"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"},
            )
            urllib.request.urlopen(request, timeout=10).close()

    def latency(self, ids):
        """The same load twice: where people answer, and where bots do and everything follows."""
        self.local_channel()
        bots = self.database.psql(BOTS, tenant=os.environ["SWITCHBOARD_TENANT"]).split()
        self.paced("people answer", ids[: len(bots)])
        self.paced("bots answer, everything on", bots)

    def paced(self, name, conversations):
        self.say(f"{PER_SECOND} messages a second, {name}")
        # As PostgreSQL is a minute after it was made: statements planned while every table was empty
        # are planned again when autovacuum has counted the rows.
        asyncio.run(Paced(conversations).run(WARM_UP_SECONDS))
        self.database.psql("analyze")
        began = cpu_seconds(self.pid)
        times = sorted(asyncio.run(Paced(conversations).run(LOAD_SECONDS)))
        used = (cpu_seconds(self.pid) - began) / LOAD_SECONDS
        at = lambda share: times[int(len(times) * share)] * 1000
        self.table.at_most(
            f"p95 at {PER_SECOND} messages a second, {name}", 50, at(0.95),
            f"p50 {millis(at(0.5))}, p99 {millis(at(0.99))}, {used * 100:.0f} % of a core", "", " ms",
        )

    def run(self, parts):
        with open(self.database.prepare()) as file:
            ids = file.read().split()
        for part in parts:
            part(self, ids)


class Paced:
    """Messages at fixed times, however long answers take; a time counts from when it was due."""

    CONNECTIONS = 64

    def __init__(self, ids):
        self.ids = ids
        self.parts = urlsplit(MESSAGING)
        self.times = []

    async def connect(self):
        return await asyncio.open_connection(self.parts.hostname, self.parts.port)

    async def send(self, pool, number, due):
        connection = await pool.get()
        reader, writer = connection
        body = b'{"sender": {"kind": "contact", "id": "c"}, "text": "where is order %d"}' % number
        writer.write(
            f"POST /v1/conversations/{self.ids[number % len(self.ids)]}/messages HTTP/1.1\r\n"
            f"Host: {self.parts.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201"), head
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        await reader.readexactly(length)
        self.times.append(time.monotonic() - due)
        pool.put_nowait(connection)

    async def run(self, seconds):
        pool = asyncio.Queue()
        for _ in range(self.CONNECTIONS):
            pool.put_nowait(await self.connect())
        start = time.monotonic() + 0.1
        tasks = []
        for number in range(PER_SECOND * seconds):
            due = start + number / PER_SECOND
            await asyncio.sleep(max(0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self.send(pool, number, due)))
        await asyncio.gather(*tasks)
        return self.times


def main():
    if raise_descriptor_limit() < 2 * STREAMS:
        raise SystemExit(f"the hard limit of descriptors must be {2 * STREAMS} or more")
    parts = {
        "streams": Reach.streams, "lists": Reach.cached_lists, "hits": Reach.hits,
        "hot": Reach.hot_conversation, "growth": Reach.growth, "latency": Reach.latency,
    }
    chosen = sys.argv[1:] or list(parts)
    if unknown := set(chosen) - set(parts):
        raise SystemExit(f"there is no part {', '.join(unknown)}; there are {', '.join(parts)}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="switchboard-reach-") as folder:
        reach = Reach(folder)
        try:
            reach.run([parts[name] for name in chosen])
        finally:
            reach.processes.stop()
    print(reach.table.text())
    print(f"\n{os.cpu_count()} cores for clients, services and stores; ", end="")
    print(f"{ROUNDS} rounds each, medians; {time.monotonic() - began:.0f} s.")
    return 0 if reach.table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
