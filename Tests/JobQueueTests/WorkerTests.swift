import EventLoop
import JSON
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("A worker", .serialized)
@LoopActor
struct WorkerTests {
    @Test("hundreds of jobs at once are each run once, and all are recorded")
    func many() async throws {
        try await withBench { bench in
            var ran: [String: Int] = [:]
            var settings = WorkerConfiguration()
            settings.concurrency = 40
            try await bench.queue.add(
                contentsOf: (0..<700).map { NewJob("n", data: "\($0)") }
            )
            try await bench.withWorker(
                settings,
                processor: { active in
                    ran[active.job.id, default: 0] += 1
                    return active.job.dataText
                }
            ) { worker in
                try await comesAbout { try await bench.queue.counts()[.completed] == 700 }
                #expect(worker.activeCount == 0)
            }
            #expect(ran.count == 700 && ran.values.allSatisfy { $0 == 1 })
            #expect(try await bench.send("KEYS", "bull:q:*:lock").array?.isEmpty == true)
            #expect(try await bench.queue.counts()[.active] == 0)
        }
    }

    @Test("a stop lets jobs end and records them; those not begun go back to the front")
    func graceful() async throws {
        try await withBench { bench in
            try await bench.queue.add(contentsOf: (0..<3).map { NewJob("n", data: "\($0)") })
            var started = 0
            try await bench.withWorker(processor: { _ in
                started += 1
                try await EventLoop.shared.sleep(for: .milliseconds(150))
                return "1"
            }) { _ in
                try await comesAbout { started == 1 }
            }
            let counts = try await bench.queue.counts()
            #expect(counts[.completed] == 1 && counts[.waiting] == 2 && counts[.active] == 0)
        }
    }

    @Test("a stop by force leaves its jobs to others, who run them again")
    func forced() async throws {
        try await withBench { bench in
            var settings = WorkerConfiguration()
            settings.lock = .milliseconds(200)
            settings.stalledInterval = .milliseconds(100)
            try await bench.queue.add(NewJob("n"))
            var starts = 0
            let stuck = Worker(
                bench.queue,
                connection: bench.configuration,
                configuration: settings,
                processor: { _ in
                    starts += 1
                    try await EventLoop.shared.sleep(for: .seconds(60))
                    return "1"
                }
            )
            await stuck.start()
            try await comesAbout { starts == 1 }
            await stuck.stop(within: .milliseconds(20))
            #expect(try await bench.queue.counts()[.active] == 1)
            try await bench.withWorker(settings, processor: { _ in "2" }) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] == 1 }
            }
            let job = try #require(try await bench.queue.job("1"))
            #expect(job.stalledCount == 1 && job.attemptsStarted == 2 && job.returnValue == "2")
        }
    }

    @Test("locks are renewed while a job runs much longer than its lock")
    func renewal() async throws {
        try await withBench { bench in
            var settings = WorkerConfiguration()
            settings.lock = .milliseconds(200)
            settings.stalledInterval = .milliseconds(50)
            try await bench.queue.add(NewJob("n"))
            try await bench.withWorker(
                settings,
                processor: { _ in
                    try await EventLoop.shared.sleep(for: .milliseconds(900))
                    return "1"
                }
            ) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] == 1 }
            }
            let job = try #require(try await bench.queue.job("1"))
            #expect(job.stalledCount == 0 && job.attemptsStarted == 1)
        }
    }

    @Test("a worker that lost its lock is told, and its result does not count")
    func lostLock() async throws {
        try await withBench { bench in
            var settings = WorkerConfiguration()
            settings.lock = .milliseconds(200)
            try await bench.queue.add(NewJob("n"))
            var lost: [JobQueueError.Code] = []
            var wasCancelled = false
            try await bench.withWorker(
                settings,
                observer: { if case .lost(_, let error) = $0 { lost.append(error.code) } },
                processor: { active in
                    let lock = bench.key("\(active.job.id):lock")
                    _ = try await bench.send("SET", lock, "somebody else")
                    do { try await EventLoop.shared.sleep(for: .seconds(30)) } catch {
                        wasCancelled = active.isLost
                    }
                    return "mine"
                }
            ) { _ in
                try await comesAbout { !lost.isEmpty }
            }
            #expect(lost == [.lockTaken] && wasCancelled)
            #expect(try await bench.queue.job("1")?.returnValue == nil)
        }
    }

    @Test("a failure goes through its back-off, and only the last one is final")
    func retries() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.attempts = 3
            options.backoff = .fixed(30)
            options.stackTraceLimit = 2
            try await bench.queue.add(NewJob("n", options: options))
            struct Broken: Error {}
            try await bench.withWorker(processor: { _ in throw Broken() }) { _ in
                try await comesAbout { try await bench.queue.counts()[.failed] == 1 }
            }
            let job = try #require(try await bench.queue.job("1"))
            #expect(job.attemptsMade == 3 && job.attemptsStarted == 3 && job.stackTrace.count == 2)
            let events = try await bench.events()
            #expect(events.count { $0 == "failed" } == 1)
            #expect(events.count { $0 == "delayed" } == 2)
            #expect(events.suffix(3) == ["failed", "retries-exhausted", "drained"])
        }
    }

    @Test("a job that puts itself off runs again as the same attempt")
    func putsOff() async throws {
        try await withBench { bench in
            try await bench.queue.add(NewJob("n"))
            try await bench.withWorker(processor: { active in
                if active.job.attemptsStarted == 1 {
                    throw JobInterruption.delay(milliseconds: 30)
                }
                return "1"
            }) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] == 1 }
            }
            let job = try #require(try await bench.queue.job("1"))
            #expect(job.attemptsStarted == 2 && job.attemptsMade == 1)
        }
    }

    @Test("a limit met elsewhere stops the worker for its time, and the job is first again")
    func limitedElsewhere() async throws {
        try await withBench { bench in
            var settings = WorkerConfiguration()
            settings.limit = .init(count: 100, window: 1000)
            try await bench.queue.add(contentsOf: [NewJob("a"), NewJob("b")])
            var order: [String] = []
            let begun = MonotonicTime.now()
            try await bench.withWorker(
                settings,
                processor: { active in
                    if order.isEmpty {
                        order.append("limited")
                        throw JobInterruption.rateLimited(milliseconds: 200)
                    }
                    order.append(active.job.name)
                    return "1"
                }
            ) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] == 2 }
            }
            #expect(order == ["limited", "a", "b"])
            #expect(MonotonicTime.now() - begun >= .milliseconds(190))
            #expect(try await bench.queue.job("1")?.attemptsMade == 1)
        }
    }

    @Test("paused, the worker takes nothing; resumed, it goes on at once")
    func pausing() async throws {
        try await withBench { bench in
            var ran = 0
            try await bench.withWorker(processor: { _ in
                ran += 1
                return "1"
            }) { worker in
                worker.pause()
                try await bench.queue.add(NewJob("n"))
                try await EventLoop.shared.sleep(for: .milliseconds(200))
                #expect(ran == 0)
                worker.resume()
                try await comesAbout(within: .seconds(2)) { ran == 1 }
            }
        }
    }
}
