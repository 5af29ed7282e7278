"""We produce, Python consumes; and what either side does to the other's queues."""

import asyncio
import datetime
import json
import random
import subprocess
import time

import pytest
from bullmq.job import Job

from conftest import V5, eventually, until


def consume(bench, count, processor=None):
    """Python's worker until `count` jobs are finished; what it ran."""
    async def run():
        ran = []
        async def process(job, token):
            ran.append(job)
            return await processor(job) if processor else job.data
        worker = bench.theirs(process)
        await eventually(lambda: bench.redis.zcard(bench.key("completed"))
                         + bench.redis.zcard(bench.key("failed")) >= count)
        await worker.close()
        return ran
    return asyncio.run(run())


def theirs(bench, body):
    """Runs `body(queue)` with Python's queue."""
    async def run():
        queue = bench.queue()
        try:
            return await body(queue)
        finally:
            await queue.close()
    return asyncio.run(run())


def test_b1(bench):
    """B1 an idle worker of theirs runs what we add at once, data and options equal"""
    async def run():
        ran = []
        async def process(job, token):
            ran.append((time.monotonic(), job))
        worker = bench.theirs(process)
        await asyncio.sleep(0.3)
        await bench.aours("add", "n", '{"a":[1,"é"]}', "--attempts", 3, "--backoff", "fixed:70")
        added = time.monotonic()
        await eventually(lambda: ran)
        await eventually(lambda: bench.redis.zcard(bench.key("completed")) == 1)
        await worker.close()
        assert ran[0][0] - added < 0.5
        return ran[0][1]
    job = asyncio.run(run())
    assert (job.name, job.data, job.opts["attempts"]) == ("n", {"a": [1, "é"]}, 3)
    assert job.opts["backoff"] == {"type": "fixed", "delay": 70}


def test_b2(bench):
    """B2 they run our delayed job"""
    bench.ours("add", "n", "{}", "--delay", 300)
    (job,) = consume(bench, 1)
    assert job.delay in (0, 300)
    assert int(bench.job(1)["processedOn"]) - int(bench.job(1)["timestamp"]) >= 300


def test_b3(bench):
    """B3 they retry our job with its back-off, and fail it"""
    bench.ours("add", "n", "{}", "--attempts", 2, "--backoff", "fixed:100")
    async def fail(job):
        raise ValueError("no")
    assert len(consume(bench, 1, fail)) == 2
    assert bench.job(1)["atm"] == "2" and bench.ours("state", "1") == "failed"


def test_b4(bench):
    """B4 a custom id twice is one job"""
    assert bench.ours("add", "n", "1", "--id", "mine") == ["mine"]
    assert bench.ours("add", "n", "2", "--id", "mine") == ["mine"]
    assert {"event": "duplicated", "jobId": "mine"} in bench.events()
    assert theirs(bench, lambda queue: queue.add("n", 3, {"jobId": "mine"})).id == "mine"
    assert bench.job("mine")["data"] == "1"
    assert len(consume(bench, 1)) == 1


def test_b5(bench):
    """B5 our priorities and theirs make one order"""
    bench.ours("add", "n", "0", "--priority", 5)
    theirs(bench, lambda queue: queue.add("n", 1, {"priority": 1}))
    bench.ours("add", "n", "2")
    theirs(bench, lambda queue: queue.add("n", 3, {"priority": 5}))
    assert [job.data for job in consume(bench, 4)] == [2, 1, 0, 3]


def test_b6(bench):
    """B6 a wrong token is told from a lock that has ended"""
    bench.ours("add", "n")
    bench.take("--lock-ms", 1500)
    assert bench.end(1, "--token", "other")["error"] == "lockTaken"
    until(lambda: not bench.redis.exists(bench.key("1:lock")))
    assert bench.end(1)["error"] == "lockMissing"
    assert bench.ours("state", "1") == "active"


def test_b7(bench):
    """B7 they find a job that we lost, and we run it again"""
    bench.ours("add", "n")
    bench.take("--lock-ms", 50)
    until(lambda: not bench.redis.exists(bench.key("1:lock")))

    async def run():
        worker, scripts = bench.stepper()
        found = []
        for _ in range(2):
            await eventually(lambda: not bench.redis.exists(bench.key("stalled-check")))
            found = await scripts.moveStalledJobsToWait(1, 50)
        await worker.close()
        return found
    assert "1" in json.dumps(asyncio.run(run()))
    (job,) = bench.take()["jobs"]
    assert (job["id"], job["stalledCount"]) == ("1", 1)


def test_b8(bench):
    """B8 our deduplication id holds for them, and is free after they finish"""
    assert bench.ours("add", "n", "1", "--deduplicate", "k") == ["1"]
    assert bench.redis.get(bench.key("de:k")) == "1" and bench.job(1)["deid"] == "k"
    again = theirs(bench, lambda queue: queue.add("n", 2, {"deduplication": {"id": "k"}}))
    assert again.id == "1"
    consume(bench, 1)
    assert not bench.redis.exists(bench.key("de:k"))


def test_b9(bench):
    """B9 they list the two that we kept of five"""
    bench.ours("add", "n", "{i}", "--count", 5, "--opts", '{"removeOnComplete":2}')
    bench.run_worker(count=5)
    async def listed(queue):
        return [job.id for job in await queue.getJobs(["completed"])]
    assert sorted(theirs(bench, listed)) == ["4", "5"]
    assert not any(bench.redis.exists(bench.key(i)) for i in (1, 2, 3))


def test_b10(bench):
    """B10 they let a job run again that we have failed"""
    bench.ours("add", "n")
    bench.run_worker("--fail-times", 1, count=1)
    async def retry(queue):
        job = await Job.fromId(queue, "1")
        await job.retry("failed")
    theirs(bench, retry)
    fields = bench.job(1)
    assert bench.ours("state", "1") == "waiting" and fields["atm"] == "1"
    assert not {"failedReason", "finishedOn", "processedOn"} & fields.keys()
    assert bench.take()["jobs"][0]["id"] == "1"


def test_b11(bench):
    """B11 our pause stops their worker, our resume wakes it"""
    async def run():
        ran = []
        async def process(job, token):
            ran.append(job.id)
        worker = bench.theirs(process)
        queue = bench.queue()
        await bench.aours("pause")
        assert await queue.isPaused()
        await bench.aours("add", "n")
        await asyncio.sleep(0.5)
        assert not ran
        await bench.aours("resume")
        assert not await queue.isPaused()
        await eventually(lambda: ran, 2)
        assert {"paused", "resumed"} <= set(bench.event_names())
        await eventually(lambda: bench.redis.zcard(bench.key("completed")) == 1)
        await worker.close()
        await queue.close()
    asyncio.run(run())


def test_b12(bench):
    """B12 promote, remove, clean, drain and obliterate leave what they expect"""
    counts = lambda: theirs(bench, lambda queue: queue.getJobCounts())
    bench.ours("add", "n", "{i}", "--count", 3, "--delay", 100_000)
    bench.ours("promote", "1")
    assert bench.job(1)["delay"] == "0" and bench.ours("state", "1") == "waiting"
    assert {"event": "waiting", "jobId": "1", "prev": "delayed"} in bench.events()
    bench.ours("promote", "--all")
    assert (counts()["delayed"], counts()["waiting"]) == (0, 3)
    bench.ours("remove", "2", "--yes")
    assert not bench.redis.exists(bench.key("2")) and counts()["waiting"] == 2
    bench.run_worker(count=1)
    assert bench.ours("clean", "completed", "--yes") == ["1"]
    assert {"event": "cleaned", "count": "1"} in bench.events()
    bench.ours("add", "n", "{i}", "--count", 2, "--delay", 100_000)
    bench.ours("add", "n", "--priority", 3)
    assert bench.ours("drain", "--yes")["deleted"] == 2
    assert counts()["delayed"] == 2
    assert bench.ours("drain", "--delayed", "--yes")["deleted"] == 2
    assert sum(counts().values()) == 0
    bench.ours("add", "n", "{i}", "--count", 2500)
    bench.ours("add", "n", "{i}", "--count", 30, "--delay", 50_000)
    bench.take("--count", 2)
    assert bench.try_ours("obliterate", "--yes").returncode != 0
    assert bench.ours("obliterate", "--yes", "--force")["deleted"] == 2530
    assert bench.redis.keys(bench.key("*")) == []


def test_b12_unconfirmed(bench):
    """B12 nothing is deleted unless it is confirmed"""
    bench.ours("add", "n")
    for words in (["remove", "1"], ["drain"], ["clean", "waiting"], ["obliterate"]):
        assert bench.try_ours(*words).returncode != 0
    assert bench.ours("counts")["waiting"] == 1


def test_b13(bench, make_bench):
    """B13 a flow of ours runs to its end in their workers"""
    children = make_bench()
    leaf = lambda i: {"name": "leaf", "queue": children.name, "data": i, "opts": {"jobId": f"L{i}"}}
    tree = {"name": "top", "queue": bench.name, "data": {}, "opts": {"jobId": "T"}, "children": [
        {"name": "middle", "queue": bench.name, "data": "m", "opts": {"jobId": "M"},
         "children": [leaf(0), leaf(1)]}, leaf(2)]}
    assert bench.ours("step", "flow", json.dumps(tree)) == ["T", "M", "L0", "L1", "L2"]
    assert bench.ours("state", "T") == bench.ours("state", "M") == "waiting-children"
    assert bench.redis.smembers(bench.key("T:dependencies")) == {
        bench.key("M"), children.key("L2")}

    async def run():
        values = {}
        async def parent(job, token):
            values[job.id] = await job.getChildrenValues()
            return job.data
        async def child(job, token):
            return job.data
        workers = [bench.theirs(parent), children.theirs(child)]
        await eventually(lambda: bench.redis.zcard(bench.key("completed")) == 2)
        for worker in workers:
            await worker.close()
        return values
    values = asyncio.run(run())
    assert values["M"] == {children.key("L0"): 0, children.key("L1"): 1}
    assert values["T"] == {bench.key("M"): "m", children.key("L2"): 2}


def test_b13_refused(bench):
    """B13 a flow with a fault adds nothing"""
    tree = {"name": "top", "queue": bench.name, "opts": {"jobId": "T"}, "children": [
        {"name": "c", "queue": bench.name, "opts": {"jobId": "a:b"}}]}
    refused = bench.try_ours("step", "flow", json.dumps(tree))
    assert refused.returncode != 0 and "colon" in refused.stderr
    assert bench.redis.keys(bench.key("*")) == []


@pytest.mark.skipif(V5, reason="its worker does not advance schedulers")
def test_b14(bench):
    """B14 a scheduler of ours is read and advanced by them, and can be replaced and removed"""
    bench.ours("schedulers", "set", "s", "n", '{"a":1}', "--every", 700, "--limit", 5)
    score = int(bench.redis.zscore(bench.key("repeat"), "s"))

    async def run():
        queue = bench.queue()
        seen = await queue.getJobScheduler("s")
        ran = []
        async def process(job, token):
            ran.append(job)
        worker = bench.theirs(process)
        await eventually(lambda: len(ran) >= 2)
        await eventually(lambda: bench.redis.zcard(bench.key("completed")) >= 2)
        await worker.close()
        await queue.close()
        return seen, ran
    seen, ran = asyncio.run(run())
    assert (seen["name"], int(seen["every"]), int(seen["limit"])) == ("n", 700, 5)
    assert seen["template"]["data"] == {"a": 1} and int(seen["next"]) == score
    assert [job.id for job in ran[:2]] == [f"repeat:s:{score}", f"repeat:s:{score + 700}"]
    assert [job.data for job in ran[:2]] == [{"a": 1}] * 2
    bench.ours("schedulers", "set", "s", "n", "--pattern", "0 0 1 1 *", "--zone", "Asia/Tokyo")
    (scheduler,) = bench.ours("schedulers")
    assert scheduler["pattern"] == "0 0 1 1 *" and scheduler["tz"] == "Asia/Tokyo"
    assert bench.redis.zrange(bench.key("delayed"), 0, -1) == [f"repeat:s:{scheduler['next']}"]
    bench.ours("schedulers", "remove", "s", "--yes")
    assert not bench.redis.exists(bench.key("repeat"), bench.key("repeat:s"), bench.key("delayed"))
    assert bench.try_ours("schedulers", "remove", "s", "--yes").returncode != 0


def test_b14_cron(bench):
    """B14 our cron and theirs mean the same times"""
    from croniter import croniter
    random_field = lambda low, high: random.choice([
        "*", f"*/{random.randint(2, 9)}", str(random.randint(low, high)),
        f"{random.randint(low, (low + high) // 2)}-{random.randint((low + high) // 2, high)}"])
    # Versions of croniter disagree on what a range of all weekdays means beside a day: none here.
    patterns = [" ".join([random_field(0, 59), random_field(0, 59), random_field(0, 23),
                          random_field(1, 28), random_field(1, 12), random_field(1, 5)])
                for _ in range(300)]
    patterns += ["0 0 29 2 *", "0 12 L * *", "0 9 * * MON-FRI", "30 4 1,15 * 5", "*/5 * * * *"]
    after = int(datetime.datetime(2026, 10, 20, 11, 59, 58, tzinfo=datetime.UTC).timestamp())
    command = bench.command("step", "cron", "--after", after * 1000)
    done = subprocess.run(command, input="\n".join(patterns), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    begin = datetime.datetime.fromtimestamp(after, datetime.UTC)
    for pattern, line in zip(patterns, done.stdout.splitlines(), strict=True):
        theirs = croniter(pattern, begin, second_at_beginning=True).get_next(float)
        assert json.loads(line) == int(theirs) * 1000, pattern


def test_b15(bench):
    """B15 they see our progress and our log"""
    bench.ours("add", "n", "{}", "--opts", '{"kl":2}')
    bench.run_worker("--progress", '{"at":0.5}', "--log", "one", "--fail-times", 1, count=1)
    bench.ours("retry", "1")
    bench.run_worker("--log", "two", count=1)
    bench.ours("retry", "1")
    bench.run_worker("--log", "three", count=1)
    async def look(queue):
        job = await Job.fromId(queue, "1")
        return job.progress, await queue.getJobLogs("1")
    progress, logs = theirs(bench, look)
    assert progress == {"at": 0.5} and logs["logs"] == ["two", "three"]
    assert {"event": "progress", "jobId": "1", "data": '{"at":0.5}'} in bench.events()


def test_b16(bench):
    """B16 metrics are counted by the minute"""
    bench.ours("add", "n", "{i}", "--count", 6)
    bench.run_worker("--metrics", 10, count=5)
    key = bench.key("metrics:completed")
    assert bench.redis.hmget(key, "count", "prevCount") == ["5", "0"]
    bench.redis.hset(key, mapping={"prevTS": int(time.time() * 1000) - 180_000, "prevCount": 2})
    bench.run_worker("--metrics", 10, count=1)
    assert bench.redis.lrange(key + ":data", 0, -1) == ["0", "0", "3"]
    assert bench.redis.hmget(key, "count", "prevCount") == ["6", "5"]


def test_b17(bench):
    """B17 they extend our lock with our token, and with no other"""
    bench.ours("add", "n")
    bench.take("--lock-ms", 5000)
    async def run():
        worker, scripts = bench.stepper()
        answers = [await scripts.extendLock("1", token, 60_000) for token in ("step:0", "other")]
        await worker.close()
        return answers
    assert asyncio.run(run()) == [1, 0]
    assert bench.redis.pttl(bench.key("1:lock")) > 50_000
