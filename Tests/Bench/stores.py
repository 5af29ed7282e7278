"""The databases' side: what is prepared in them, and their own load generators."""

import os
import re
import subprocess
import time
from urllib.parse import urlsplit

from measuring import Load, family_cpu_seconds, run

CONVERSATIONS = 20_000
TEXT = "Where is my refund for order 12?"

# Conversations of people with an agent, so that no bot's work runs beside the measurement; each
# has one thread that the message is similar to. The ids can be computed: pgbench has no lists.
PREPARE = """
create schema bench;
create table bench.items (id int primary key, value text not null);
insert into bench.items select n, 'value of ' || n from generate_series(1, 10000) n;
insert into messaging.channels (tenant_id, code, kind)
  select id, 'bench', 'local' from platform.tenants where code = :'tenant';
insert into messaging.contacts (tenant_id, id, channel_code, external_id)
  select t.id, md5('contact ' || n)::uuid, 'bench', 'bench-' || n
    from platform.tenants t, generate_series(1, :conversations) n where t.code = :'tenant';
insert into messaging.conversations (tenant_id, id, channel_code, contact_id, owner_kind)
  select t.id, md5('conversation ' || n)::uuid, 'bench', md5('contact ' || n)::uuid, 'human'
    from platform.tenants t, generate_series(1, :conversations) n where t.code = :'tenant';
insert into messaging.threads (tenant_id, id, conversation_id, title, recent_terms, recent_authors)
  select t.id, md5('thread ' || n)::uuid, md5('conversation ' || n)::uuid, 'bench',
         array[decode(:'terms', 'hex')], array['bench']
    from platform.tenants t, generate_series(1, :conversations) n where t.code = :'tenant';
-- Only what was filled: of a table known to be empty every cached plan would read all its rows.
vacuum analyze bench.items, messaging.contacts, messaging.conversations, messaging.threads;
"""

# What messaging sends, with the choice made already. The key is new for every message, as there.
POST = """
\\set n random(1, :conversations)
select * from messaging.post_batch('lexical-v1', '1500 ms', '10000 ms', 10, jsonb_build_array(
  jsonb_build_object('tenant', (:tenant)::text, 'code', 'demo',
    'conversation', md5('conversation ' || :n)::uuid, 'seen', 0, 'force', true,
    'items', jsonb_build_array(jsonb_build_object('id', platform.uuid_v7(),
      'sender_kind', 'contact', 'sender_id', 'bench', 'text', (:text)::text, 'choice', 'similar',
      'choice_thread', md5('thread ' || :n)::uuid, 'score', 0.8, 'title', 'Where is my refund',
      'terms', (:terms)::text, 'mentions', '[]'::jsonb, 'key', gen_random_uuid(), 'method', 'POST',
      'path', '/bench', 'body_hash', '00', 'actor', 'bench')))), true);
"""

# What a relay has still to deliver.
WAITING = "where published_at is null and laid_aside_at is null"


def term_hashes(text):
    """The terms of a text as messaging stores them: FNV-1a of each word, big-endian."""
    packed = b""
    for word in dict.fromkeys(re.findall(r"[a-z0-9]+", text.lower())):
        value = 0x811C9DC5
        for byte in word.encode():
            value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
        packed += value.to_bytes(4, "big")
    return packed.hex()


class Database:
    def __init__(self, folder):
        url = urlsplit(os.environ["DATABASE_URL"])
        self.folder = folder
        self.environment = {
            "PGHOST": url.hostname,
            "PGPORT": str(url.port),
            "PGUSER": url.username,
            "PGPASSWORD": url.password,
            "PGDATABASE": url.path[1:],
            # As the services have it: what they are compared with is not to pay for a compiler.
            "PGOPTIONS": "-c jit=off",
        }
        with open(os.environ["SWITCHBOARD_STACK"] + "/pids/postgres") as file:
            self.pid = int(file.read())
        self.tenant = None

    def cpu_seconds(self):
        return family_cpu_seconds(self.pid)

    def psql(self, statements, **variables):
        options = [f"--set={name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            ["psql", "--no-psqlrc", "-qAtX", "-v", "ON_ERROR_STOP=1", *options],
            input=statements,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise SystemExit(f"psql: {done.stderr}")
        return done.stdout.strip()

    def prepare(self):
        """Makes what is measured with; returns a file with the ids of the conversations."""
        if int(os.environ.get("MAX_ASSIGNMENTS_PER_WINDOW", "0")) < 1_000_000:
            # Messages of a busy room would be deferred, which is other work than putting them into threads.
            raise SystemExit("start the stack with MAX_ASSIGNMENTS_PER_WINDOW=1000000, as bench does")
        tenant = os.environ["SWITCHBOARD_TENANT"]
        self.psql(PREPARE, tenant=tenant, conversations=CONVERSATIONS, terms=term_hashes(TEXT))
        self.tenant = self.psql(f"select id from platform.tenants where code = '{tenant}'")
        path = f"{self.folder}/conversations"
        with open(path, "w") as file:
            file.write(
                self.psql(
                    "select md5('conversation ' || n)::uuid from generate_series(1, :count) n;",
                    count=CONVERSATIONS,
                )
            )
        return path

    def pgbench(self, script, seconds, clients=32, **variables):
        """Load in prepared statements, each one round trip; CPU is that of the whole server."""
        path = f"{self.folder}/script.sql"
        with open(path, "w") as file:
            file.write(script)
        command = ["pgbench", "-n", "-M", "prepared", f"-c{clients}", "-j1", f"-T{seconds}"]
        for name, value in variables.items():
            command += ["-D", f"{name}={value}"]
        before = self.cpu_seconds()
        text = run([*command, "-f", path], self.environment)
        used = self.cpu_seconds() - before
        count = int(re.search(r"actually processed: (\d+)", text).group(1))
        failed = re.search(r"failed transactions: (\d+)", text)
        if failed and failed.group(1) != "0":
            raise SystemExit(f"pgbench saw failures:\n{text}")
        rate = float(re.search(r"tps = ([\d.]+) \(without", text).group(1))
        return Load(rate, count, used / max(1, count) * 1e6)

    def select(self, seconds):
        return self.pgbench("select value from bench.items where id = :id;\n", seconds, id=4711)

    def post(self, seconds, conversations=CONVERSATIONS):
        return self.pgbench(
            POST,
            seconds,
            conversations=conversations,
            tenant=self.tenant,
            text=TEXT,
            terms=term_hashes(TEXT),
        )

    def settle_outbox(self):
        """Waits until the relay has delivered what was posted; tells how long it took."""
        began = time.monotonic()
        while time.monotonic() < began + 60:
            if self.psql(f"select count(*) from platform.outbox {WAITING}") == "0":
                return time.monotonic() - began
            time.sleep(0.1)
        raise SystemExit("the outbox is not empty after a minute")

    def drop_outbox(self):
        """Takes away what pgbench left for the relay, so that no later round pays for it."""
        self.psql(f"delete from platform.outbox {WAITING}")


class Redis:
    def __init__(self):
        url = urlsplit(os.environ["REDIS_URL"])
        self.options = ["-h", url.hostname, "-p", str(url.port), "-a", url.password]
        self.rate = 20_000

    def increments(self, seconds):
        """INCR from 64 clients, one command at a time each."""
        text = run(
            ["redis-benchmark", *self.options, "-c", "64", "-n", str(int(self.rate * seconds)),
             "--csv", "INCR", "bench:counter"]
        )
        self.rate = float(re.search(r'^"INCR[^"]*","([\d.]+)"', text, re.M).group(1))
        return Load(self.rate, int(self.rate * seconds))
