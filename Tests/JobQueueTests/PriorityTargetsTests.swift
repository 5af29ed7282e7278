import EventLoop
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("Priorities with targets", .serialized)
@LoopActor
struct PriorityTargetsTests {
    private func job(_ name: String, _ priority: Int, minutesAgo: Int64 = 0) -> NewJob {
        var options = JobOptions()
        options.priority = priority
        options.timestamp = WallClock.milliseconds() - minutesAgo * 60_000
        return NewJob(name, options: options)
    }

    /// The names of the jobs in the order in which they are taken.
    private func order(
        _ bench: Bench,
        _ jobs: [NewJob],
        _ targets: PriorityTargets?
    ) async throws -> [String] {
        try await bench.queue.add(contentsOf: jobs)
        var settings = WorkerConfiguration()
        settings.targets = targets
        let reply = try await bench.queue.exchange(
            [],
            taking: jobs.count + 1,
            as: settings,
            token: "t",
            first: 0
        )
        #expect(reply.answer == .empty)
        return reply.jobs.map(\.job.name)
    }

    @Test("what waits beyond its target overtakes; who gives no priority has the normal one")
    func overtaking() async throws {
        let jobs = [
            job("low, old", 5, minutesAgo: 122), job("low", 5), job("urgent", 1),
            job("none, old", 0, minutesAgo: 11), job("none", 0), job("normal", 3, minutesAgo: 9),
        ]
        try await withBench { bench in
            let names = try await order(bench, jobs, .standard)
            #expect(names == ["low, old", "none, old", "urgent", "normal", "none", "low"])
        }
        try await withBench { bench in
            let names = try await order(bench, jobs, nil)
            #expect(names == ["none, old", "none", "urgent", "normal", "low, old", "low"])
        }
    }

    @Test("equals keep their order, and the last target is for all larger numbers")
    func equals() async throws {
        try await withBench { bench in
            let targets = try PriorityTargets(milliseconds: [0, 60_000])
            let jobs = (0..<3).flatMap { [job("a\($0)", 1), job("b\($0)", 900)] }
            let names = try await order(bench, jobs, targets)
            #expect(names.filter { $0.hasPrefix("a") } == ["a0", "a1", "a2"])
            #expect(names.filter { $0.hasPrefix("b") } == ["b0", "b1", "b2"])
        }
    }

    @Test("an endless stream of urgent jobs starves nobody")
    func starvation() async throws {
        try await withBench { bench in
            try await bench.queue.add(job("patient", 2))
            var settings = WorkerConfiguration()
            settings.targets = try PriorityTargets(milliseconds: [0, 0, 300])
            var isServed = false
            var urgent = 0
            try await bench.queue.add(contentsOf: (0..<20).map { _ in job("urgent", 1) })
            try await bench.withWorker(
                settings,
                processor: { active in
                    if active.job.name == "patient" { isServed = true }
                    urgent += 1
                    // Two for each that is done: there are always urgent ones.
                    if !isServed { try await bench.queue.add(job("urgent", 1)) }
                    try await EventLoop.shared.sleep(for: .milliseconds(5))
                    return "1"
                }
            ) { _ in
                try await comesAbout { isServed }
            }
            #expect(urgent > 10)
        }
    }

    @Test("a delay is no waiting, and a stray id at the head is dropped")
    func delays() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.priority = 5
            options.delay = 3 * 3_600_000
            options.timestamp = WallClock.milliseconds() - options.delay
            _ = try await bench.send("RPUSH", bench.key("wait"), "ghost")
            _ = try await bench.send("ZADD", bench.key("prioritized"), "1", "spirit")
            let names = try await order(
                bench,
                [NewJob("was delayed", options: options), job("urgent", 1)],
                .standard
            )
            #expect(names == ["urgent", "was delayed"])
            #expect(try await bench.queue.counts()[.active] == 2)
        }
    }

    @Test("targets are from 0 ms on, one to sixteen of them")
    func bounds() {
        for bad in [[], [-1], Array(repeating: 1, count: 17)] as [[Int64]] {
            #expect(throws: JobQueueError.self) { try PriorityTargets(milliseconds: bad) }
        }
    }
}
