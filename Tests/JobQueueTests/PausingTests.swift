import EventLoop
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("Pausing a queue", .serialized)
@LoopActor
struct PausingTests {
    @Test("a pause tells why, who and until when; a resume leaves nothing of it")
    func told() async throws {
        try await withBench { bench in
            let until = WallClock.milliseconds() + 60_000
            let pause = QueuePause(reason: "a bad template", author: "ann", until: until)
            try await bench.queue.pause(pause)
            let now = try #require(try await bench.queue.pauseNow())
            #expect(now.reason == "a bad template" && now.author == "ann" && now.until == until)
            #expect(now.since != nil)
            try await bench.queue.pause()
            #expect(try await bench.queue.pauseNow()?.author == nil)
            try await bench.queue.resume()
            #expect(try await bench.queue.pauseNow() == nil)
            let left = try await bench.send("HKEYS", bench.key("meta")).array ?? []
            #expect(left.compactMap(\.text).filter { $0.hasPrefix("paused") } == [])
        }
    }

    @Test("a pause with an end is over by itself: the sleeping worker goes on at that time")
    func ends() async throws {
        try await withBench { bench in
            var ran: [Int64] = []
            try await bench.withWorker(processor: { _ in
                ran.append(WallClock.milliseconds())
                return "1"
            }) { _ in
                let until = WallClock.milliseconds() + 600
                try await bench.queue.pause(QueuePause(until: until))
                try await bench.queue.add(NewJob("n"))
                try await comesAbout { ran.count == 1 }
                #expect(ran[0] >= until && ran[0] < until + 3000)
                #expect(try await !bench.queue.isPaused())
                #expect(try await bench.events().contains("resumed"))
            }
        }
    }

    @Test("of several queues one is paused for a while, and the others go on")
    func fair() async throws {
        try await withBench { bench in
            let queues = TenantQueues("send", redis: bench.redis)
            try await queues.add([NewJob("n")], of: "a")
            try await queues.add([NewJob("n")], of: "b")
            let until = WallClock.milliseconds() + 800
            try await queues.queue(of: "a").pause(QueuePause(until: until))
            var ran: [String: Int64] = [:]
            let worker = FairWorker(
                queues,
                connection: bench.configuration,
                tenants: { ["a", "b"] },
                processor: { active in
                    ran[active.queue.keys.prefix] = WallClock.milliseconds()
                    return "1"
                }
            )
            await worker.start()
            try await comesAbout { ran.count == 2 }
            await worker.stop()
            #expect(try #require(ran["bull:{b}"]) < until)
            #expect(try #require(ran["bull:{a}"]) >= until)
        }
    }

    @Test("with the older clients' list, what was paused comes first when the pause ends")
    func pausedList() async throws {
        try await withBench { bench in
            var settings = Queue.Settings()
            settings.usesPausedList = true
            let queue = Queue(bench.queue.keys, redis: bench.redis, settings: settings)
            try await queue.add(contentsOf: [NewJob("1"), NewJob("2")])
            try await queue.pause(QueuePause(until: WallClock.milliseconds() + 50))
            try await queue.add(NewJob("3"))
            try await comesAbout { try await queue.pauseNow() == nil }
            var ran: [String] = []
            try await bench.withWorker(processor: { active in
                ran.append(active.job.name)
                return "1"
            }) { _ in
                try await comesAbout { ran.count == 3 }
            }
            #expect(ran == ["1", "2", "3"])
        }
    }

    @Test("a pause that would be over already is refused")
    func past() async throws {
        try await withBench { bench in
            let error = await #expect(throws: JobQueueError.self) {
                try await bench.queue.pause(QueuePause(until: 1))
            }
            #expect(error?.code == .invalid)
        }
    }
}
