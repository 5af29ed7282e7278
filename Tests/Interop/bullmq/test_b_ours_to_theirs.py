"""We produce, Python consumes; and what either side does to the other's queues."""

import asyncio
import json
import time

from bullmq.job import Job

from conftest import eventually, until


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
