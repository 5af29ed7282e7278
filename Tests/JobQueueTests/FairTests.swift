import EventLoop
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("A fair schedule")
struct FairScheduleTests {
    /// Serves `rounds` turns of one place from backlogs of these sizes; who was served, in order.
    private func serve(
        _ backlogs: [String: Int],
        weights: [String: Int] = [:],
        places: Int = 4,
        turns: Int
    ) -> [String] {
        var schedule = FairSchedule()
        var left = backlogs
        for id in backlogs.keys.sorted() {
            schedule.isReady(id, .init(weight: weights[id] ?? 1, inFlightMax: 8))
        }
        var served: [String] = []
        while served.count < turns, let (id, count) = schedule.next(free: places) {
            let got = min(count, left[id] ?? 0)
            left[id] = (left[id] ?? 0) - got
            schedule.answered(id, got: got, of: count, hasMore: got == count)
            for _ in 0..<got {
                served.append(id)
                schedule.ended(id)
            }
        }
        return served
    }

    @Test("a backlog of 100,000 keeps nobody waiting: ten jobs of another leave in ten rounds")
    func starvation() throws {
        let served = serve(["A": 100_000, "B": 10], turns: 200)
        let last = try #require(served.lastIndex(of: "B"))
        #expect(served.count { $0 == "B" } == 10 && last < 20)
    }

    @Test("a tenant of weight three gets three jobs to another's one", arguments: [1, 2, 3, 4, 8])
    func weights(places: Int) {
        let backlogs = ["A": 10_000, "B": 10_000]
        let served = serve(backlogs, weights: ["A": 3], places: places, turns: 400)
        #expect((299...301).contains(served.count { $0 == "A" }))
    }

    @Test("a tenant's eight queues take one tenant's turns, one queue after the other")
    func several() {
        var schedule = FairSchedule()
        let own = (0..<8).map { "A#\($0)" }
        for queue in own { schedule.isReady(queue, of: "A", .init(weight: 2, inFlightMax: 8)) }
        schedule.isReady("B", .init(weight: 2, inFlightMax: 8))
        #expect(schedule.readyCount == 2)
        var left = Dictionary(uniqueKeysWithValues: (own + ["B"]).map { ($0, $0 == "B" ? 99 : 5) })
        var served: [String] = []
        while served.count < 80, let (queue, count) = schedule.next(free: 4) {
            let got = min(count, left[queue, default: 0])
            left[queue, default: 0] -= got
            schedule.answered(queue, got: got, of: count, hasMore: got == count)
            for _ in 0..<got {
                served.append(queue)
                schedule.ended(queue)
            }
        }
        // Both have 40 of the first 80, and no queue of the one waits for another of it.
        #expect(served.count { $0 == "B" } == 40)
        #expect(own.allSatisfy { queue in served.count { $0 == queue } == 5 })
        #expect(Set(served.prefix(32)).count == 9)
        while let (queue, count) = schedule.next(free: 4) {
            schedule.answered(queue, got: 0, of: count, hasMore: false)
        }
        #expect(schedule.readyCount == 0)
    }

    @Test("a tenant's queues share its number of running jobs")
    func sharedCap() {
        var schedule = FairSchedule()
        for queue in ["A#0", "A#1"] {
            schedule.isReady(queue, of: "A", .init(weight: 5, inFlightMax: 2))
        }
        #expect(schedule.next(free: 10)?.count == 2)
        schedule.answered("A#0", got: 2, of: 2, hasMore: true)
        #expect(schedule.next(free: 10) == nil)
        schedule.ended("A#0")
        let next = schedule.next(free: 10)
        #expect(next?.id == "A#1" && next?.count == 1)
    }

    @Test("a tenant at its number of running jobs is passed over until one ends")
    func caps() {
        var schedule = FairSchedule()
        schedule.isReady("A", .init(weight: 5, inFlightMax: 2))
        #expect(schedule.next(free: 10)?.count == 2)
        schedule.answered("A", got: 2, of: 2, hasMore: true)
        #expect(schedule.next(free: 10) == nil)
        schedule.ended("A")
        #expect(schedule.next(free: 10)?.count == 1)
    }

    @Test("too few free places cut a turn short, and it goes on")
    func shortTurns() {
        var schedule = FairSchedule()
        schedule.isReady("A", .init(weight: 4, inFlightMax: 8))
        schedule.isReady("B", .init())
        #expect(schedule.next(free: 1)?.count == 1)
        schedule.answered("A", got: 1, of: 1, hasMore: true)
        #expect(schedule.next(free: 8)?.count == 3)
    }

    @Test("who alone has work gets all places but one, and its share again once another has some")
    func alone() {
        var schedule = FairSchedule()
        schedule.isReady("A", .init(inFlightMax: 64))
        #expect(schedule.next(free: 32)?.count == 31)
        schedule.answered("A", got: 31, of: 31, hasMore: true)
        schedule.isReady("B", .init())
        let first = schedule.next(free: 8)
        // The other one's call is on its way, and it still has work.
        let second = schedule.next(free: 7)
        #expect(Set([first?.id, second?.id]) == ["A", "B"])
        #expect([first?.count, second?.count] == [1, 1])
        schedule.answered("B", got: 0, of: 1, hasMore: false)
        schedule.answered("A", got: 1, of: 1, hasMore: true)
        #expect(schedule.next(free: 8)?.count == 7)
        schedule.answered("A", got: 7, of: 7, hasMore: true)
        #expect(schedule.next(free: 1)?.count == 1)
    }

    @Test("an idle tenant is forgotten, and saves nothing up")
    func idle() {
        var schedule = FairSchedule()
        schedule.isReady("A", .init(weight: 4, inFlightMax: 8))
        schedule.isReady("B", .init())
        #expect(schedule.next(free: 8)?.count == 4)
        schedule.answered("A", got: 0, of: 4, hasMore: false)
        #expect(schedule.readyCount == 1)
        schedule.isReady("A", .init(weight: 4, inFlightMax: 8))
        #expect(schedule.next(free: 8)?.id == "B")
        #expect(schedule.next(free: 8)?.count == 4)
    }
}

@Suite("A fair worker", .serialized)
@LoopActor
struct FairWorkerTests {
    private func run(
        _ bench: Bench,
        _ queues: TenantQueues,
        tenants: [String],
        concurrency: Int = 4,
        processor: @escaping Processor,
        _ body: @LoopActor () async throws -> Void
    ) async throws {
        var settings = WorkerConfiguration()
        settings.concurrency = concurrency
        settings.lock = .milliseconds(2000)
        settings.stalledInterval = .milliseconds(300)
        let worker = FairWorker(
            queues,
            connection: bench.configuration,
            configuration: settings,
            tenants: { tenants },
            processor: processor
        )
        await worker.start()
        do { try await body() } catch {
            await worker.stop(within: .zero)
            throw error
        }
        await worker.stop(within: .seconds(5))
    }

    @Test("100,000 jobs of A, then 10 of B: B's last one leaves within ten rounds")
    func starvation() async throws {
        try await withBench { bench in
            let queues = TenantQueues("send", redis: bench.redis)
            for _ in 0..<10 {
                try await queues.add(Array(repeating: NewJob("n"), count: 10_000), of: "A")
            }
            var order: [String] = []
            var added = 0
            try await run(
                bench,
                queues,
                tenants: ["A", "B"],
                processor: { active in
                    order.append(active.queue.keys.prefix)
                    return "1"
                }
            ) {
                try await comesAbout { order.count > 500 }
                try await queues.add(Array(repeating: NewJob("n"), count: 10), of: "B")
                added = order.count
                try await comesAbout { order.count { $0 == "bull:{B}" } == 10 }
            }
            let last = try #require(order.lastIndex(of: "bull:{B}"))
            // Ten rounds of one job each, and what was on its way when B came.
            #expect(last - added < 20 + 4 * FairWorker.exchangesMax)
            #expect(order.count < 20_000)
        }
    }

    @Test("what a client adds without ringing is found by the sweep, and so is a lost job")
    func foreign() async throws {
        try await withBench { bench in
            let queues = TenantQueues("send", redis: bench.redis)
            let queue = try queues.queue(of: "t")
            try await queue.add(NewJob("lost"))
            var settings = WorkerConfiguration()
            settings.lock = .milliseconds(20)
            _ = try await queue.exchange([], taking: 1, as: settings, token: "dead", first: 0)
            var ran: [String] = []
            try await run(
                bench,
                queues,
                tenants: ["t"],
                processor: { active in
                    ran.append(active.job.name)
                    return "1"
                }
            ) {
                try await queue.add(NewJob("unrung"))
                try await comesAbout { Set(ran) == ["lost", "unrung"] }
            }
            #expect(try await queue.job("1")?.stalledCount == 1)
        }
    }

    @Test("a job that puts itself off comes up at its time, also as the only one of its tenant")
    func putOff() async throws {
        try await withBench { bench in
            let queues = TenantQueues("send", redis: bench.redis)
            try await queues.add([NewJob("n")], of: "t")
            var runs: [MonotonicTime] = []
            // No sweep helps it: it knows of no tenant.
            try await run(
                bench,
                queues,
                tenants: [],
                processor: { _ in
                    runs.append(MonotonicTime.now())
                    guard runs.count < 6 else { return "1" }
                    throw JobInterruption.delay(milliseconds: 100)
                }
            ) {
                try await comesAbout(within: .seconds(4)) { runs.count == 6 }
            }
            for (one, next) in zip(runs, runs.dropFirst()) {
                #expect(next - one >= .milliseconds(95) && next - one < .milliseconds(600))
            }
        }
    }

    @Test("thousands of tenants with a job each, some delayed, are all served; the ring ends empty")
    func thousands() async throws {
        try await withBench { bench in
            let queues = TenantQueues("send", redis: bench.redis)
            let tenants = (0..<2000).map { "t\($0)" }
            for (number, tenant) in tenants.enumerated() {
                var options = JobOptions()
                if number % 10 == 0 { options.delay = Int64(200 + number % 100) }
                try await queues.add([NewJob("n", options: options)], of: tenant)
            }
            var ran = 0
            try await run(
                bench,
                queues,
                tenants: [],
                concurrency: 32,
                processor: { _ in
                    ran += 1
                    return "1"
                }
            ) {
                // Under the thread sanitizer it takes ten times as long.
                try await comesAbout(within: .seconds(60)) { ran == 2000 }
                try await comesAbout {
                    try await bench.send("ZCARD", "{bull:send}:ring") == .int(0)
                }
            }
        }
    }

    @Test("Redis dies and comes back: all tenants are served again within five seconds")
    func restart() async throws {
        try await withBench(["--appendonly", "yes", "--appendfsync", "always"]) { bench in
            let queues = TenantQueues("send", redis: bench.redis)
            let tenants = (0..<20).map { "t\($0)" }
            for tenant in tenants {
                try await queues.add(Array(repeating: NewJob("n"), count: 30), of: tenant)
            }
            var ran: [String: Int] = [:]
            try await run(
                bench,
                queues,
                tenants: tenants,
                processor: { active in
                    try await EventLoop.shared.sleep(for: .milliseconds(1))
                    ran[active.queue.keys.prefix, default: 0] += 1
                    return "1"
                }
            ) {
                try await comesAbout { ran.values.reduce(0, +) > 100 }
                await bench.server.kill()
                try await bench.server.restart()
                let (back, before) = (MonotonicTime.now(), ran.values.reduce(0, +))
                try await comesAbout { ran.values.reduce(0, +) > before }
                #expect(MonotonicTime.now() - back < .seconds(5))
                try await comesAbout(within: .seconds(20)) {
                    var ended = 0
                    for tenant in tenants {
                        let counts = try? await queues.queue(of: tenant).counts()
                        ended += counts?[.completed] ?? 0
                    }
                    return ended == 600
                }
            }
        }
    }

    @Test("queues are found by their prefix, whatever stands beside them")
    func found() async throws {
        try await withBench { bench in
            for (prefix, name) in [
                ("b*", "mail"), ("b*:{acme}", "mail"), ("b*:{z}", "sms"), ("bx", "no"),
            ] {
                let keys = try QueueKeys(queue: name, prefix: prefix)
                try await Queue(keys, redis: bench.redis).add(NewJob("n"))
            }
            _ = try await bench.send("SET", "b*:text:meta", "no queue")
            let all = try await TenantQueues(of: "b*", redis: bench.redis).find()
            #expect(Set(all) == ["mail", "{acme}:mail", "{z}:sms"])
            let mail = TenantQueues("mail", prefix: "b*", redis: bench.redis)
            #expect(try await mail.find() == ["acme"])
            #expect(try mail.queue(of: "acme").keys.path == "b*:{acme}:mail")
            let one = try TenantQueues(of: "b*", redis: bench.redis).queue(of: "{acme}:mail")
            #expect(one.keys.path == "b*:{acme}:mail")
        }
    }

    @Test("a tenant's backlog has an end: one more is refused, and nothing of it is left")
    func backlog() async throws {
        try await withBench { bench in
            var terms = TenantQueues.Terms()
            terms.queuedMax = 3
            let queues = TenantQueues("send", redis: bench.redis, terms: { [terms] _ in terms })
            try await queues.add(Array(repeating: NewJob("n"), count: 3), of: "t")
            let error = await #expect(throws: JobQueueError.self) {
                try await queues.add([NewJob("n")], of: "t")
            }
            #expect(error?.code == .backlogFull)
            #expect(try await queues.queue(of: "t").counts()[.waiting] == 3)
        }
    }

    @Test("a job that comes while its tenant is taken out of the ring is not forgotten")
    func generations() async throws {
        try await withBench { bench in
            let ring = TenantRing("r", redis: bench.redis)
            try await ring.ring(["t"])
            let look = try await ring.look(now: 1, limit: 10)
            let seen = try #require(look.due.first)
            try await ring.ring(["t"])
            #expect(try await !ring.settle("t", generation: seen.generation, next: nil))
            let again = try #require(try await ring.look(now: 1, limit: 10).due.first)
            #expect(try await ring.settle("t", generation: again.generation, next: nil))
            #expect(try await ring.look(now: 1, limit: 10).due.isEmpty)
            // Rung anew it has a number of its own, which no older look has seen.
            try await ring.ring(["t"])
            #expect(try await !ring.settle("t", generation: seen.generation, next: nil))
            #expect(try await !ring.settle("t", generation: again.generation, next: nil))
        }
    }
}
