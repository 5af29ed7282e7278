import EventLoop
import JSON
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("A queue", .serialized)
@LoopActor
struct QueueTests {
    @Test("thousands in bulk keep their order and get an id each")
    func bulk() async throws {
        try await withBench { bench in
            let ids = try await bench.queue.add(
                contentsOf: (0..<1234).map { NewJob("n", data: "\($0)") }
            )
            #expect(ids == (1...1234).map { "\($0)" })
            let jobs = try await bench.queue.jobs(.waiting, from: 1000, count: 3)
            #expect(jobs.map(\.dataText) == ["1000", "1001", "1002"])
            #expect(try await bench.queue.counts()[.waiting] == 1234)
        }
    }

    @Test("one bad job among many: nothing is added")
    func badJob() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.priority = -1
            let jobs = [NewJob("good"), NewJob("bad", options: options)]
            await #expect(throws: JobQueueError.self) {
                try await bench.queue.add(contentsOf: jobs)
            }
            let keys = try await bench.send("DBSIZE")
            #expect(keys == .int(0))
        }
    }

    @Test("5,000 jobs of one millisecond: order is kept for 4,096, and none is lost")
    func crowdedMillisecond() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.delay = 60_000
            options.timestamp = WallClock.milliseconds()
            try await bench.queue.add(
                contentsOf: (0..<5000).map { NewJob("n", data: "\($0)", options: options) }
            )
            #expect(try await bench.queue.counts()[.delayed] == 5000)
            let first = try await bench.queue.ids(.delayed, count: 4095)
            #expect(first == (1...4095).map { "\($0)" })
        }
    }

    @Test("a new priority moves a job, from wait and back, and to the front if asked")
    func priorities() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.priority = 5
            try await bench.queue.add(contentsOf: [
                NewJob("a"), NewJob("b", options: options), NewJob("c", options: options),
            ])
            try await bench.queue.setPriority(of: "1", to: 5)
            #expect(try await bench.queue.ids(.prioritized) == ["2", "3", "1"])
            try await bench.queue.setPriority(of: "1", to: 5, isFirst: true)
            #expect(try await bench.queue.ids(.prioritized) == ["1", "2", "3"])
            try await bench.queue.setPriority(of: "3", to: 0)
            #expect(try await bench.queue.ids(.waiting) == ["3"])
            let error = await #expect(throws: JobQueueError.self) {
                try await bench.queue.setPriority(of: "9", to: 1)
            }
            #expect(error?.code == .jobMissing)
        }
    }

    @Test("a delayed job is put off anew; any other is not")
    func delays() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.delay = 60_000
            try await bench.queue.add(contentsOf: [NewJob("a", options: options), NewJob("b")])
            try await bench.queue.setDelay(of: "1", to: 1000)
            #expect(try await bench.queue.job("1")?.delay == 1000)
            let error = await #expect(throws: JobQueueError.self) {
                try await bench.queue.setDelay(of: "2", to: 1)
            }
            #expect(error?.code == .wrongState)
            #expect(try await bench.queue.promoteAll() == 1)
            #expect(try await bench.queue.ids(.waiting) == ["2", "1"])
        }
    }

    @Test("all failed jobs run again, some thousand of them")
    func retryAll() async throws {
        try await withBench { bench in
            try await bench.queue.add(contentsOf: (0..<2300).map { NewJob("n", data: "\($0)") })
            var settings = WorkerConfiguration()
            settings.concurrency = 64
            var isBroken = true
            struct Broken: Error {}
            try await bench.withWorker(
                settings,
                processor: { _ in
                    if isBroken { throw Broken() }
                    return "1"
                }
            ) { worker in
                try await comesAbout { try await bench.queue.counts()[.failed] == 2300 }
                isBroken = false
                var reports: [Int] = []
                #expect(try await bench.queue.retryAll { reports.append($0) } == 2300)
                #expect(reports == [1000, 2000, 2300])
                try await comesAbout { try await bench.queue.counts()[.completed] == 2300 }
            }
            #expect(try await bench.queue.job("7")?.attemptsMade == 2)
        }
    }

    @Test("cleaning takes the old and leaves the young, the held and the planned")
    func cleaning() async throws {
        try await withBench { bench in
            var old = JobOptions()
            old.timestamp = WallClock.milliseconds() - 100_000
            try await bench.queue.add(contentsOf: [
                NewJob("held", options: old), NewJob("old", options: old), NewJob("young"),
            ])
            _ = try await bench.queue.exchange(
                [],
                taking: 1,
                as: WorkerConfiguration(),
                token: "t",
                first: 0
            )
            #expect(try await bench.queue.clean(.active, grace: 0) == [])
            #expect(try await bench.queue.clean(.waiting, grace: 50_000) == ["2"])
            try await bench.queue.upsert(
                JobScheduler(id: "s", .pattern("0 0 1 1 *", zone: nil), name: "planned")
            )
            try await bench.queue.drain(delayed: true)
            let counts = try await bench.queue.counts()
            #expect(counts[.delayed] == 1 && counts[.waiting] == 0 && counts[.active] == 1)
        }
    }

    @Test("a child of another parent is refused, and one of no parent is adopted")
    func adoption() async throws {
        try await withBench { bench in
            let keys = bench.queue.keys
            var child = JobOptions()
            child.id = "c"
            for id in ["p", "q"] {
                var options = JobOptions()
                options.id = id
                let flow = Flow(
                    queue: keys,
                    job: NewJob(id, options: options),
                    children: [Flow(queue: keys, job: NewJob("x"))]
                )
                try await bench.queue.add(flow)
            }
            try await bench.queue.add(NewJob("c", options: child))
            let first = ParentReference(queue: keys, id: "p")
            #expect(try await bench.queue.add(NewJob("c", options: child), parent: first) == "c")
            #expect(try await bench.queue.job("c")?.parentKey == keys.job("p"))
            #expect(try await bench.send("SCARD", bench.key("p:dependencies")) == .int(2))
            let other = ParentReference(queue: keys, id: "q")
            let refused = await #expect(throws: JobQueueError.self) {
                try await bench.queue.add(NewJob("c", options: child), parent: other)
            }
            #expect(refused?.code == .otherParent)
            let missing = ParentReference(queue: keys, id: "nobody")
            let orphan = await #expect(throws: JobQueueError.self) {
                try await bench.queue.add(NewJob("d"), parent: missing)
            }
            #expect(orphan?.code == .parentMissing)
        }
    }

    @Test("removing a parent removes its children, unless one is being worked on")
    func removingFamilies() async throws {
        try await withBench { bench in
            let keys = bench.queue.keys
            var options = JobOptions()
            options.id = "p"
            let flow = Flow(
                queue: keys,
                job: NewJob("p", options: options),
                children: [
                    Flow(queue: keys, job: NewJob("a")), Flow(queue: keys, job: NewJob("b")),
                ]
            )
            let ids = try await bench.queue.add(flow)
            _ = try await bench.send("SET", bench.key("\(ids[1]):lock"), "somebody")
            #expect(try await !bench.queue.remove("p"))
            _ = try await bench.send("DEL", bench.key("\(ids[1]):lock"))
            #expect(try await bench.queue.remove("p"))
            #expect(try await bench.queue.counts().values.reduce(0, +) == 0)
            #expect(try await bench.send("KEYS", "*dependencies").array?.isEmpty == true)
        }
    }

    @Test("a job that finds its children open waits for them and goes on after the last one")
    func waitsForChildren() async throws {
        try await withBench { bench in
            try await bench.queue.add(NewJob("parent"))
            var order: [String] = []
            try await bench.withWorker(processor: { active in
                order.append(active.job.name)
                guard active.job.name == "parent" else { return "7" }
                if active.job.attemptsStarted == 1 {
                    let parent = ParentReference(queue: bench.queue.keys, id: active.job.id)
                    try await bench.queue.add(NewJob("child"), parent: parent)
                    throw JobInterruption.waitingForChildren
                }
                return try await bench.queue.childValues(of: active.job.id).values.joined()
            }) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] == 2 }
            }
            #expect(order == ["parent", "child", "parent"])
            #expect(try await bench.queue.job("1")?.returnValue == "7")
        }
    }

    @Test(
        "an event reader sees what happens from its start on, and all from the beginning if asked"
    )
    func events() async throws {
        try await withBench { bench in
            try await bench.queue.add(NewJob("before"))
            let reader = QueueEvents(bench.queue.keys, connection: bench.configuration)
            try await reader.start()
            try await bench.queue.add(NewJob("after"))
            var seen: [QueueEvent] = []
            while seen.count < 2 { seen += try await reader.next() }
            #expect(seen.map(\.name) == ["added", "waiting"])
            #expect(seen.first?.fields == ["jobId": "2", "name": "after"])
            await reader.stop()
            let all = QueueEvents(bench.queue.keys, connection: bench.configuration, after: "0")
            try await all.start()
            #expect(try await all.next().count == 4)
            await all.stop()
        }
    }
}
