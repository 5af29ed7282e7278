import EventLoop
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("Deduplication", .serialized)
@LoopActor
struct DeduplicationTests {
    private func job(
        _ data: Int,
        delay: Int64 = 0,
        _ deduplication: Deduplication
    ) -> NewJob {
        var options = JobOptions()
        options.delay = delay
        options.deduplication = deduplication
        return NewJob("n", data: "\(data)", options: options)
    }

    @Test("simple: one job until it is finished; the other's id is answered")
    func simple() async throws {
        try await withBench { bench in
            let mode = Deduplication(id: "k")
            let ids = try await bench.queue.add(contentsOf: [job(1, mode), job(2, mode)])
            #expect(ids == ["1", "1"])
            #expect(try await bench.events().suffix(1) == ["deduplicated"])
            #expect(try await bench.send("PTTL", bench.key("de:k")) == .int(-1))
        }
    }

    @Test("throttle: one job in a time that runs on; extend: in a time that begins anew")
    func times() async throws {
        try await withBench { bench in
            let throttle = Deduplication(id: "t", ttl: 60_000)
            let extend = Deduplication(id: "e", ttl: 60_000, extend: true)
            try await bench.queue.add(contentsOf: [job(1, throttle), job(2, extend)])
            for id in ["t", "e"] {
                _ = try await bench.send("PEXPIRE", bench.key("de:\(id)"), 5000)
            }
            let ids = try await bench.queue.add(contentsOf: [job(3, throttle), job(4, extend)])
            #expect(ids == ["1", "2"])
            #expect(try await bench.send("PTTL", bench.key("de:t")).integer ?? 0 <= 5000)
            #expect(try await bench.send("PTTL", bench.key("de:e")).integer ?? 0 > 50_000)
        }
    }

    @Test("debounce: the last of several delayed jobs takes the place of those before")
    func debounce() async throws {
        try await withBench { bench in
            let mode = Deduplication(id: "d", ttl: 60_000, replace: true)
            #expect(try await bench.queue.add(job(1, delay: 30_000, mode)) == "1")
            _ = try await bench.send("PEXPIRE", bench.key("de:d"), 5000)
            #expect(try await bench.queue.add(job(2, delay: 30_000, mode)) == "2")
            #expect(try await bench.queue.ids(.delayed) == ["2"])
            #expect(try await bench.queue.job("1") == nil)
            #expect(try await bench.send("GET", bench.key("de:d")).text == "2")
            #expect(try await bench.send("PTTL", bench.key("de:d")).integer ?? 0 <= 5000)
            #expect(try await bench.events().suffix(4).prefix(2) == ["removed", "deduplicated"])
            // Once it is no longer delayed it stays, and the new one is dropped without a word.
            try await bench.queue.promote("2")
            let before = try await bench.events().count
            #expect(try await bench.queue.add(job(3, delay: 30_000, mode)) == "2")
            #expect(try await bench.events().count == before)
        }
    }

    @Test("keep the last: what comes while the first one runs is run after it, the last of them")
    func keepLast() async throws {
        try await withBench { bench in
            let mode = Deduplication(id: "k", keepLastIfActive: true)
            try await bench.queue.add(job(1, mode))
            var ran: [String] = []
            try await bench.withWorker(processor: { active in
                ran.append(active.job.dataText)
                if ran.count == 1 {
                    for data in 2...4 { try await bench.queue.add(job(data, mode)) }
                }
                return "1"
            }) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] == 2 }
            }
            #expect(ran == ["1", "4"])
            #expect(try await bench.send("EXISTS", bench.key("de:k"), bench.key("dn:k")) == .int(0))
        }
    }

    @Test("an id whose job is gone without freeing it is free again")
    func stale() async throws {
        try await withBench { bench in
            let mode = Deduplication(id: "k")
            try await bench.queue.add(job(1, mode))
            _ = try await bench.send("DEL", bench.key("1"), bench.key("wait"))
            #expect(try await bench.queue.add(job(2, mode)) == "2")
        }
    }

    @Test("removing a job frees its id")
    func removal() async throws {
        try await withBench { bench in
            try await bench.queue.add(job(1, Deduplication(id: "k")))
            #expect(try await bench.queue.remove("1"))
            #expect(try await bench.send("EXISTS", bench.key("de:k")) == .int(0))
        }
    }
}
