"""Thousands of jobs in workers of both sides, which are killed at random."""

import asyncio
import contextlib
import multiprocessing
import os
import random
import time

from bullmq import Worker

from conftest import until

COUNT = 20_000 if os.environ.get("SWITCHBOARD_LONG") else 2_000
LOCK = 1500
CHECK = 700


def python_worker(name, connection):
    """A worker of theirs, in a process of its own, until it is killed."""
    async def process(job, token):
        await asyncio.sleep(random.random() * 0.01)
        if job.data["fails"] > job.attemptsMade:
            raise ValueError("as planned")
        return job.data["i"]

    async def run():
        Worker(name, process, {
            "connection": connection, "concurrency": 8, "lockDuration": LOCK,
            "stalledInterval": CHECK, "maxStalledCount": 50})
        await asyncio.Event().wait()
    asyncio.run(run())


class TheirWorker:
    def __init__(self, bench):
        self.process = multiprocessing.get_context("spawn").Process(
            target=python_worker, args=(bench.name, bench.connection), daemon=True)
        self.process.start()

    def kill(self):
        self.process.kill()
        self.process.join()


def our_worker(bench):
    return bench.worker("--concurrency", 8, "--sleep-ms", 30, "--lock-ms", LOCK, "--stalled-ms",
                        CHECK, "--stalled-max", 50, "--quiet", "--echo", "--name", "ours")


def options(number):
    """Every way of queueing, in turn."""
    kinds = [{}, {"priority": number % 7 + 1}, {"delay": number % 800 + 1}, {"lifo": True},
             {"attempts": 3, "backoff": {"type": "fixed", "delay": 20}}]
    return {"attempts": 3, **kinds[number % len(kinds)]}


async def add_all(bench):
    queue = bench.queue()
    for start in range(0, COUNT, 500):
        await queue.addBulk([
            {"name": "n", "data": {"i": i, "fails": 1 if i % 10 == 4 else 0}, "opts": options(i)}
            for i in range(start, min(start + 500, COUNT))])
    await queue.close()


def test_b18(bench):
    """B18 workers of both sides are killed at random: no job is lost, each repeat has its reason"""
    asyncio.run(add_all(bench))
    finished = lambda: bench.redis.zcard(bench.key("completed"))
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        theirs = [TheirWorker(bench) for _ in range(2)]
        stack.callback(lambda: [worker.kill() for worker in theirs])
        # An interpreter takes its time to start; all jobs would be done before.
        until(lambda: finished() > 20)
        ours = [stack.enter_context(our_worker(bench)) for _ in range(2)]
        for number in range(COUNT // 250):
            goal = min(COUNT * 9 // 10, finished() + 120)
            until(lambda: finished() >= goal, 60)
            place = random.randrange(2)
            if number % 2:
                theirs[place].kill()
                theirs[place] = TheirWorker(bench)
            else:
                ours[place].kill()
                ours[place] = stack.enter_context(our_worker(bench))
        until(lambda: finished() == COUNT, 60 + COUNT // 50)
    jobs = [bench.job(i + 1) for i in range(COUNT)]
    assert all(job["returnvalue"] for job in jobs)
    # Both sides had a part in it; theirs have no name.
    assert 0 < sum("pb" in job for job in jobs) < COUNT
    for job in jobs:
        # Every start is a try that ended, or one that was lost.
        assert int(job["ats"]) == int(job["atm"]) + int(job.get("stc", 0)), job
    lost = sum(int(job.get("stc", 0)) for job in jobs)
    print(f"{COUNT} jobs, {COUNT // 250} workers killed: {lost} jobs lost with them and run again, "
          f"{sum('pb' in job for job in jobs)} last run by ours, {time.monotonic() - begun:.0f} s")
    assert lost > 0
    until(lambda: not bench.redis.exists(bench.key("active")))
    assert not bench.redis.keys(bench.key("*:lock"))
    # The next check forgets those that it suspected.
    until(lambda: not bench.redis.exists(bench.key("stalled-check")))
    assert bench.ours("step", "stalled") == []
    assert not bench.redis.exists(bench.key("stalled"))
