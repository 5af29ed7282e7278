import EventLoop
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("A queue whose Redis moves", .serialized, .timeLimit(.minutes(2)))
@LoopActor
struct MovingRedisTests {
    /// A queue behind `url` with a client of it.
    private func withQueue(
        _ url: String,
        prefix: String = "bull",
        _ body: @LoopActor (Queue, RedisConfiguration) async throws -> Void
    ) async throws {
        let keys = try QueueKeys(queue: "q", prefix: prefix)
        var configuration = try RedisConfiguration(url: url)
        configuration.deadline = .seconds(2)
        let redis = RedisClient(configuration.serving(keys.base))
        let outcome: Result<Void, any Error>
        do {
            try await redis.start()
            outcome = .success(try await body(Queue(keys, redis: redis), configuration))
        } catch {
            outcome = .failure(error)
        }
        await redis.stop()
        try outcome.get()
    }

    private func worker(
        _ queue: Queue,
        _ connection: RedisConfiguration,
        processor: @escaping Processor
    ) -> Worker {
        var settings = WorkerConfiguration()
        settings.concurrency = 4
        settings.lock = .seconds(2)
        settings.stalledInterval = .seconds(1)
        settings.stalledMax = 10
        return Worker(queue, connection: connection, configuration: settings, processor: processor)
    }

    /// All are completed, and each start is a try that ended or one that was lost.
    private func expectAllDone(_ queue: Queue, _ count: Int) async throws {
        try await comesAbout(within: .seconds(20)) {
            (try? await queue.counts()[.completed]) == count
        }
        for job in try await queue.jobs(.completed, count: count) {
            #expect(job.attemptsStarted == job.attemptsMade + job.stalledCount)
        }
    }

    @Test(
        "a primary dies and sentinels appoint its replica: all jobs end, in five seconds it goes on"
    )
    func failover() async throws {
        let servers = try await WatchedRedis.start()
        let outcome: Result<Void, any Error>
        do {
            try await withQueue(servers.url) { queue, connection in
                try await queue.add(contentsOf: (0..<150).map { NewJob("n", data: "\($0)") })
                var ended: [MonotonicTime] = []
                let worker = worker(queue, connection) { _ in
                    try await EventLoop.shared.sleep(for: .milliseconds(10))
                    ended.append(MonotonicTime.now())
                    return "1"
                }
                await worker.start()
                try await comesAbout { ended.count >= 40 }
                // What the replica has by now is kept.
                #expect(try await servers.primary.ask("WAIT", "1", "2000").contains("1"))
                await servers.primary.kill()
                let error = await #expect(throws: JobQueueError.self) {
                    while true { try await queue.add(NewJob("while away")) }
                }
                #expect(error?.redis?.countsAsDown == true)
                try await servers.replica.await("role:master", in: ["INFO", "replication"])
                let back = MonotonicTime.now()
                try await comesAbout { ended.last ?? back > back }
                try await comesAbout {
                    (try? await queue.add(NewJob("after"))) != nil
                }
                #expect(MonotonicTime.now() - back < .seconds(5))
                try await expectAllDone(queue, try await queue.counts().values.reduce(0, +))
                #expect(try await queue.counts()[.completed] ?? 0 >= 151)
                await worker.stop()
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await servers.stop()
        try outcome.get()
    }

    @Test("a server that takes no writes for a while costs no outcome")
    func demoted() async throws {
        let (server, other) = (try await PrivateRedis.start(), try await PrivateRedis.start())
        let outcome: Result<Void, any Error>
        do {
            try await withQueue(server.url) { queue, connection in
                try await queue.add(contentsOf: (0..<8).map { NewJob("n", data: "\($0)") })
                var ran = 0
                var lost = 0
                let worker = Worker(
                    queue,
                    connection: connection,
                    observer: { if case .lost = $0 { lost += 1 } },
                    processor: { _ in
                        ran += 1
                        if ran == 3 {
                            try await server.ask("CONFIG", "SET", "replica-read-only", "yes")
                            try await server.ask("REPLICAOF", "127.0.0.1", "1")
                        }
                        return "1"
                    }
                )
                await worker.start()
                try await comesAbout { ran == 3 }
                // A worker that takes nothing still has an outcome to record.
                worker.pause()
                try await EventLoop.shared.sleep(for: .milliseconds(700))
                let error = await #expect(throws: JobQueueError.self) {
                    try await queue.add(NewJob("refused"))
                }
                #expect(error?.redis?.serverCode == "READONLY")
                try await server.ask("REPLICAOF", "NO", "ONE")
                try await comesAbout { try await queue.counts()[.completed] == 3 }
                worker.resume()
                try await expectAllDone(queue, 8)
                #expect(ran == 8 && lost == 0)
                await worker.stop()
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        for one in [server, other] { await one.stop() }
        try outcome.get()
    }

    @Test("Redis dies at its work and comes back with its log: nothing added is lost")
    func restarted() async throws {
        let server = try await PrivateRedis.start([
            "--appendonly", "yes", "--appendfsync", "always",
        ])
        let outcome: Result<Void, any Error>
        do {
            try await withQueue(server.url) { queue, connection in
                var ran = 0
                let worker = worker(queue, connection) { _ in
                    ran += 1
                    try await EventLoop.shared.sleep(for: .milliseconds(5))
                    return "1"
                }
                await worker.start()
                var added = 0
                for round in 1...3 {
                    for _ in 0..<40 { if (try? await queue.add(NewJob("n"))) != nil { added += 1 } }
                    try await comesAbout { ran > round * 20 }
                    await server.kill()
                    try await server.restart()
                    let (back, before) = (MonotonicTime.now(), ran)
                    try await comesAbout {
                        (try? await queue.add(NewJob("after"))) != nil
                    }
                    added += 1
                    try await comesAbout { ran > before }
                    #expect(MonotonicTime.now() - back < .seconds(5))
                }
                try await expectAllDone(queue, added)
                await worker.stop()
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await server.stop()
        try outcome.get()
    }

    @Test("on a cluster a queue with a tag works, and goes on where its slot is moved to")
    func cluster() async throws {
        let cluster = try await ClusteredRedis.start()
        let outcome: Result<Void, any Error>
        do {
            try await withQueue(cluster.url, prefix: "{bull}") { queue, connection in
                var ran = 0
                let worker = worker(queue, connection) { active in
                    ran += 1
                    try await EventLoop.shared.sleep(for: .milliseconds(5))
                    return active.job.dataText
                }
                await worker.start()
                try await useEverything(of: queue)
                try await queue.add(contentsOf: (0..<100).map { NewJob("n", data: "\($0)") })
                try await comesAbout { ran > 20 }
                try await cluster.move(slotOf: queue.keys.base)
                let (back, before) = (MonotonicTime.now(), ran)
                try await comesAbout { ran > before }
                #expect(MonotonicTime.now() - back < .seconds(5))
                try await comesAbout(within: .seconds(20)) {
                    let counts = try? await queue.counts()
                    return counts?[.completed] == 106 && counts?[.active] == 0
                }
                await worker.stop()
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await cluster.stop()
        try outcome.get()
    }

    /// Six jobs of all kinds, whose scripts touch every key that a queue has.
    private func useEverything(of queue: Queue) async throws {
        var (late, low, once) = (JobOptions(), JobOptions(), JobOptions())
        late.delay = 50
        low.priority = 3
        once.deduplication = Deduplication(id: "d")
        let flow = Flow(
            queue: queue.keys,
            job: NewJob("parent"),
            children: [Flow(queue: queue.keys, job: NewJob("child"))]
        )
        try await queue.add(contentsOf: [
            NewJob("n", options: late), NewJob("n", options: low), NewJob("n", options: once),
        ])
        try await queue.add(flow)
        let scheduler = JobScheduler(id: "s", .every(60_000, offset: nil), name: "n")
        try await queue.upsert(scheduler)
        try await queue.pause()
        try await queue.resume()
        try await comesAbout { try await queue.counts()[.completed] == 6 }
        #expect(try await queue.metrics(.completed).count == 0)
        #expect(try await queue.remove("none"))
    }
}
