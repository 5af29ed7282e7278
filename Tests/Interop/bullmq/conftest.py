"""What all rows share: a Redis of their own, our command line, and Python's BullMQ.

The numbers of rows (A1, B7, C2 …) are those of Tests/COVERAGE.md. Each runs against the version of
`bullmq` that is installed: 3 has the layout of BullMQ 6, 2.26 that of BullMQ 5.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import pytest
import redis as redis_client
from bullmq import Queue, Worker

V5 = importlib.metadata.version("bullmq").startswith("2.")
PROGRAM = str(pathlib.Path(os.environ["SWITCHBOARD_BIN"]) / "dispatch-worker")
PATIENCE = 15


def free_port():
    while True:
        port = random.randint(20_000, 22_700)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@pytest.fixture(scope="session")
def port():
    with tempfile.TemporaryDirectory() as folder:
        number = free_port()
        server = subprocess.Popen(
            ["redis-server", "--port", str(number), "--bind", "127.0.0.1", "--save", "",
             "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            until(lambda: ping(number))
            yield number
        finally:
            server.kill()
            server.wait()


def ping(number):
    with contextlib.suppress(redis_client.exceptions.ConnectionError):
        return redis_client.Redis(port=number).ping()


def until(condition, patience=PATIENCE):
    """Waits until the condition holds, and returns what it gave."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


async def eventually(condition, patience=PATIENCE):
    """The same inside a running loop; the condition may be a coroutine function."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


class Bench:
    """One queue, seen from both sides."""

    def __init__(self, port, name=None, prefix="bull"):
        self.port = port
        self.name = name or f"q{uuid.uuid4().hex[:8]}"
        self.prefix = prefix
        self.redis = redis_client.Redis(port=port, decode_responses=True)
        self.url = f"redis://127.0.0.1:{port}"
        # Without this, redis-py 8 ends an idle worker's wait with an error.
        self.connection = {"host": "127.0.0.1", "port": port, "socket_timeout": None}

    def key(self, ending):
        return f"{self.prefix}:{self.name}:{ending}"

    def job(self, number):
        return self.redis.hgetall(self.key(number))

    def events(self):
        return [entry for _, entry in self.redis.xrange(self.key("events"))]

    def event_names(self):
        return [entry["event"] for entry in self.events()]

    def command(self, *words, extra=()):
        return [PROGRAM, "queue", *map(str, words), "--queue", self.name, "--prefix", self.prefix,
                "--redis-url", self.url, *extra]

    def ours(self, *words):
        """Runs our command and returns its JSON; fails when the command fails."""
        done = self.try_ours(*words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def try_ours(self, *words):
        return subprocess.run(self.command(*words, extra=["--json"]), capture_output=True,
                              text=True, timeout=60)

    async def aours(self, *words):
        return await asyncio.to_thread(self.ours, *words)

    @contextlib.contextmanager
    def worker(self, *words):
        """Our worker, for the time of a block; ended like a service."""
        process = OurWorker(self.command("work", *words))
        try:
            yield process
        finally:
            process.stop()

    def run_worker(self, *words, count):
        """Our worker until `count` jobs have ended; its lines."""
        done = subprocess.run(self.command("work", *words, "--count", count),
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def take(self, *words):
        return self.ours("step", "take", *words)

    def end(self, number, *words):
        return self.ours("step", "end", number, *words)

    def queue(self):
        return Queue(self.name, {"connection": self.connection, "prefix": self.prefix})

    def theirs(self, processor, **options):
        return Worker(self.name, processor, {
            "connection": self.connection, "prefix": self.prefix, **options})

    def stepper(self):
        """Python's worker by hand."""
        worker = self.theirs(None, autorun=False)
        return worker, worker.scripts if V5 else worker.backend


class OurWorker:
    def __init__(self, command):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)

    def lines(self):
        self.log.seek(0)
        return [json.loads(line) for line in self.log.read().splitlines() if line[:1] == "{"]

    def started(self):
        return [line for line in self.lines() if line["event"] == "started"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)
        assert self.process.returncode in (0, -9), self.lines()


@pytest.fixture
def bench(port):
    return Bench(port)


@pytest.fixture
def make_bench(port):
    return lambda *words, **options: Bench(port, *words, **options)


# The Test Anything Protocol, for the runner: a file of lines, one for each row.

def pytest_addoption(parser):
    parser.addoption("--tap", default=None)


def pytest_configure(config):
    if config.getoption("--tap"):
        config.tap = open(config.getoption("--tap"), "w")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    tap = getattr(item.config, "tap", None)
    told = report.when == "call" or (report.when == "setup" and not report.passed)
    if tap is None or not told:
        return
    words = (item.function.__doc__ or item.name).strip().splitlines()[0]
    if report.skipped:
        return  # A row that belongs to the other version.
    version = importlib.metadata.version("bullmq")
    tap.write(f"{'ok' if report.passed else 'not ok'}\tbullmq {version}: {words}\n")
    tap.flush()
