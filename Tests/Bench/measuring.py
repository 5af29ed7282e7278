"""Processes, load generators and /proc: how one figure of the table comes about."""

import os
import random
import re
import resource
import signal
import socket
import statistics
import subprocess
import time

# What compose/lib/services.sh starts the services with; the bench server is one of their kind.
SERVICE_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=500"}
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def median(values):
    return statistics.median(values)


def free_port():
    """A port below every usual range of outgoing connections that nobody listens on."""
    for _ in range(200):
        port = random.randint(10240, 22767)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise SystemExit("found no free port")


def cpu_seconds(pid):
    """User and system time of one process."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def family_cpu_seconds(pid):
    """The same of a process with its children, those included that have ended."""
    for _ in range(20):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = file.read().split()
        try:
            own = sum(int(field) for field in fields[11:15]) / TICK
            return own + sum(cpu_seconds(child) for child in children)
        except (FileNotFoundError, ProcessLookupError):
            # One has just ended: its time is now in its parent's, which has to be read again.
            continue
    raise SystemExit(f"the children of process {pid} come and go too quickly to be measured")


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Processes:
    """What the benchmark started; it ends with the benchmark."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []

    def start(self, name, command, environment=None):
        with open(f"{self.folder}/{name}.log", "wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", *command],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        return process.pid

    def stop(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()

    def pause(self, pid):
        """Holds a process still; it goes on with `resume`."""
        os.kill(pid, signal.SIGSTOP)

    def resume(self, pid):
        os.kill(pid, signal.SIGCONT)

    def wait_for(self, name, port):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        with open(f"{self.folder}/{name}.log", errors="replace") as log:
            raise SystemExit(f"{name} does not listen:\n{log.read()[-2000:]}")


class Load:
    """What one round of load came to."""

    def __init__(self, rate, requests, cpu_us=None, p99_ms=None):
        self.rate = rate
        self.requests = requests
        self.cpu_us = cpu_us
        self.p99_ms = p99_ms


def run(command, environment=None, limit=60):
    """Runs a load generator to its end and returns what it printed."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=limit,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with status {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def wrk(url, pid, seconds, connections=64, script=None, arguments=()):
    """Load over HTTP; every answer must be a good one."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    if script:
        command += ["-s", script]
    before = cpu_seconds(pid)
    text = run([*command, url, "--", *arguments])
    used = cpu_seconds(pid) - before
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    if bad or errors:
        raise SystemExit(f"{url} did not answer as it should:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    return Load(
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
        requests=requests,
        cpu_us=used / max(1, requests) * 1e6,
        p99_ms=milliseconds(re.search(r"99%\s+([\d.]+\w+)", text).group(1)),
    )


def milliseconds(text):
    """A time as wrk writes it."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


def rounds(count, *variants):
    """Runs the variants one after the other, so many times; a list of results for each."""
    results = [[] for _ in variants]
    for _ in range(count):
        for variant, result in zip(variants, results):
            result.append(variant())
    return results
