#!/usr/bin/env python3
"""The message handler's table: how long its steps take at 200 requests a second, whether a slow AI
slows the chat, what 100,000 conversations leave in memory, and what three processes share.

    compose/local run -- python3 Tests/Bench/handler.py [--quick] [steps] [accept] [shared] [memory]

Steps are read from the service's own histogram (`handler_step_seconds`): the bound of the bucket that
holds the 95th percentile, so never less than it was. The whole answer is timed by the client, from
the instant at which the request was due, whether or not it could be sent then. Without a name all
parts run; `--quick` tries everything at a tenth.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid

from measuring import Processes, free_port, resident_bytes
from table import Table

KEY = os.environ["SWITCHBOARD_AGENT_KEY"]
ADMIN = os.environ["SWITCHBOARD_ADMIN_KEY"]
TENANT = os.environ["SWITCHBOARD_TENANT"]
BIN = os.environ["SWITCHBOARD_BIN"]
STACK = os.environ["SWITCHBOARD_STACK"]
DATABASE = os.environ["DATABASE_URL"]
QUICK = "--quick" in sys.argv[1:]
PARTS = [word for word in sys.argv[1:] if word != "--quick"] or [
    "steps", "accept", "shared", "memory"
]
RATE = 200
SECONDS = 2 if QUICK else 10
CONVERSATIONS = 10_000 if QUICK else 100_000
CHANNEL = f"handler-{uuid.uuid4().hex[:10]}"
CONNECTIONS = 32


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def sql(text):
    done = subprocess.run(
        ["psql", "--no-psqlrc", "-qAtX", "-v", "ON_ERROR_STOP=1", DATABASE, "-c", text],
        check=True, capture_output=True, text=True, timeout=300,
    )
    return done.stdout.strip()


def call(url, method, path, body=None, key=KEY, **fields):
    request = urllib.request.Request(url + path, method=method)
    request.add_header("Authorization", f"Bearer {key}")
    for name, value in fields.items():
        request.add_header(name.replace("_", "-"), value)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def make_bot(url, delay_ms):
    core, bot = str(uuid.uuid4()), str(uuid.uuid4())
    meta = {"provider": "simulated", "delay_ms": delay_ms}
    document = {"name": "AI", "api_endpoint": "http://127.0.0.1:9/v1", "meta_data": meta}
    call(url, "PUT", f"/v1/core-ai/{core}", document, key=ADMIN)
    call(url, "PUT", f"/v1/bots/{bot}", {"name": "Lin", "core_ai_id": core}, key=ADMIN)
    return bot


def make_conversations(count, bot):
    """Their ids, made by the database itself."""
    made = sql(f"""
        with k as (
          insert into messaging.contacts (tenant_id, channel_code, external_id)
          select t.id, '{CHANNEL}', gen_random_uuid() from platform.tenants t,
                 generate_series(1, {count}) where t.code = '{TENANT}'
          returning tenant_id, id)
        insert into messaging.conversations (tenant_id, channel_code, contact_id, bot_id)
        select tenant_id, '{CHANNEL}', id, '{bot}' from k returning id""")
    return made.splitlines()


# -- Load: requests at their times, over connections that stay open.


class Connection(asyncio.Protocol):
    """One request at a time; `answered` has the status and the instant of its end."""

    def connection_made(self, transport):
        self.transport, self.buffer, self.answered = transport, b"", None

    def ask(self, data):
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.answered

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        if len(body) >= length:
            self.buffer = body[length:]
            self.answered.set_result((int(head[9:12]), time.monotonic()))

    def connection_lost(self, error):
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(ConnectionError("closed without an answer"))


def request_bytes(url, path, body):
    parts = urllib.parse.urlsplit(url)
    document = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(document)}\r\n\r\n"
    )
    return head.encode() + document


async def load(urls, requests, rate):
    """Sends each of (path, body) at its time, by turns to `urls`; milliseconds from when it was due."""
    loop = asyncio.get_running_loop()
    free = asyncio.Queue()
    for number in range(CONNECTIONS * len(urls)):
        parts = urllib.parse.urlsplit(urls[number % len(urls)])
        _, connection = await loop.create_connection(Connection, parts.hostname, parts.port)
        free.put_nowait((urls[number % len(urls)], connection))
    times, begun = [], time.monotonic()

    async def one(path, body, due):
        url, connection = await free.get()
        status, ended = await connection.ask(request_bytes(url, path, body))
        free.put_nowait((url, connection))
        assert status in (200, 201), f"{path} answered {status}"
        times.append((ended - due) * 1000)

    tasks = []
    for number, (path, body) in enumerate(requests):
        due = begun + number / rate if rate else time.monotonic()
        if rate:
            await asyncio.sleep(max(0, due - time.monotonic()))
        elif number % 500 == 499:
            await asyncio.gather(*tasks)
            tasks = []
        tasks.append(asyncio.create_task(one(path, body, due)))
    await asyncio.gather(*tasks)
    while not free.empty():
        free.get_nowait()[1].transport.close()
    return times


def p95(values):
    return sorted(values)[int(len(values) * 0.95)]


def steps(url):
    """{step: [(bound, cumulative count), …]}"""
    text = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
    found = {}
    for line in text.splitlines():
        match = re.match(r'handler_step_seconds_bucket\{(.*)\} (\d+)', line)
        if match:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match.group(1)))
            bound = float(labels["le"].replace("+Inf", "inf"))
            found.setdefault(labels["step"], []).append((bound, int(match.group(2))))
    return found


def step_p95(before, after, step):
    """In ms: the bound of the bucket that holds it, of what came between two readings."""
    old = dict(before.get(step, []))
    grown = [(bound, count - old.get(bound, 0)) for bound, count in sorted(after[step])]
    total = grown[-1][1]
    assert total > 0, f"nothing was measured of {step}"
    return next(bound for bound, count in grown if count >= 0.95 * total) * 1000, total


def database_work():
    """Commits, bytes of WAL and flushes of it so far."""
    return [float(word) for word in sql("""
        select (select sum(xact_commit) from pg_stat_database) || ' ' || wal_bytes || ' ' || wal_sync
          from pg_stat_wal""").split()]


HISTORY = "<USER>Where is my refund?</USER><br><BOT>Let me look.</BOT><br><USER>Thanks</USER><br>"


def long_history():
    """As long as a history may be: 64 KiB in 128 turns, with everything that is escaped."""
    turn = "Where is it &amp; why &lt;so late&gt;? ".ljust(494, "x")
    text = "".join(
        f"<{who}>{turn}</{who}><br>" for _ in range(64) for who in ("USER", "BOT")
    )
    assert 65_000 < len(text) <= 65_536, len(text)
    return text


class Bench:
    def __init__(self, folder):
        self.folder, self.table = folder, Table()
        self.processes = Processes(folder)

    def prepare(self):
        """A channel, and a bot that answers at once."""
        url, pid = self.instance("preparing")
        # Answers are sent on, so dispatch-worker has to know the channel as well.
        dispatch = os.environ["DISPATCH_WORKER_URL"]
        call(dispatch, "PUT", f"/v1/workspaces/{CHANNEL}", {"provider": "local"}, key=ADMIN)
        call(
            dispatch, "PUT", f"/v1/channels/{CHANNEL}",
            {"workspace_code": CHANNEL, "provider_channel_id": "C1",
             "rate": {"per_second": 1000, "burst": 100}},
            key=ADMIN,
        )
        call(
            url, "POST", "/v1/internal/channels",
            {"code": CHANNEL, "kind": "local", "version": 1},
            key=os.environ["SERVICE_TOKEN"], Switchboard_Tenant=TENANT,
        )
        self.bot = make_bot(url, 0)
        self.end(pid)

    def instance(self, name, **settings):
        """A messaging process of ours; the stack's own stands aside."""
        port = free_port()
        pid = self.processes.start(
            name, [f"{BIN}/messaging", "serve"],
            {"PORT": str(port), "HOST": "127.0.0.1", "LOG_LEVEL": "warning",
             "MAX_ASSIGNMENTS_PER_WINDOW": "1000000", **settings},
        )
        self.processes.wait_for(name, port)
        return f"http://127.0.0.1:{port}", pid

    def end(self, pid):
        process = next(p for p in self.processes.running if p.pid == pid)
        process.terminate()
        process.wait(timeout=40)
        self.processes.running.remove(process)

    def steps_at(self, url, count, history, rate, bot):
        ids = make_conversations(count, bot)
        before = steps(url)
        path = "/v1/conversations/{}/handle"
        times = asyncio.run(
            load([url], [(path.format(i), {"history": history}) for i in ids], rate)
        )
        return times, before, steps(url)

    def time_steps(self):
        say(f"steps at {RATE} requests/s")
        url, pid = self.instance("with-redis")
        self.steps_at(url, RATE, HISTORY, RATE, self.bot)  # warm
        times, before, after = self.steps_at(url, RATE * SECONDS, HISTORY, RATE, self.bot)
        for aim, step, wanted in (
            ("taking and showing the lock, with Redis: p95", "lock", 10),
            ("configuration of a conversation not seen before: p95", "configuration", 20),
            ("making the job: p95", "job", 15),
        ):
            value, total = step_p95(before, after, step)
            self.table.at_most(aim, wanted, value, f"of {total:,}", "", " ms")
        self.table.at_most(
            f"handle, the whole answer at {RATE}/s: p95", 50, p95(times),
            f"of {len(times):,}, median {sorted(times)[len(times) // 2]:.1f} ms", "", " ms",
        )
        say("histories of 64 KiB")
        _, before, after = self.steps_at(url, 20 * SECONDS, long_history(), 20, self.bot)
        value, total = step_p95(before, after, "parse")
        self.table.at_most(
            "reading a history of 64 KiB, body and all: p95", 5, value, f"of {total:,}", "", " ms"
        )
        say("messages")
        ids = make_conversations(RATE * SECONDS, self.bot)
        before = database_work()
        times = asyncio.run(load([url], [(
            f"/v1/conversations/{i}/messages",
            {"sender": {"kind": "contact", "id": "c"}, "text": "Where is my refund?"},
        ) for i in ids], RATE))
        self.table.at_most(
            f"posting a message, the bot's mailbox included, at {RATE}/s: p95", 50, p95(times),
            f"of {len(times):,}, median {sorted(times)[len(times) // 2]:.1f} ms", "", " ms",
        )
        self.wait_until_answered()
        time.sleep(2)  # what is sent on
        work = [(n - o) / len(times) for n, o in zip(database_work(), before)]
        say("  for each message, answer and delivery: %.1f commits, %.1f KiB of WAL, %.2f flushes"
            % (work[0], work[1] / 1024, work[2]))
        self.end(pid)
        say("the lock in memory")
        url, pid = self.instance("alone", SINGLE_INSTANCE="1", REDIS_MODE="disabled")
        _, before, after = self.steps_at(url, RATE * SECONDS // 2, HISTORY, RATE, self.bot)
        value, total = step_p95(before, after, "lock")
        self.table.at_most(
            "taking and showing the lock, in memory: p95", 1, value, f"of {total:,}", "", " ms"
        )
        self.end(pid)

    def accept(self):
        """The AI thinks for five seconds, and far more is asked than it can answer meanwhile."""
        rate, seconds = 100, 3 if QUICK else 15
        say(f"messages to bots that think for 5 s, {rate}/s")
        url, pid = self.instance("slow-ai", DEBOUNCE_MS="0")
        bot = make_bot(url, 5000)
        body = {"sender": {"kind": "contact", "id": "c"}, "text": "Where is my refund?"}
        for count in (rate, rate * seconds):  # the first to warm up
            ids = make_conversations(count, bot)
            times = asyncio.run(load(
                [url], [(f"/v1/conversations/{i}/messages", body) for i in ids], rate
            ))
        busy = int(sql(f"""
            select count(*) from messaging.ai_jobs j join messaging.conversations c
                on c.tenant_id = j.tenant_id and c.id = j.conversation_id
             where c.bot_id = '{bot}' and j.status = 'processing'"""))
        self.table.at_most(
            f"posting a message while the AI takes 5 s, at {rate}/s: p95", 50, p95(times),
            f"of {len(times):,}, median {sorted(times)[len(times) // 2]:.1f} ms; "
            f"{busy} jobs under way", "", " ms",
        )
        assert busy > 0, "the AI had nothing to do: the figure shows nothing"
        # What waits would take minutes.
        sql("update messaging.ai_jobs set due_at = now() + interval '1 day' where status = 'pending'")
        self.end(pid)
        sql("""update messaging.ai_jobs set status = 'cancelled', finished_at = now()
                where status in ('pending', 'processing')""")
        sql("update messaging.conversations set answered_seq = last_user_seq where awaits_bot")

    def wait_until_answered(self, seconds=240):
        end = time.monotonic() + seconds
        while int(sql(
            "select count(*) from messaging.ai_jobs where status in ('pending', 'processing')"
        )):
            assert time.monotonic() < end, "jobs are left"
            time.sleep(0.2)

    def memory(self):
        """Resident memory while everything is remembered, and when it is forgotten.

        It is no matter of the disk, so that the database does not wait for it meanwhile.
        """
        say(f"{CONVERSATIONS:,} conversations")
        database = sql("select quote_ident(current_database())")
        sql(f"alter database {database} set synchronous_commit = off")
        url, pid = self.instance(
            "many", BOT_CONFIG_FRESH_MS="1000", BOT_CONFIG_STALE_MS="10000", DEBOUNCE_MS="0"
        )
        touched, held, left = 0, [], []
        for goal in (CONVERSATIONS // 10, CONVERSATIONS // 2, CONVERSATIONS):
            while touched < goal:
                ids = make_conversations(min(goal - touched, CONVERSATIONS // 10), self.bot)
                path = "/v1/conversations/{}/handle"
                asyncio.run(load([url], [(path.format(i), {"history": HISTORY}) for i in ids], None))
                touched += len(ids)
            held.append(resident_bytes(pid) / 1e6)
            self.wait_until_answered()
            time.sleep(12)  # longer than anything is remembered of what nobody asks for
            left.append(resident_bytes(pid) / 1e6)
            say(f"  {touched:,}: {held[-1]:.1f} MB, {left[-1]:.1f} MB when idle")
        self.table.at_most(
            f"memory when {CONVERSATIONS:,} conversations are forgotten against {CONVERSATIONS // 10:,}",
            1.1, left[-1] / left[0], f"{left[-1]:.1f} MB, {held[-1]:.1f} before",
            f"{left[0]:.1f} MB, {held[0]:.1f} before",
        )
        self.table.at_most(
            f"memory at {CONVERSATIONS:,} conversations against at {CONVERSATIONS // 2:,}", 1.1,
            held[-1] / held[1], f"{held[-1]:.1f} MB", f"{held[1]:.1f} MB",
        )
        self.end(pid)
        sql(f"alter database {database} reset synchronous_commit")

    def shared_load(self):
        """The AI thinks for a second, and a process works on 32 jobs at once."""
        count = 200 if QUICK else 1000
        rates = []
        for instances in (1, 3):
            say(f"{count} conversations, {instances} processes")
            started = [self.instance(f"of-{instances}-{n}", DEBOUNCE_MS="0") for n in range(instances)]
            urls = [url for url, _ in started]
            bot = make_bot(urls[0], 1000)
            ids = make_conversations(count, bot)
            begun = time.monotonic()
            asyncio.run(load(urls, [(
                f"/v1/conversations/{i}/messages",
                {"sender": {"kind": "contact", "id": "c"}, "text": f"hello {random.random()}"},
            ) for i in ids], None))
            self.wait_until_answered()
            rates.append(count / (time.monotonic() - begun))
            wrong = sql(f"""
                select count(*) from messaging.conversations c where bot_id = '{bot}' and 1 <> (
                  select count(*) from messaging.messages m where m.tenant_id = c.tenant_id
                   and m.conversation_id = c.id and m.sender_kind = 'bot' and not m.stale)""")
            shares = sql(f"""
                select string_agg(n::text, ', ' order by n) from (select count(*) n
                  from messaging.ai_jobs j join messaging.conversations c on c.id = j.conversation_id
                 where c.bot_id = '{bot}' group by j.worker) x""")
            self.table.at_most(
                f"conversations without exactly one answer, {instances} process(es)", 0, int(wrong),
                f"of {count:,}; jobs of each: {shares}", "", "",
            )
            for _, pid in started:
                self.end(pid)
        self.table.at_least(
            "answers with three processes against one", 2, rates[1] / rates[0],
            f"{rates[1]:.0f}/s", f"{rates[0]:.0f}/s",
        )


def main():
    # The stack's own process would take these jobs.
    open(f"{STACK}/hold/messaging.1", "w", encoding="ascii").close()
    with open(f"{STACK}/pids/messaging.1", encoding="ascii") as file:
        os.kill(int(file.read()), 15)
    with tempfile.TemporaryDirectory(prefix="switchboard-handler-") as folder:
        bench = Bench(folder)
        try:
            bench.prepare()
            parts = {
                "steps": bench.time_steps, "accept": bench.accept, "shared": bench.shared_load,
                "memory": bench.memory,
            }
            for name in PARTS:
                parts[name]()
        finally:
            bench.processes.stop()
            os.unlink(f"{STACK}/hold/messaging.1")
    print(bench.table.text())
    return 0 if bench.table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
