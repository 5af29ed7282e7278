"""The benchmark's table, against other programs in the same run; see README.md beside this file.

Started by `compose/local bench`, which gives it a running stack.
"""

import argparse
import os
import sys
import tempfile
import time

import clean_build
from idle import IdleConnections
from measuring import (
    SERVICE_ENVIRONMENT, Processes, free_port, median, raise_descriptor_limit, resident_bytes,
    rounds, wrk,
)
from stores import CONVERSATIONS, Database, Redis
from table import Table, micros, millis, rate

HERE = os.path.dirname(os.path.abspath(__file__))
STACK = os.environ["SWITCHBOARD_STACK"]
BIN = os.environ["SWITCHBOARD_BIN"]
ROUNDS = 3
SECONDS = 2
IDLE = 9000

NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/nginx-body;
    server {{
        listen 127.0.0.1:{port};
        location = /healthz {{
            default_type application/json;
            return 200 '{{"status":"ok"}}';
        }}
    }}
}}
"""


def medians(loads):
    """The medians of rate, CPU time and 99th percentile."""
    def of(name):
        values = [getattr(load, name) for load in loads]
        return None if None in values else median(values)
    return of("rate"), of("cpu_us"), of("p99_ms")


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.processes = Processes(folder)
        self.table = Table()
        self.database = Database(folder)
        self.messaging = os.environ["MESSAGING_URL"]
        self.messaging_pid = self.pid_of("messaging.1")

    def pid_of(self, name):
        with open(f"{STACK}/pids/{name}") as file:
            return int(file.read())

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def start_bench_server(self, name):
        port = free_port()
        pid = self.processes.start(
            name,
            [f"{BIN}/bench-server"],
            {"PORT": str(port), "HOST": "127.0.0.1", **SERVICE_ENVIRONMENT},
        )
        self.processes.wait_for(name, port)
        return port, pid

    # -- The rows, in the order in which they run: memory first, while nothing has grown yet.

    def idle_service(self):
        self.say("an idle service")
        sizes = {
            name: resident_bytes(self.pid_of(f"{name}.1")) / 1e6
            for name in ("messaging", "assignment-engine", "dispatch-worker")
        }
        name = max(sizes, key=sizes.get)
        self.table.at_most(
            "resident memory of an idle service", 30, sizes[name], name,
            ", ".join(f"{other} {size:.1f} MB" for other, size in sizes.items() if other != name),
            " MB",
        )

    def health(self):
        self.say("/healthz")
        peer, nginx = free_port(), free_port()
        peer_pid = self.processes.start("hummingbird", [os.environ["HUMMINGBIRD_PEER"], str(peer)])
        self.processes.wait_for("hummingbird", peer)
        with open(f"{self.folder}/nginx.conf", "w") as file:
            file.write(NGINX.format(folder=self.folder, port=nginx))
        nginx_pid = self.processes.start(
            "nginx", ["/usr/sbin/nginx", "-p", self.folder, "-c", f"{self.folder}/nginx.conf"]
        )
        self.processes.wait_for("nginx", nginx)
        variants = [
            lambda url=url, pid=pid: wrk(f"{url}/healthz", pid, SECONDS)
            for url, pid in (
                (self.messaging, self.messaging_pid),
                (f"http://127.0.0.1:{peer}", peer_pid),
                (f"http://127.0.0.1:{nginx}", nginx_pid),
            )
        ]
        rounds(1, *variants)
        ours, theirs, fast = (medians(loads) for loads in rounds(ROUNDS, *variants))
        self.table.at_least(
            "/healthz, 64 connections: rate against Hummingbird", 2, ours[0] / theirs[0],
            rate(ours[0]), rate(theirs[0]),
        )
        self.table.at_most(
            "/healthz: CPU per request against Hummingbird", 0.3, ours[1] / theirs[1],
            micros(ours[1]), micros(theirs[1]),
        )
        self.table.at_most(
            "/healthz: CPU per request against nginx", 1.25, ours[1] / fast[1],
            micros(ours[1]), f"{micros(fast[1])} at {rate(fast[0])}",
        )

    def increments(self, port, pid):
        self.say("INCR")
        redis = Redis()
        redis.increments(0.5)
        ours, theirs = rounds(
            ROUNDS,
            lambda: wrk(f"http://127.0.0.1:{port}/incr", pid, SECONDS),
            lambda: redis.increments(SECONDS),
        )
        (our_rate, our_cpu, _), (their_rate, _, _) = medians(ours), medians(theirs)
        self.table.at_least(
            "one INCR: rate against redis-benchmark -c 64", 0.9, our_rate / their_rate,
            f"{rate(our_rate)}, {micros(our_cpu)}", rate(their_rate),
        )

    def selects(self, port, pid):
        self.say("SELECT")
        ours, theirs = rounds(
            ROUNDS,
            lambda: wrk(f"http://127.0.0.1:{port}/items/4711", pid, SECONDS),
            lambda: self.database.select(SECONDS),
        )
        (our_rate, our_cpu, _), (their_rate, _, _) = medians(ours), medians(theirs)
        self.table.at_least(
            "one prepared SELECT: rate against pgbench -c 32", 0.75, our_rate / their_rate,
            f"{rate(our_rate)}, {micros(our_cpu)}", rate(their_rate),
        )

    def posts(self, conversations):
        """Posting over many conversations; messaging stands still while pgbench works alone."""
        self.say("posting messages")
        self.server_cpu = []
        ours, theirs = rounds(
            ROUNDS,
            lambda: self.post(conversations, 64, CONVERSATIONS, 3),
            lambda: self.post_alone(3, CONVERSATIONS),
        )
        (our_rate, our_cpu, _), (their_rate, their_cpu, _) = medians(ours), medians(theirs)
        server = median(self.server_cpu)
        self.table.at_least(
            "posting a message: rate against pgbench, one trip", 0.5, our_rate / their_rate,
            rate(our_rate), rate(their_rate),
        )
        self.table.at_most(
            "posting: CPU of messaging", 150, our_cpu, "its relay included", "", " us"
        )
        self.table.at_most(
            "posting: CPU of PostgreSQL against pgbench", 1.3, server / their_cpu,
            micros(server), micros(their_cpu),
        )

    def posts_into_one(self, conversations):
        self.say("posting into one conversation")
        few, many, alone = rounds(
            ROUNDS,
            lambda: self.post(conversations, 8, 1, SECONDS),
            lambda: self.post(conversations, 64, 1, SECONDS),
            lambda: self.post_alone(SECONDS, 1),
        )
        few, many, alone = (medians(loads)[0] for loads in (few, many, alone))
        self.table.at_least(
            "posting into one conversation: 64 clients against 8", 1, many / few,
            rate(many), rate(few),
        )
        self.table.at_least(
            "posting into one conversation: rate against pgbench", 3, many / alone,
            rate(many), rate(alone),
        )

    def post(self, conversations, clients, count, seconds):
        before = self.database.cpu_seconds()
        load = wrk(
            self.messaging, self.messaging_pid, seconds, clients, f"{HERE}/post.lua",
            [conversations, os.environ["SWITCHBOARD_AGENT_KEY"], str(count)],
        )
        self.server_cpu.append((self.database.cpu_seconds() - before) / load.requests * 1e6)
        self.database.settle_outbox()
        return load

    def post_alone(self, seconds, count):
        self.processes.pause(self.messaging_pid)
        try:
            load = self.database.post(seconds, count)
            self.database.drop_outbox()
        finally:
            self.processes.resume(self.messaging_pid)
        return load

    def idle_connections(self, quiet, crowded):
        """Two servers: one of them has to keep 9,000 connections as well."""
        self.say(f"{IDLE} idle connections")
        for port, pid in (quiet, crowded):
            wrk(f"http://127.0.0.1:{port}/healthz", pid, 1)
        before = resident_bytes(crowded[1])
        connections = IdleConnections(crowded[0], IDLE)
        grown = (resident_bytes(crowded[1]) - before) / IDLE / 1024
        self.table.at_most(
            "memory of an idle keep-alive connection", 4, grown, f"of {IDLE:,}", "", " KiB"
        )
        without, beside = rounds(
            ROUNDS,
            *(
                lambda port=port, pid=pid: wrk(f"http://127.0.0.1:{port}/healthz", pid, SECONDS)
                for port, pid in (quiet, crowded)
            ),
        )
        if not connections.are_open():
            raise SystemExit("the server has closed idle connections")
        connections.close()
        without, beside = medians(without)[2], medians(beside)[2]
        self.table.at_most(
            f"p99 of 64 connections with {IDLE:,} idle ones, against without", 2, beside / without,
            millis(beside), millis(without),
        )

    def run(self):
        self.idle_service()
        conversations = self.database.prepare()
        first, second = self.start_bench_server("bench-1"), self.start_bench_server("bench-2")
        self.idle_connections(first, second)
        self.health()
        self.increments(*first)
        self.selects(*first)
        self.posts(conversations)
        self.posts_into_one(conversations)


def main():
    parser = argparse.ArgumentParser(prog="compose/local bench")
    parser.add_argument("--build", action="store_true", help="also a clean debug build: minutes")
    options = parser.parse_args()
    if raise_descriptor_limit() < 2 * IDLE:
        raise SystemExit(f"the hard limit of descriptors (ulimit -Hn) must be {2 * IDLE} or more")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as folder:
        bench = Bench(folder)
        try:
            bench.run()
            if options.build:
                bench.say("a clean build")
                clean_build.measure(bench.table, folder)
        finally:
            bench.processes.stop()
    print(bench.table.text())
    print(f"\n{os.cpu_count()} cores for clients, services and stores; ", end="")
    print(f"{ROUNDS} rounds each, medians; {time.monotonic() - began:.0f} s.")
    return 0 if bench.table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
