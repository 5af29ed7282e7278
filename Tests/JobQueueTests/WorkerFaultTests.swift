import EventLoop
import JSON
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("A worker when things break", .serialized)
@LoopActor
struct WorkerFaultTests {
    @Test("Redis answers nothing for a while: outcomes are kept, and nothing runs twice")
    func silence() async throws {
        try await withBench { bench in
            try await bench.queue.add(contentsOf: (0..<20).map { NewJob("n", data: "\($0)") })
            var ran = 0
            var settings = WorkerConfiguration()
            settings.concurrency = 4
            try await bench.withWorker(
                settings,
                processor: { _ in
                    ran += 1
                    if ran == 8 { await bench.server.pause() }
                    try await EventLoop.shared.sleep(for: .milliseconds(20))
                    return "1"
                }
            ) { _ in
                try await comesAbout { ran >= 8 }
                try await EventLoop.shared.sleep(for: .milliseconds(1500))
                await bench.server.resume()
                try await comesAbout {
                    (try? await bench.queue.counts()[.completed]) == 20
                }
            }
            #expect(ran == 20)
        }
    }

    @Test("Redis dies and comes back: the worker goes on within five seconds")
    func restart() async throws {
        try await withBench { bench in
            var ran = 0
            try await bench.withWorker(processor: { _ in
                ran += 1
                return "1"
            }) { _ in
                try await bench.queue.add(NewJob("before"))
                try await comesAbout { ran == 1 }
                await bench.server.kill()
                await #expect(throws: JobQueueError.self) {
                    try await bench.queue.add(NewJob("while away"))
                }
                try await bench.server.restart()
                let back = MonotonicTime.now()
                try await comesAbout {
                    (try? await bench.queue.add(NewJob("after"))) != nil
                }
                try await comesAbout { ran == 2 }
                #expect(MonotonicTime.now() - back < .seconds(5))
            }
        }
    }

    @Test("Redis is full: adding says so and leaves nothing, jobs that run are still recorded")
    func full() async throws {
        try await withBench(["--maxmemory-policy", "noeviction"]) { bench in
            try await bench.queue.add(contentsOf: [NewJob("a"), NewJob("b")])
            var ran = 0
            try await bench.withWorker(processor: { _ in
                ran += 1
                if ran == 1 { _ = try await bench.send("CONFIG", "SET", "maxmemory", "1") }
                return "1"
            }) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] ?? 0 >= 1 }
                let counter = try await bench.send("GET", bench.key("id"))
                let error = await #expect(throws: JobQueueError.self) {
                    try await bench.queue.add(NewJob("refused"))
                }
                #expect(error?.redis?.serverCode == "OOM" && error?.redis?.countsAsDown == true)
                #expect(try await bench.send("GET", bench.key("id")) == counter)
                _ = try await bench.send("CONFIG", "SET", "maxmemory", "0")
                try await bench.queue.add(NewJob("c"))
                try await comesAbout { try await bench.queue.counts()[.completed] == 3 }
            }
            #expect(ran == 3)
        }
    }

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
}
