"""What dispatch-worker does in a second and what a message costs it; see README.md above.

Started by run.sh, which gives it a running stack whose Slack is a plain sink.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
# pylint: disable=wrong-import-position
from measuring import Processes, cpu_seconds, median, rounds, run, wrk  # noqa: E402
from table import Table, micros, millis, rate  # noqa: E402

URL = os.environ["DISPATCH_WORKER_URL"]
DATABASE = os.environ["DATABASE_URL"]
TENANT = os.environ["SWITCHBOARD_TENANT"]
SINK = os.environ["SINK_URL"]
STACK = os.environ["SWITCHBOARD_STACK"]
COUNT = 5_000
WORKSPACES = 250
TENANTS = 5_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))

ACCEPT = """
select dispatch.accept(:tenant, 'demo', platform.uuid_v7(), jsonb_build_object('channel_code',
  'bench-7', 'text', 'The order 12 is on its way.', 'send_at', '2099-01-01T00:00:00Z'), null,
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', null, null, null, 'bench', 'r');
"""

POST = """
wrk.method = "POST"
wrk.body = '{"channel_code": "bench-7", "text": "The order 12 is on its way.", ' ..
  '"send_at": "2099-01-01T00:00:00Z"}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("SWITCHBOARD_AGENT_KEY")
"""

# Requests that become due together: what is measured is the worker, not what made their jobs.
FILL = """
select count(dispatch.accept(t.id, t.code, gen_random_uuid(), jsonb_build_object('channel_code',
  '%(channel)s' || (n %% %(channels)d), 'text', 'Message ' || n, 'send_at', to_char((now() +
  interval '%(lead)d s') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
  null, null, null, null, null, 'bench', 'r'))
  from (select *, row_number() over (order by code) as place from platform.tenants
         where code like '%(tenants)s') t, generate_series(1, %(each)d) n
"""


def sql(text):
    return subprocess.run(
        ["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", DATABASE, "-c", text],
        check=True, capture_output=True, text=True,
    ).stdout.strip()


def call(method, path, body):
    request = urllib.request.Request(
        URL + path, json.dumps(body).encode(), method=method,
        headers={
            "Content-Type": "application/json",
            "Authorization": "Bearer " + os.environ["SWITCHBOARD_ADMIN_KEY"],
        },
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def wait_for(query, wanted, limit=120, every=0.1):
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if sql(query) == str(wanted):
            return
        time.sleep(every)
    raise SystemExit(f"{query}: {sql(query)}, not {wanted}")


class Bench:
    def __init__(self):
        with open(f"{STACK}/pids/dispatch-worker.1", encoding="ascii") as file:
            self.pid = int(file.read())
        self.others = []
        for name in ("messaging.1", "assignment-engine.1"):
            with open(f"{STACK}/pids/{name}", encoding="ascii") as file:
                self.others.append(int(file.read()))
        self.tenant_id = sql(f"select id from platform.tenants where code = '{TENANT}'")
        self.table = Table()
        self.processes = Processes(STACK)

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def prepare(self):
        """A workspace for each channel: a workspace takes 20 messages a second."""
        for n in range(WORKSPACES):
            call("PUT", f"/v1/workspaces/bench-{n}", {
                "provider": "slack", "token": "xoxb-bench", "team_id": f"T{n}",
                "api_base_url": SINK,
            })
            call("PUT", f"/v1/channels/bench-{n}", {
                "workspace_code": f"bench-{n}", "provider_channel_id": f"C{n}",
                "rate": {"per_second": 1000, "burst": 100},
            })
        call("PUT", "/v1/tenant/dispatch-policy", {"max_in_flight": 256})

    def settle(self):
        # Calls to the others wait until they go on.
        wait_for("""select count(*) from platform.outbox
            where published_at is null and kind = 'event'""", 0)

    # -- Accepting

    def accepts(self):
        self.say("accepting")
        with open(f"{STACK}/accept.sql", "w", encoding="ascii") as file:
            file.write(ACCEPT)
        with open(f"{STACK}/accept.lua", "w", encoding="ascii") as file:
            file.write(POST)

        def ours():
            load = wrk(f"{URL}/v1/message-requests", self.pid, 3, 32, f"{STACK}/accept.lua")
            self.settle()
            return load.rate

        def alone():
            self.processes.pause(self.pid)
            try:
                text = run([
                    "pgbench", "-n", "-M", "prepared", "-c", "32", "-j", "1", "-T", "3",
                    "-D", f"tenant={self.tenant_id}", "-f", f"{STACK}/accept.sql", DATABASE,
                ], {"PGOPTIONS": "-c jit=off"})
            finally:
                self.processes.resume(self.pid)
            self.settle()
            return float([line for line in text.splitlines() if "tps" in line][0].split()[2])

        our, their = (median(values) for values in rounds(ROUNDS, ours, alone))
        self.table.at_least(
            "accepting: rate against pgbench, one trip, 32 clients", 0.6, our / their,
            rate(our), rate(their),
        )
        sql("delete from dispatch.message_requests where send_at > now() + interval '1 year'")
        subprocess.run(
            ["redis-cli", "-u", os.environ["REDIS_URL"], "--no-auth-warning", "flushall"],
            check=True, capture_output=True,
        )

    # -- Sending

    def drain(self, fill, count, limit=180):
        """Rate and CPU time per message of what becomes due together."""
        before = sql("select count(*) from dispatch.message_requests where status = 'sent'")
        sql(fill)
        wait_for("select count(*) from dispatch.message_requests where status = 'accepted'", 0)
        self.settle()
        due = float(sql("""select extract(epoch from max(send_at)) from dispatch.message_requests
            where status = 'dispatched'"""))
        if time.time() > due - 1:
            raise SystemExit("the jobs were not made in time")
        time.sleep(max(0, due - time.time() - 0.5))
        used = cpu_seconds(self.pid)
        # The database says when the last one ended; to ask it often would be work beside theirs.
        wait_for("select count(*) from dispatch.message_requests where status = 'sent'",
                 int(before) + count, limit, every=1)
        used = cpu_seconds(self.pid) - used
        took = float(sql(f"""select extract(epoch from max(finished_at)) - {due}
            from dispatch.message_requests where status = 'sent'"""))
        return count / took, used / count * 1e6

    def worker(self):
        self.say("the worker into a sink")
        fill = FILL % {
            "channel": "bench-", "channels": WORKSPACES, "lead": 40, "tenants": TENANT,
            "each": COUNT,
        }

        def ours():
            return self.drain(fill, COUNT)

        def theirs():
            text = run([sys.executable, f"{HERE}/python_worker.py", str(COUNT), SINK], limit=120)
            found = json.loads(text.splitlines()[-1])
            return found["rate"], found["cpu_us"]

        our, their = rounds(ROUNDS, ours, theirs)
        our_rate, our_cpu = (median([value[i] for value in our]) for i in (0, 1))
        their_rate, their_cpu = (median([value[i] for value in their]) for i in (0, 1))
        self.table.at_least(
            "sending, 50 at once: rate against Python's worker", 4, our_rate / their_rate,
            rate(our_rate), rate(their_rate),
        )
        self.table.at_most(
            "sending: CPU per message against Python's", 0.2, our_cpu / their_cpu,
            micros(our_cpu), micros(their_cpu),
        )

    def latency(self):
        self.say("from accept to post")
        for key, count in (("warm-up", 20), ("latency", 400)):
            for n in range(count):
                call("POST", "/v1/message-requests", {
                    "channel_code": f"bench-{n % 100}", "text": "latency",
                    "cancellation_key": key,
                })
                time.sleep(0.05)
            wait_for(f"""select count(*) from dispatch.message_requests
                where cancellation_key = '{key}' and status = 'sent'""", count)
        times = sql("""select percentile_cont(array[0.5, 0.99]) within group (order by
            extract(epoch from begun_at - created_at) * 1000) from dispatch.message_requests
            where cancellation_key = 'latency'""").strip("{}").split(",")
        self.table.at_most(
            "from accept to post when nothing is queued, p50", 30, float(times[0]),
            f"p99 {millis(float(times[1]))}", "", " ms",
        )

    def tenants(self):
        """The same messages of one tenant and of 5,000, over the embedded transport."""
        self.say(f"one tenant and {TENANTS:,}")
        sql(f"""insert into platform.tenants (code) select 'many-' || n
                from generate_series(1, {TENANTS}) n;
            insert into dispatch.workspaces (tenant_id, code, provider)
              select id, 'w', 'local' from platform.tenants where code like 'many-%' or code = '{TENANT}';
            insert into dispatch.channels (tenant_id, code, workspace_code, provider_channel_id,
                rate_per_second, rate_burst)
              select t.id, 'local-' || n, 'w', 'C' || n, 1000, 100
                from platform.tenants t, generate_series(0, 49) n
               where t.code = '{TENANT}' or t.code like 'many-%' and n = 0;""")
        one = FILL % {
            "channel": "local-", "channels": 50, "lead": 40, "tenants": TENANT, "each": COUNT,
        }
        many = FILL % {
            "channel": "local-", "channels": 1, "lead": 40, "tenants": "many-%", "each": 1,
        }
        alone, spread = rounds(
            ROUNDS, lambda: self.drain(one, COUNT), lambda: self.drain(many, TENANTS)
        )
        alone_rate, alone_cpu = (median([value[i] for value in alone]) for i in (0, 1))
        spread_rate, spread_cpu = (median([value[i] for value in spread]) for i in (0, 1))
        self.table.at_most(
            f"CPU per message: of {TENANTS:,} tenants against one", 1.5, spread_cpu / alone_cpu,
            f"{micros(spread_cpu)}, {rate(spread_rate)}", f"{micros(alone_cpu)}, {rate(alone_rate)}",
        )

    def sustained(self):
        """510 a second, so that 500 are kept up, for a minute over 600 channels, each within its 1/s."""
        self.say("500 a second for a minute")
        sql(f"""insert into platform.tenants (code) select 'steady-' || n from generate_series(1, 20) n;
            insert into dispatch.workspaces (tenant_id, code, provider, api_base_url, has_token)
              select t.id, 'w' || n, 'slack', '{SINK}', true
                from platform.tenants t, generate_series(0, 1) n where t.code like 'steady-%';
            insert into dispatch.channels (tenant_id, code, workspace_code, provider_channel_id)
              select t.id, 'c' || n, 'w' || n % 2, 'C' || n
                from platform.tenants t, generate_series(0, 29) n where t.code like 'steady-%';""")
        keys = [
            run([f"{os.environ['SWITCHBOARD_BIN']}/messaging", "keys", "create", "--tenant",
                 f"steady-{n}", "--role", "admin"]).split()[-1]
            for n in range(1, 21)
        ]
        for key in keys:
            for workspace in ("w0", "w1"):
                self.as_tenant(key, "PUT", f"/v1/workspaces/{workspace}", {
                    "provider": "slack", "token": "xoxb-bench", "team_id": "T",
                    "api_base_url": SINK,
                })
        load = subprocess.run(
            [sys.executable, f"{HERE}/steady_load.py", URL, "510", "60", *keys],
            check=True, capture_output=True, text=True, timeout=180,
        ).stdout
        accepted = json.loads(load.splitlines()[-1])
        wait_for("""select count(*) from dispatch.message_requests m join platform.tenants t
            on t.id = m.tenant_id where t.code like 'steady-%' and m.status <> 'sent'""", 0)
        behind = float(sql("""select extract(epoch from max(m.finished_at) - max(m.created_at))
            from dispatch.message_requests m join platform.tenants t on t.id = m.tenant_id
            where t.code like 'steady-%'"""))
        crowded = sql("""select count(*) from (select begun_at - lag(begun_at) over (partition by
              m.tenant_id, channel_code order by begun_at) as gap from dispatch.message_requests m
              join platform.tenants t on t.id = m.tenant_id where t.code like 'steady-%') x
            where gap < interval '900 ms'""")
        self.table.at_least(
            "accepted for 60 s over 600 channels of 20 tenants", 500, accepted["rate"],
            f"{accepted['count']} accepted, {accepted['errors']} errors", "", "/s",
        )
        self.table.at_most("the last one sent after the last accepted", 5, behind, "", "", " s")
        self.table.at_most(
            "messages of a channel less than 0.9 s apart", 0, float(crowded), "", "", ""
        )

    def as_tenant(self, key, method, path, body):
        request = urllib.request.Request(
            URL + path, json.dumps(body).encode(), method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


def main():
    parts = ["latency", "worker", "accepts", "tenants"]
    wanted = sys.argv[1:] or parts
    if wanted == ["--long"]:
        wanted = [*parts, "sustained"]
    bench = Bench()
    bench.prepare()
    # The others would count the events of both sides' rounds meanwhile, on the same two cores.
    for pid in bench.others:
        bench.processes.pause(pid)
    try:
        for part in wanted:
            getattr(bench, part)()
    finally:
        for pid in bench.others:
            bench.processes.resume(pid)
        print(bench.table.text())
    return 0 if bench.table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
