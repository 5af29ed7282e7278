import EventLoop
import JSON
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("A worker among stray data", .serialized)
@LoopActor
struct StrayDataTests {
    @Test("a stray key in one job's place does not hold up the others")
    func strayKeys() async throws {
        try await withBench { bench in
            try await bench.queue.add(contentsOf: (0..<5).map { NewJob("n", data: "\($0)") })
            _ = try await bench.send("DEL", bench.key("2"))
            _ = try await bench.send("SADD", bench.key("2"), "a set")
            _ = try await bench.send("RPUSH", bench.key("3:lock"), "a list")
            _ = try await bench.send("HSET", bench.key("4"), "ats", "many", "atm", "x", "stc", "y")
            _ = try await bench.send("HSET", bench.key("5"), "opts", "{not json")
            try await bench.withWorker(processor: { _ in "1" }) { _ in
                try await comesAbout {
                    let counts = try await bench.queue.counts()
                    return counts[.completed] == 3 && counts[.failed] == 1
                }
            }
            let broken = try #require(try await bench.queue.job("5"))
            #expect(broken.failedReason == "the job's options are not a JSON object")
            #expect(try await bench.queue.job("4")?.attemptsMade == 1)
        }
    }

    @Test("no bytes in any field of a job crash a worker or stop the queue")
    func fuzz() async throws {
        try await withBench { bench in
            var random = SeededRandom(seed: 2002)
            let fields = [
                "name", "data", "opts", "timestamp", "delay", "priority", "ats", "atm", "stc",
                "stacktrace", "parentKey", "parent", "rjk", "deid", "defa", "progress",
                "attemptsMade", "failedReason", "finishedOn", "nrjid", "pb", "processedOn",
                "returnvalue", "tm", "unknown",
            ]
            let count = 300
            for number in 0..<count {
                var command: [RedisArgument] = ["HSET", bench.key("f\(number)"), "name", "n"]
                command += ["data", "{}", "opts", "{}"]
                for field in fields where Bool.random(using: &random) {
                    let bytes = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                        UInt8.random(in: 0...255, using: &random)
                    }
                    command += [.string(field), .bytes(bytes)]
                }
                _ = try await bench.redis.send(command)
                let isDelayed = number % 3 == 0
                _ =
                    isDelayed
                    ? try await bench.send("ZADD", bench.key("delayed"), "1", .string("f\(number)"))
                    : try await bench.send("LPUSH", bench.key("wait"), .string("f\(number)"))
            }
            var settings = WorkerConfiguration()
            settings.concurrency = 8
            try await bench.withWorker(settings, processor: { _ in "1" }) { _ in
                try await comesAbout {
                    let counts = try await bench.queue.counts()
                    return (counts[.completed] ?? 0) + (counts[.failed] ?? 0) == count
                }
                try await bench.queue.add(NewJob("healthy"))
                try await comesAbout { try await bench.queue.state(of: "1") == .completed }
            }
        }
    }

    /// Runs `disturb`, adds a job meanwhile, and expects that the next one runs after `mend`.
    private func expectRecovery(
        _ bench: Bench,
        _ what: String,
        disturb: @LoopActor () async throws -> Void,
        mend: @LoopActor () async throws -> Void
    ) async throws {
        try await disturb()
        _ = try? await bench.queue.add(NewJob("meanwhile"))
        try await EventLoop.shared.sleep(for: .milliseconds(30))
        try await mend()
        let id = try await bench.queue.add(NewJob("after"))
        let deadline = MonotonicTime.now() + .seconds(10)
        while try await bench.queue.state(of: id) != .completed {
            guard MonotonicTime.now() < deadline else {
                Issue.record("the queue stands still after \(what)")
                return
            }
            try await EventLoop.shared.sleep(for: .milliseconds(5))
        }
    }

    private var eager: WorkerConfiguration {
        var settings = WorkerConfiguration()
        settings.drainDelay = .milliseconds(50)
        settings.stalledInterval = .milliseconds(50)
        settings.metricsMinutes = 5
        return settings
    }

    @Test(
        "a key of the wrong type in place of any of the queue's stops it, and no longer than it is there"
    )
    func wrongTypes() async throws {
        let endings = [
            "wait", "active", "prioritized", "delayed", "paused", "completed", "failed", "marker",
            "meta", "events", "id", "pc", "stalled", "stalled-check", "limiter", "repeat",
            "metrics:completed", "metrics:completed:data",
        ]
        try await withBench { bench in
            try await bench.withWorker(eager, processor: { _ in "1" }) { _ in
                for ending in endings {
                    let isHash = ["meta", "metrics:completed"].contains(ending)
                    try await expectRecovery(bench, ending) {
                        _ = try await bench.send("DEL", bench.key(ending))
                        _ =
                            isHash
                            ? try await bench.send("SET", bench.key(ending), "text")
                            : try await bench.send("HSET", bench.key(ending), "a", "hash")
                    } mend: {
                        _ = try await bench.send("DEL", bench.key(ending))
                        // A counter that began anew would give the ids of jobs that are there.
                        if ending == "id" {
                            _ = try await bench.send("SET", bench.key("id"), "1000")
                        }
                    }
                }
            }
        }
    }

    @Test("no bytes in the queue's settings crash a worker, and gone they have no effect")
    func settings() async throws {
        var random = SeededRandom(seed: 6)
        let fields = [
            "paused", "concurrency", "max", "duration", "opts.maxLenEvents", "pausedUntil",
            "pausedBy", "pausedReason", "pausedAt", "version",
        ]
        let words = ["nan", "inf", "-1", "1e300", "0x7f", "9223372036854775808", "", "0", "1"]
        try await withBench { bench in
            try await bench.withWorker(eager, processor: { _ in "1" }) { _ in
                for round in 0..<60 {
                    var command: [RedisArgument] = ["HSET", bench.key("meta")]
                    for field in fields where Bool.random(using: &random) {
                        let word = words.randomElement(using: &random) ?? ""
                        let bytes = (0..<6).map { _ in UInt8.random(in: 0...255, using: &random) }
                        command += [.string(field), round % 2 == 0 ? .string(word) : .bytes(bytes)]
                    }
                    guard command.count > 2 else { continue }
                    try await expectRecovery(bench, "\(command)") { [command] in
                        _ = try await bench.redis.send(command)
                        _ = try? await bench.queue.pauseNow()
                        _ = try? await bench.queue.counts()
                    } mend: {
                        _ = try await bench.send("DEL", bench.key("meta"), bench.key("limiter"))
                    }
                }
            }
        }
    }
}
