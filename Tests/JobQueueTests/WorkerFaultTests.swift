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
}
