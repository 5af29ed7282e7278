"""Clients of both layouts on one queue, and what old or broken clients leave behind."""

import asyncio

import pytest

from conftest import V5

old_clients = pytest.mark.skipif(not V5, reason="needs a client of the old layout")


def theirs(bench, body):
    async def run():
        queue = bench.queue()
        try:
            return await body(queue)
        finally:
            await queue.close()
    return asyncio.run(run())


async def add_two_and_pause(queue):
    for i in range(2):
        await queue.add("n", i, {})
    await queue.pause()


@old_clients
def test_c1(bench):
    """C1 our resume merges what an old client paused, oldest first"""
    theirs(bench, add_two_and_pause)
    assert bench.redis.llen(bench.key("paused")) == 2
    bench.ours("add", "n", "2")
    bench.ours("resume")
    assert not bench.redis.exists(bench.key("paused"))
    assert [job["data"] for job in bench.take("--count", 3)["jobs"]] == [0, 1, 2]


@old_clients
@pytest.mark.parametrize("shares", [False, True])
def test_c2(bench, shares):
    """C2 an old client's resume loses what we added to wait, and nothing with the paused list"""
    theirs(bench, add_two_and_pause)
    bench.ours("add", "n", "2", *(["--paused-list"] if shares else []))
    theirs(bench, lambda queue: queue.resume())
    assert bench.redis.llen(bench.key("wait")) == (3 if shares else 2)
    assert bench.redis.exists(bench.key("3"))


@old_clients
def test_c2_pausing(bench):
    """C2 with the paused list, our pause and an old client's pause lose nothing together"""
    theirs(bench, lambda queue: queue.add("n", 0, {}))
    bench.ours("pause", "--paused-list")
    assert bench.redis.lrange(bench.key("paused"), 0, -1) == ["1"]
    theirs(bench, lambda queue: queue.add("n", 1, {}))
    bench.ours("add", "n", "2", "--paused-list")
    theirs(bench, lambda queue: queue.pause())
    bench.ours("resume", "--paused-list")
    assert [job["data"] for job in bench.take("--count", 3)["jobs"]] == [0, 1, 2]


@old_clients
def test_c3(bench):
    """C3 what an old client adds while we have paused is there after our resume"""
    theirs(bench, lambda queue: queue.add("n", 0, {}))
    bench.ours("pause")
    theirs(bench, lambda queue: queue.add("n", 1, {}))
    bench.ours("resume")
    assert sorted(job["data"] for job in bench.take("--count", 2)["jobs"]) == [0, 1]


def test_c4(bench):
    """C4 a marker of an old version in wait is not run"""
    bench.ours("add", "n", "1")
    bench.redis.rpush(bench.key("wait"), "0:123")
    assert [job["id"] for job in bench.take("--count", 2)["jobs"]] == ["1"]
    assert bench.redis.llen(bench.key("active")) == 1


def test_c5(bench):
    """C5 an id without a job is dropped and leaves no ghost"""
    bench.ours("add", "n", "1")
    bench.redis.rpush(bench.key("wait"), "gone")
    bench.redis.zadd(bench.key("prioritized"), {"gone2": 1})
    bench.redis.zadd(bench.key("delayed"), {"gone3": 1})
    bench.redis.set(bench.key("odd"), "no hash")
    bench.redis.rpush(bench.key("wait"), "odd")
    assert [job["id"] for job in bench.take("--count", 4)["jobs"]] == ["1"]
    assert not bench.redis.exists(*(bench.key(id) for id in ("gone", "gone2", "gone3")))
    assert bench.redis.lrange(bench.key("active"), 0, -1) == ["1"]


def test_c6(make_bench):
    """C6 a prefix with a tag is in every key, and theirs works with it"""
    bench = make_bench(prefix="{my}")
    bench.ours("add", "n", "1")
    theirs(bench, lambda queue: queue.add("n", 2, {}))
    bench.run_worker(count=2)
    keys = bench.redis.keys(f"*{bench.name}*")
    assert keys and all(key.startswith("{my}:") for key in keys)
    assert theirs(bench, lambda queue: queue.getJobCounts())["completed"] == 2
