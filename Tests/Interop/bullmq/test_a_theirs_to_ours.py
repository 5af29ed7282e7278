"""Python produces, we consume."""

import asyncio
import json
import time

import pytest
from bullmq import FlowProducer, QueueEvents
from bullmq.job import Job

from conftest import eventually, until


def add_all(bench, *jobs):
    """Adds (name, data, opts) with Python; the ids."""
    async def run():
        queue = bench.queue()
        ids = [(await queue.add(name, data, opts)).id for name, data, opts in jobs]
        await queue.close()
        return ids
    return asyncio.run(run())


def read(bench, number):
    """What Python makes of a job: the job and its state."""
    async def run():
        queue = bench.queue()
        job = await Job.fromId(queue, number)
        state = await queue.getJobState(number)
        await queue.close()
        return job, state
    return asyncio.run(run())


def test_a1(bench):
    """A1 a job of theirs is taken, with lock and state"""
    assert add_all(bench, ("n", {"a": 1}, {})) == ["1"]
    (job,) = bench.take()["jobs"]
    assert (job["id"], job["data"], job["token"]) == ("1", {"a": 1}, "step:0")
    assert bench.ours("state", "1") == "active"
    assert bench.job(1)["ats"] == "1"
    assert bench.redis.get(bench.key("1:lock")) == "step:0"
    assert 0 < bench.redis.pttl(bench.key("1:lock")) <= 30_000


def test_a2(bench):
    """A2 a job of theirs is completed, and they read the result"""
    add_all(bench, ("n", {"a": 1}, {}))
    bench.take()
    assert bench.end(1, "--value", '{"ok":true}')["error"] is None
    fields = bench.job(1)
    assert (fields["returnvalue"], fields["atm"]) == ('{"ok":true}', "1")
    assert int(fields["finishedOn"]) == bench.redis.zscore(bench.key("completed"), "1")
    assert not bench.redis.exists(bench.key("1:lock"), bench.key("active"))
    job, state = read(bench, "1")
    assert (job.returnvalue, state) == ({"ok": True}, "completed")


def test_a3(bench):
    """A3 attempts with exponential back-off end in failed, with every trace"""
    add_all(bench, ("n", {}, {"attempts": 3, "backoff": {"type": "exponential", "delay": 200}}))
    bench.take()
    before = time.time() * 1000
    answer = bench.end(1, "--fail", "first", "--take", 1)
    fields = bench.job(1)
    assert (fields["atm"], fields["ats"], fields["delay"]) == ("1", "1", "200")
    assert fields["failedReason"] == "first"
    assert "1" in [entry["jobId"] for entry in bench.events() if entry["event"] == "delayed"]
    due = int(answer["answer"].removeprefix("next(").removesuffix(")"))
    assert not answer["jobs"] and before + 199 <= due <= before + 600
    until(lambda: bench.take()["jobs"])
    assert (bench.job(1)["delay"], bench.job(1)["ats"]) == ("0", "2")
    bench.end(1, "--fail", "second")
    assert bench.job(1)["delay"] == "400"
    until(lambda: bench.take()["jobs"])
    bench.end(1, "--fail", "third")
    job, state = read(bench, "1")
    assert (state, job.attemptsMade, len(job.stacktrace)) == ("failed", 3, 3)
    assert job.failedReason == "third"


def test_a4(bench):
    """A4 attempts without back-off: back to wait at once, then failed and exhausted"""
    add_all(bench, ("n", {}, {"attempts": 2}), ("n", {}, {}))
    bench.take()
    bench.end(1, "--fail", "no")
    # The head is the end that is served last.
    assert bench.redis.lrange(bench.key("wait"), 0, -1) == ["1", "2"]
    assert bench.job(1)["atm"] == "1"
    assert {"event": "waiting", "jobId": "1", "prev": "active"} in bench.events()
    bench.take("--count", 2)
    bench.end(1, "--fail", "no", "--token", "step:1")
    assert bench.ours("state", "1") == "failed"
    assert {"event": "retries-exhausted", "jobId": "1", "attemptsMade": "2"} in bench.events()


def test_a5(bench):
    """A5 an unrecoverable error fails at once, unexhausted"""
    add_all(bench, ("n", {}, {"attempts": 5}))
    bench.run_worker("--unrecoverable", count=1)
    assert bench.ours("state", "1") == "failed"
    assert bench.job(1)["atm"] == "1"
    assert "retries-exhausted" not in bench.event_names()


def test_a6(bench):
    """A6 jobs without priority first, then by priority, equals in their order"""
    add_all(bench, ("n", 0, {"priority": 5}), ("n", 1, {"priority": 1}), ("n", 2, {}),
            ("n", 3, {"priority": 5}))
    assert [job["data"] for job in bench.take("--count", 4)["jobs"]] == [2, 1, 0, 3]


def test_a7(bench):
    """A7 last in, first out"""
    add_all(bench, ("n", "f1", {}), ("n", "f2", {}), ("n", "l1", {"lifo": True}))
    assert [job["data"] for job in bench.take("--count", 3)["jobs"]] == ["l1", "f1", "f2"]


def test_a8(bench):
    """A8 delayed jobs of one millisecond keep their order; a marker with a fraction is read"""
    stamp = int(time.time() * 1000)
    add_all(bench, *[("n", i, {"delay": 1500, "timestamp": stamp}) for i in range(3)])
    scores = bench.redis.zrange(bench.key("delayed"), 0, -1, withscores=True)
    assert [score - (stamp + 1500) * 4096 for _, score in scores] == [0, 1, 2]
    bench.ours("remove", "1", "--yes")
    add_all(bench, ("n", 3, {"delay": 1500, "timestamp": stamp}))
    ((member, score),) = bench.redis.zrange(bench.key("marker"), 0, -1, withscores=True)
    assert member == "1" and score % 1 != 0
    with bench.worker("--concurrency", 1) as worker:
        until(lambda: len(worker.started()) == 3)
        assert [line["id"] for line in worker.started()] == ["2", "3", "4"]


def test_a9(bench):
    """A9 a delayed job starts on time in an idle worker"""
    with bench.worker() as worker:
        add_all(bench, ("warm", {}, {}))
        until(lambda: worker.started())
        # Idle: its wait for a marker is the only thing that goes on.
        until(lambda: bench.redis.zcard(bench.key("marker")) == 0)
        stamp = int(time.time() * 1000)
        add_all(bench, ("n", {}, {"delay": 300, "timestamp": stamp}))
        until(lambda: len(worker.started()) == 2)
        assert 300 <= worker.started()[1]["at"] - stamp < 450


def test_a10(bench):
    """A10 idle workers are woken, all of them by a chain of markers"""
    with bench.worker("--sleep-ms", 500) as one, bench.worker("--sleep-ms", 500) as two, \
            bench.worker("--sleep-ms", 500) as three:
        until(lambda: len(bench.redis.client_list()) >= 7)
        time.sleep(0.3)
        async def run():
            queue = bench.queue()
            for _ in range(3):
                await queue.add("n", {}, {})
            added = time.time() * 1000
            await queue.close()
            return added
        added = asyncio.run(run())
        workers = [one, two, three]
        until(lambda: all(worker.started() for worker in workers))
        assert max(worker.started()[0]["at"] for worker in workers) - added < 200


def test_a11(bench):
    """A11 nothing is taken while they have paused; their resume wakes us"""
    async def run():
        queue = bench.queue()
        await queue.pause()
        await queue.add("n", {}, {})
        assert not (await asyncio.to_thread(bench.take))["jobs"]
        assert await bench.aours("state", "1") == "waiting"
        with bench.worker() as worker:
            await asyncio.sleep(0.5)
            assert not worker.started()
            await queue.resume()
            resumed = time.time() * 1000
            await eventually(worker.started)
            assert worker.started()[0]["at"] - resumed < 200
        await queue.close()
    asyncio.run(run())


@pytest.mark.parametrize("policy,kept", [
    (True, []), (2, ["4", "5"]), ({"count": 3}, ["3", "4", "5"]), (False, list("12345"))])
def test_a12(bench, policy, kept):
    """A12 finished jobs stay as the job says"""
    add_all(bench, *[("n", i, {"removeOnComplete": policy}) for i in range(5)])
    bench.run_worker(count=5)
    assert bench.redis.zrange(bench.key("completed"), 0, -1) == kept
    assert [i for i in "12345" if bench.redis.exists(bench.key(i))] == kept
    assert bench.event_names().count("completed") == 5


@pytest.mark.parametrize("policy,gone", [({"age": 1}, 3), ({"age": 1, "limit": 2}, 2)])
def test_a12_age(bench, policy, gone):
    """A12 finished jobs that are too old go, the newest of them first"""
    add_all(bench, *[("n", i, {}) for i in range(3)], ("n", 3, {"removeOnComplete": policy}))
    for number in range(3):
        bench.take()
        bench.end(number + 1)
    for number in range(3):
        bench.redis.zadd(bench.key("completed"), {str(number + 1): 1000 + number})
    bench.take()
    bench.end(4)
    assert bench.redis.zrange(bench.key("completed"), 0, -1) == (["1", "2", "3"][:3 - gone] + ["4"])


def test_a13(bench):
    """A13 a global concurrency of one holds over two workers, without pauses"""
    async def run():
        queue = bench.queue()
        await queue.setGlobalConcurrency(1)
        for i in range(6):
            await queue.add("n", i, {})
        begun = time.monotonic()
        with bench.worker("--concurrency", 3, "--sleep-ms", 50), \
                bench.worker("--concurrency", 3, "--sleep-ms", 50):
            most = 0
            while bench.redis.zcard(bench.key("completed")) < 6:
                most = max(most, bench.redis.llen(bench.key("active")))
                assert time.monotonic() - begun < 5
                await asyncio.sleep(0.002)
        assert most == 1
        await queue.close()
    asyncio.run(run())


def test_a14(bench):
    """A14 a global rate limit holds"""
    async def run():
        queue = bench.queue()
        await queue.setGlobalRateLimit(2, 500)
        for i in range(6):
            await queue.add("n", i, {})
        first = await asyncio.to_thread(bench.take, "--count", 3)
        assert len(first["jobs"]) == 2 and first["answer"].startswith("limited(")
        for number, token in enumerate(["step:0", "step:1"]):
            await asyncio.to_thread(bench.end, number + 1, "--token", token)
        with bench.worker("--concurrency", 6) as worker:
            await eventually(lambda: bench.redis.zcard(bench.key("completed")) == 6)
            times = [line["at"] for line in worker.started()]
        assert times[2] - times[0] >= 400 and times[3] - times[0] < 1500
        await queue.close()
    asyncio.run(run())


def test_a15(bench):
    """A15 a deduplication id is free again once we have finished its job"""
    async def run():
        queue = bench.queue()
        opts = {"deduplication": {"id": "k"}}
        ids = [(await queue.add("n", {}, opts)).id for _ in range(2)]
        assert ids == ["1", "1"]
        await asyncio.to_thread(lambda: bench.run_worker(count=1))
        assert not bench.redis.exists(bench.key("de:k"))
        assert (await queue.add("n", {}, opts)).id != "1"
        await queue.close()
    asyncio.run(run())


def test_a16(bench):
    """A16 the last of those added while we run one follows it"""
    async def run():
        queue = bench.queue()
        opts = {"deduplication": {"id": "k", "keepLastIfActive": True}}
        await queue.add("n", 0, opts)
        await asyncio.to_thread(bench.take)
        for data in (1, 2):
            await queue.add("n", data, opts)
        assert bench.redis.hget(bench.key("dn:k"), "data") == "2"
        reserved = bench.redis.hget(bench.key("dn:k"), "jid")
        await asyncio.to_thread(bench.end, 1)
        (last,) = bench.redis.lrange(bench.key("wait"), 0, -1)
        assert bench.job(last)["data"] == "2" and last == reserved
        assert bench.redis.get(bench.key("de:k")) == last
        assert not bench.redis.exists(bench.key("dn:k"))
        await queue.close()
    asyncio.run(run())


def add_flow(bench, children, opts=None):
    """A parent P with children C0 … in a queue of their own."""
    async def run():
        producer = FlowProducer(bench.connection)
        await producer.add({
            "name": "parent", "queueName": bench.name, "data": {}, "opts": {"jobId": "P"},
            "children": [
                {"name": "child", "queueName": children.name, "data": i,
                 "opts": {"jobId": f"C{i}", **(opts or {})}} for i in range(2)]})
        await producer.close()
    asyncio.run(run())


def test_a17(bench, make_bench):
    """A17 children that we finish release their parent, which reads their values"""
    children = make_bench()
    add_flow(bench, children)
    assert bench.ours("state", "P") == "waiting-children"
    children.run_worker("--echo", count=2)
    assert bench.redis.hgetall(bench.key("P:processed")) == {
        children.key("C0"): "0", children.key("C1"): "1"}
    assert not bench.redis.exists(bench.key("P:dependencies"))
    assert bench.redis.lrange(bench.key("wait"), -1, -1) == ["P"]
    assert {"event": "waiting", "jobId": "P", "prev": "waiting-children"} in bench.events()

    async def run():
        seen = {}
        async def process(job, token):
            seen.update(await job.getChildrenValues())
        worker = bench.theirs(process)
        await eventually(lambda: seen)
        await eventually(lambda: bench.redis.zcard(bench.key("completed")) == 1)
        await worker.close()
        return seen
    assert sorted(asyncio.run(run()).values()) == [0, 1]


@pytest.mark.parametrize("option", [
    "failParentOnFailure", "continueParentOnFailure", "ignoreDependencyOnFailure",
    "removeDependencyOnFailure"])
def test_a18(bench, make_bench, option):
    """A18 a failed child does to its parent what the child's options say"""
    children = make_bench()
    add_flow(bench, children, {option: True})
    first = children.take()["jobs"][0]["id"]
    children.end(first, "--fail", "no")
    child = children.key(first)
    left = bench.redis.scard(bench.key("P:dependencies"))
    assert left == 1
    if option == "failParentOnFailure":
        assert bench.redis.zrange(bench.key("P:unsuccessful"), 0, -1) == [child]
        assert bench.job("P")["defa"] == f"child {child} failed"
        bench.run_worker(count=1)
        assert bench.ours("state", "P") == "failed"
        assert "defa" not in bench.job("P")
    elif option == "continueParentOnFailure":
        assert bench.redis.hgetall(bench.key("P:failed")) == {child: "no"}
        assert bench.ours("state", "P") == "waiting"
    else:
        assert bench.ours("state", "P") == "waiting-children"
        children.run_worker(count=1)
        assert bench.ours("state", "P") == "waiting"
        recorded = {child: "no"} if option == "ignoreDependencyOnFailure" else {}
        assert bench.redis.hgetall(bench.key("P:failed")) == recorded


def test_a19(bench):
    """A19 a scheduler of theirs is advanced by our worker, up to its limit"""
    async def run():
        queue = bench.queue()
        await queue.upsertJobScheduler("s", {"every": 1000, "limit": 3}, "n", [1])
        (first,) = bench.redis.lrange(bench.key("wait"), 0, -1)
        score = int(bench.redis.zscore(bench.key("repeat"), "s"))
        assert first == f"repeat:s:{score}"
        with bench.worker() as worker:
            await eventually(lambda: len(worker.started()) == 1)
            second = f"repeat:s:{score + 1000}"
            await eventually(lambda: bench.redis.exists(bench.key(second)))
            assert bench.redis.hget(bench.key("repeat:s"), "ic") == "2"
            assert bench.redis.zrange(bench.key("delayed"), 0, -1) == [second]
            fields = bench.job(second)
            opts = json.loads(fields["opts"])
            assert (fields["rjk"], fields["data"], opts["jobId"]) == ("s", "[1]", second)
            assert opts["repeat"]["count"] == 2 and opts["prevMillis"] == score + 1000
            refused = await asyncio.to_thread(bench.try_ours, "remove", second, "--yes")
            assert refused.returncode != 0 and "scheduler" in refused.stderr
            await eventually(lambda: len(worker.started()) == 3)
            await eventually(lambda: bench.redis.zcard(bench.key("completed")) == 3)
        assert not bench.redis.exists(bench.key("delayed"), bench.key("wait"))
        await queue.close()
    asyncio.run(run())


def test_a20(bench):
    """A20 a job of a dead worker of theirs comes back, and fails when lost too often"""
    async def lose():
        worker, scripts = bench.stepper()
        opts = {**worker.opts, "lockDuration": 50}
        await scripts.moveToActive("dead:1", opts)
        await worker.close()
    add_all(bench, ("n", {}, {}), ("later", {}, {}))

    def recover(number):
        asyncio.run(lose())
        until(lambda: not bench.redis.exists(bench.key("1:lock")))
        for _ in range(2):
            until(lambda: not bench.redis.exists(bench.key("stalled-check")))
            bench.ours("step", "stalled", "--max", 1)
        assert bench.job(1)["stc"] == str(number)
        assert bench.redis.lrange(bench.key("wait"), -1, -1) == ["1"]
        names = bench.events()[-2:]
        assert names == [{"event": "waiting", "jobId": "1", "prev": "active"},
                         {"event": "stalled", "jobId": "1"}]

    recover(1)
    recover(2)
    assert "defa" in bench.job(1)
    bench.run_worker(count=2)
    job, state = read(bench, "1")
    assert (state, job.failedReason) == ("failed", "job stalled more than allowable limit")


def test_a21(bench):
    """A21 their event reader sees what our worker does, in order"""
    async def run():
        seen = []
        events = QueueEvents(bench.name, {"connection": bench.connection})
        def listen(name):
            events.on(name, lambda *arguments: seen.append((name, arguments)))
        for name in ("added", "waiting", "active", "completed", "drained"):
            listen(name)
        await asyncio.sleep(0.5)
        queue = bench.queue()
        await queue.add("n", {"v": 1}, {})
        await asyncio.to_thread(lambda: bench.run_worker("--echo", count=1))
        await eventually(lambda: len(seen) >= 5)
        assert [name for name, _ in seen] == ["added", "waiting", "active", "completed", "drained"]
        assert seen[3][1][0]["returnvalue"] == {"v": 1}
        await events.close()
        await queue.close()
    asyncio.run(run())


def test_a22(bench):
    """A22 data goes through us unharmed: text, nesting, null, big numbers"""
    data = {"t": "Tiếng Việt 😀 \u0000 \" \\ /", "n": None, "big": 2**63, "f": 1e-7,
            "deep": [[[[{"x": [1, 2, {"y": None}]}]]]], "empty": "", "i": 9007199254740993}
    add_all(bench, ("n", data, {}))
    bench.run_worker("--echo", count=1)
    assert json.loads(bench.job(1)["returnvalue"]) == data
    assert read(bench, "1")[0].data == data
