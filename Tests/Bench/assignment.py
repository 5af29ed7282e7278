#!/usr/bin/env python3
"""How the assignment engine grows, and how fast it is; see README.md beside this file.

    compose/local run -- python3 Tests/Bench/assignment.py [agents|queue|tenants|rate|drain|events …]

Prints one table and ends with status 0 only if every aim is met. Messaging stands still meanwhile:
what it does with the news is its own affair.
"""

import http.client
import json
import os
import sys
import tempfile
import time
import urllib.parse

from measuring import Load, Processes, cpu_seconds, median, rounds, wrk
from stores import Database
from table import Table, micros, millis, rate

HERE = os.path.dirname(os.path.abspath(__file__))
STACK = os.environ["SWITCHBOARD_STACK"]
URL = os.environ["ASSIGNMENT_ENGINE_URL"]
ADMIN = os.environ["SWITCHBOARD_ADMIN_KEY"]
SERVICE = os.environ["SERVICE_TOKEN"]
STRATEGIES = ("round_robin", "fair", "least_recently_assigned", "least_active", "most_available")
ROUNDS = 3
SECONDS = 1

# A team of a number of agents who are all there, with room for 1,000 sessions each.
TEAM = """
insert into assignment.teams (tenant_id, id, name, policy)
  select t.id, md5(:'team')::uuid, :'team', jsonb_build_object('strategy', :'strategy')
    from platform.tenants t where t.code = :'tenant';
insert into assignment.agents (tenant_id, id, name, capacity_units, status, presence_mode,
                               presence_expires_at)
  select t.id, md5(:'team' || n)::uuid, 'Agent ' || n, 1000, :'status', 'manual', 'infinity'
    from platform.tenants t, generate_series(1, :agents) n where t.code = :'tenant';
insert into assignment.team_candidates (tenant_id, team_id, agent_id, eligible, has_room, free_units)
  select a.tenant_id, p.team, a.id, :'status' = 'online', true, 1000
    from platform.tenants t, generate_series(1, :agents) n, assignment.agents a,
         lateral (values (a.tenant_id), (md5(:'team')::uuid)) p(team)
   where t.code = :'tenant' and a.tenant_id = t.id and a.id = md5(:'team' || n)::uuid;
"""

# Sessions that wait in it. New ones are left to the run of their request, those of the future too.
QUEUE = """
insert into assignment.sessions (tenant_id, conversation_id, contact_id, team_id, source, sort_key,
                                 enqueued_at, last_reason)
  select t.id, gen_random_uuid(), 'contact ' || n, md5(:'team')::uuid, 'handover',
         t.at, t.at, case when t.at < now() then 'no_candidates' end
    from generate_series(1, :sessions) n, lateral (select id, now() + :'from'::interval
      + n * interval '1 ms' as at from platform.tenants where code = :'tenant') t;
"""

CLAIM = """
\\set n random(1, :agents)
select assignment.claim_session(:tenant, 'demo', q.id,
  array(select md5('rate' || (:n + i * 7919) % :agents + 1)::uuid from generate_series(0, 7) i),
  '{"source": "queue", "reason": "assigned", "strategy": "least_active", "took_ms": 1}',
  '{"mode": "free", "rank": "least_active", "offer_s": 0, "first_reply_s": 0}')
  from bench.claims q where q.n = (select nextval('bench.next_claim'));
"""


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.table = Table()
        self.database = Database(folder)
        self.tenant = os.environ["SWITCHBOARD_TENANT"]
        with open(f"{STACK}/pids/assignment-engine.1") as file:
            self.engine = int(file.read())
        with open(f"{STACK}/pids/messaging.1") as file:
            self.messaging = int(file.read())

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def team(self, name, agents, strategy="least_active", status="online"):
        self.database.psql(
            TEAM, team=name, agents=agents, strategy=strategy, status=status, tenant=self.tenant
        )
        return self.team_id(name)

    def team_id(self, name):
        return self.database.psql("select md5(:'team')::uuid;", team=name)

    def queue(self, name, sessions, begin="-1 h"):
        self.database.psql(
            QUEUE, team=name, sessions=sessions, tenant=self.tenant, **{"from": begin}
        )

    def settle(self):
        """What a bulk load leaves to be done: otherwise the first round pays for it."""
        self.database.psql(
            "vacuum analyze assignment.agents, assignment.team_candidates, assignment.sessions, "
            "platform.tenants, assignment.teams;"
        )

    def used(self):
        return cpu_seconds(self.engine) + self.database.cpu_seconds()

    def handovers(self, *arguments, connections=8, key=ADMIN):
        """CPU of engine and PostgreSQL for each session that is opened and assigned."""
        before = self.used()
        load = wrk(
            URL, self.engine, SECONDS, connections, f"{HERE}/sessions.lua", ["open", key, *arguments]
        )
        load.cpu_us = (self.used() - before) / load.requests * 1e6
        self.database.drop_outbox()
        return load

    # -- The rows.

    def agents(self):
        self.say("agents")
        sizes = (10, 100, 1000, 10_000)
        for strategy in STRATEGIES:
            teams = [self.team(f"{strategy} {size}", size, strategy) for size in sizes]
            self.settle()
            for team in teams:
                self.handovers(team)
            loads = rounds(ROUNDS, *(lambda team=team: self.handovers(team) for team in teams))
            costs = [median([load.cpu_us for load in of_size]) for of_size in loads]
            self.table.at_most(
                f"{strategy}: CPU of one assignment, 10,000 agents against 10",
                3 if strategy == "round_robin" else 1.3, costs[-1] / costs[0], micros(costs[-1]),
                ", ".join(f"{size:,}: {cost:.0f}" for size, cost in zip(sizes, costs)) + " us",
            )

    def drained(self, team):
        """CPU for each session that the queue gives to somebody by itself."""
        count = f"select count(*) from assignment.sessions where team_id = '{team}' and state = 'assigned'"
        agents = f"select agent_id from assignment.team_candidates where team_id = '{team}'"
        self.database.psql(
            f"update assignment.agents set status = 'online' where id in ({agents});"
            f"update assignment.team_candidates set eligible = true where agent_id in ({agents});"
        )
        self.call("POST", "/v1/queue/drain", {"team_id": team})
        before, assigned = self.used(), int(self.database.psql(count))
        for _ in range(24):
            self.call("POST", "/v1/queue/drain", {"team_id": team})
        used, done = self.used() - before, int(self.database.psql(count)) - assigned
        self.database.psql(
            f"update assignment.agents set status = 'offline' where id in ({agents});"
            f"update assignment.team_candidates set eligible = false where agent_id in ({agents});"
        )
        self.database.drop_outbox()
        return Load(0, done, used / done * 1e6)

    def queued(self):
        self.say("queue")
        sizes = (10_000, 100_000)
        teams = []
        for size in sizes:
            teams.append(self.team(f"queue {size}", 20, status="offline"))
            self.queue(f"queue {size}", size)
        self.settle()
        loads = rounds(ROUNDS, *(lambda team=team: self.drained(team) for team in teams))
        costs = [median([load.cpu_us for load in of_size]) for of_size in loads]
        self.table.at_most(
            "CPU of one assignment from a queue of 100,000 against 10,000", 1.3,
            costs[1] / costs[0], micros(costs[1]), micros(costs[0]),
        )

    def tenants(self):
        self.say("tenants")
        self.database.psql(
            "insert into platform.tenants (code) select 'bench-' || n from generate_series(1, 5000) n;"
            "insert into assignment.teams (tenant_id, id, name, policy)"
            " select id, gen_random_uuid(), 'Team', '{\"strategy\": \"least_active\"}'"
            "   from platform.tenants where code like 'bench-%';"
            "insert into assignment.agents (tenant_id, id, name, capacity_units, status,"
            "   presence_mode, presence_expires_at)"
            " select t.id, gen_random_uuid(), 'Agent', 1000, 'online', 'manual', 'infinity'"
            "   from platform.tenants t, generate_series(1, 10) where t.code like 'bench-%';"
            # What is new is not in the statistics yet, and the next plan would be made without it.
            "analyze platform.tenants, assignment.teams, assignment.agents;"
            "insert into assignment.team_candidates (tenant_id, team_id, agent_id, eligible, free_units)"
            " select a.tenant_id, t.id, a.id, true, 1000 from assignment.agents a"
            "   join assignment.teams t on t.tenant_id = a.tenant_id and t.name = 'Team'"
            "   join platform.tenants n on n.id = t.tenant_id and n.code like 'bench-%';"
        )
        self.settle()
        rows = self.database.psql(
            "select n.code || ' ' || t.id from platform.tenants n join assignment.teams t"
            " on t.tenant_id = n.id where n.code like 'bench-%' order by n.id"
        ).split("\n")
        files = []
        for count in (1, 5000):
            files.append(f"{self.folder}/tenants-{count}")
            with open(files[-1], "w") as file:
                file.write("\n".join(rows[:count]) + "\n")
        variants = [
            lambda path=path: self.handovers("tenants", path, key=SERVICE) for path in files
        ]
        rounds(1, *variants)
        one, many = (median([load.cpu_us for load in of]) for of in rounds(ROUNDS, *variants))
        self.table.at_most(
            "CPU of one assignment, 5,000 tenants against one", 1.3, many / one,
            micros(many), micros(one),
        )

    def rate(self):
        """Sessions assigned by the engine, and by pgbench of the claim that this ends in."""
        self.say("assigned per second")
        agents, each = 1000, 8000
        team = self.team("rate", agents)
        self.queue("rate", each * (ROUNDS + 1) * 2, begin="1 h")
        self.database.psql(
            "create schema bench; create sequence bench.next_claim;"
            "create table bench.claims as select row_number() over () as n, id from"
            f" assignment.sessions where team_id = '{team}' and state = 'queued'"
            f"  order by id limit {each * (ROUNDS + 1)};"
            "create unique index on bench.claims (n);"
        )
        self.settle()
        ids = self.database.psql(
            f"select id from assignment.sessions where team_id = '{team}' and state = 'queued'"
            " and id not in (select id from bench.claims)"
        ).split("\n")
        tenant = self.database.psql(f"select id from platform.tenants where code = '{self.tenant}'")
        server = []

        def ours(number):
            path = f"{self.folder}/sessions-{number}"
            with open(path, "w") as file:
                file.write("\n".join(ids[number * each:(number + 1) * each]) + "\n")
            before = self.database.cpu_seconds()
            load = wrk(URL, self.engine, 3, 32, f"{HERE}/sessions.lua", ["assign", ADMIN, "", path])
            server.append((self.database.cpu_seconds() - before) / load.requests * 1e6)
            self.database.drop_outbox()
            return load

        def theirs():
            load = self.database.pgbench(CLAIM, 3, agents=agents, tenant=tenant)
            self.database.drop_outbox()
            return load

        numbers = iter(range(ROUNDS + 1))
        rounds(1, lambda: ours(next(numbers)), theirs)
        server.clear()
        engine, claim = rounds(ROUNDS, lambda: ours(next(numbers)), theirs)
        (our_rate, our_cpu), (their_rate, their_cpu) = (
            (median([load.rate for load in of]), median([load.cpu_us for load in of]))
            for of in (engine, claim)
        )
        self.table.at_least(
            "sessions assigned per second against pgbench of the claim, 32 clients", 0.6,
            our_rate / their_rate, f"{rate(our_rate)}, {micros(our_cpu)}", rate(their_rate),
        )
        self.table.at_most(
            "assigning: CPU of PostgreSQL against pgbench", 1.5, median(server) / their_cpu,
            micros(median(server)), micros(their_cpu),
        )

    def drain(self):
        """A long queue meets a hundred people, and somebody else asks meanwhile."""
        self.say("draining")
        waiting = self.team("drain", 100, status="offline")
        asking = self.team("drain beside", 5)
        self.queue("drain", 10_000)
        self.settle()
        left = f"select count(*) from assignment.sessions where team_id = '{waiting}' and state = 'queued'"
        agents = self.database.psql(
            f"select agent_id from assignment.team_candidates where team_id = '{waiting}'"
        ).split("\n")
        began = time.monotonic()
        times = []
        while time.monotonic() < began + 120:
            for agent in agents[:1]:
                self.call("PUT", f"/v1/agents/{agent}/status", {"status": "online"})
            agents = agents[1:]
            body = {
                "conversation_id": self.database_id(), "contact_id": "c", "team_id": asking,
                "source": "handover",
            }
            asked = time.monotonic()
            self.call("POST", "/v1/sessions", body)
            times.append((time.monotonic() - asked) * 1000)
            if len(times) % 50 == 0 and not agents and self.database.psql(left) == "0":
                break
            time.sleep(0.01)
        took = time.monotonic() - began
        times.sort()
        self.database.drop_outbox()
        if self.database.psql(left) != "0":
            raise SystemExit("the queue was not drained in two minutes")
        self.table.at_most(
            "the slowest handover while 10,000 queued sessions go to 100 agents", 100, times[-1],
            f"of {len(times)}, median {millis(times[len(times) // 2])}",
            f"drained in {took:.0f} s, {rate(10_000 / took)}", " ms",
        )

    def events(self):
        self.say("events")
        counted = (
            "select coalesce(sum(count), 0) from assignment.event_counts where name = 'bench.seen'"
            " and grain = 'hour'"
        )
        began = time.monotonic()
        # A second of it: what waits to be counted has a limit.
        load = wrk(URL, self.engine, 1, 8, f"{HERE}/sessions.lua", ["events", ADMIN, "100"])
        while int(self.database.psql(counted)) < load.requests * 100:
            if time.monotonic() > began + 60:
                raise SystemExit(f"counted {self.database.psql(counted)} of {load.requests * 100}")
            time.sleep(0.05)
        took = time.monotonic() - began
        self.table.at_least(
            "events reported and counted per second", 5000, load.requests * 100 / took,
            f"{load.requests * 100:,} in {took:.1f} s", "", "/s",
        )

    def database_id(self):
        with open("/proc/sys/kernel/random/uuid") as file:
            return file.read().strip()

    def call(self, method, path, body):
        parts = urllib.parse.urlsplit(URL)
        if not hasattr(self, "connection"):
            self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)


def main():
    parts = {
        "agents": Bench.agents, "queue": Bench.queued, "tenants": Bench.tenants,
        "rate": Bench.rate, "drain": Bench.drain, "events": Bench.events,
    }
    chosen = sys.argv[1:] or list(parts)
    if unknown := set(chosen) - set(parts):
        raise SystemExit(f"there is no part {', '.join(unknown)}; there are {', '.join(parts)}")
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as folder:
        bench = Bench(folder)
        processes = Processes(folder)
        processes.pause(bench.messaging)
        try:
            for part in chosen:
                parts[part](bench)
        finally:
            processes.resume(bench.messaging)
            print(bench.table.text())
    return 0 if bench.table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
