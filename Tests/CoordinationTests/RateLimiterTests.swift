import EventLoop
import RedisClient
import Testing

@testable import Coordination

@Suite("RateLimiter conformance")
struct RateLimiterTests {
    @Test("the hit over the limit is refused and costs nothing", arguments: Kind.available)
    @LoopActor func limit(kind: Kind) async throws {
        let limiter = try await kind.limiter(.slidingLog)
        let key = TestRedis.key("room")
        for hit in 1...10 {
            let verdict = try await limiter.admit(
                key,
                member: "m\(hit)",
                limit: 10,
                window: .seconds(60)
            )
            #expect(verdict.admitted && verdict.count == hit)
        }
        for _ in 0..<3 {
            let refused = try await limiter.admit(
                key,
                member: "late",
                limit: 10,
                window: .seconds(60)
            )
            #expect(!refused.admitted)
            #expect(refused.count == 10)
            #expect(refused.retryAfter > .seconds(50) && refused.retryAfter <= .seconds(60))
        }
        let other = try await limiter.admit(
            TestRedis.key("room"),
            member: "m1",
            limit: 10,
            window: .seconds(60)
        )
        #expect(other.admitted)
    }

    @Test("a repeat of a counted member is free in the sliding log", arguments: Kind.available)
    @LoopActor func repeats(kind: Kind) async throws {
        let limiter = try await kind.limiter(.slidingLog)
        let key = TestRedis.key("room")
        for _ in 0..<5 {
            let verdict = try await limiter.admit(
                key,
                member: "same",
                limit: 1,
                window: .seconds(60)
            )
            #expect(verdict.admitted && verdict.count == 1)
        }
    }

    @Test("each hit frees its place one window later", arguments: Kind.available)
    @LoopActor func slides(kind: Kind) async throws {
        let limiter = try await kind.limiter(.slidingLog)
        let key = TestRedis.key("room")
        let window: Duration = .milliseconds(200)
        #expect(try await limiter.admit(key, member: "a", limit: 2, window: window).admitted)
        try await EventLoop.shared.sleep(for: .milliseconds(120))
        #expect(try await limiter.admit(key, member: "b", limit: 2, window: window).admitted)
        #expect(try await !limiter.admit(key, member: "c", limit: 2, window: window).admitted)
        try await EventLoop.shared.sleep(for: .milliseconds(100))
        // The place of `a` is free again, that of `b` is not.
        #expect(try await limiter.admit(key, member: "c", limit: 2, window: window).admitted)
    }

    @Test("refused hits do not put the end of a fixed window off", arguments: Kind.available)
    @LoopActor func fixedWindow(kind: Kind) async throws {
        let limiter = try await kind.limiter(.fixedWindow)
        let key = TestRedis.key("room")
        let window: Duration = .milliseconds(250)
        let start = MonotonicTime.now()
        #expect(try await limiter.admit(key, member: "a", limit: 1, window: window).admitted)
        var admittedAgain = false
        while !admittedAgain, MonotonicTime.now() - start < .seconds(5) {
            try await EventLoop.shared.sleep(for: .milliseconds(10))
            admittedAgain =
                try await limiter.admit(key, member: "b", limit: 1, window: window).admitted
        }
        #expect(admittedAgain)
        #expect(MonotonicTime.now() - start >= .milliseconds(240))
    }
}

/// Places that were taken for nothing, or for something that was done late.
@Suite("RateLimiter places")
struct RatePlaceTests {
    /// One limiter with one key.
    @LoopActor
    private struct Log {
        let limiter: any RateLimiter
        let key = TestRedis.key("room")
        let limit: Int
        let window: Duration

        func hit(_ member: String) async throws -> RateVerdict {
            try await limiter.admit(key, member: member, limit: limit, window: window)
        }

        func giveBack(_ member: String, _ verdict: RateVerdict) async throws {
            let place = try #require(verdict.place)
            try await limiter.giveBack(key, member: member, place, window: window)
        }

        func putOff(_ member: String) async throws {
            try await limiter.putOff(key, member: member, window: window)
        }
    }

    @Test("a hit that is taken back frees its place", arguments: Kind.available)
    @LoopActor func taken(kind: Kind) async throws {
        for algorithm in RateLimitAlgorithm.allCases {
            let log = Log(
                limiter: try await kind.limiter(algorithm),
                limit: 2,
                window: .seconds(60)
            )
            let first = try await log.hit("a")
            #expect(try await log.hit("b").admitted)
            let refused = try await log.hit("c")
            #expect(!refused.admitted && refused.place == nil)
            try await log.giveBack("a", first)
            #expect(try await log.hit("c").admitted)
            #expect(try await !log.hit("d").admitted)
            // Twice is once in the log; the counter knows no members, and nobody does that.
            guard algorithm == .slidingLog else { continue }
            try await log.giveBack("a", first)
            #expect(try await !log.hit("d").admitted)
        }
    }

    @Test("a member that was hit again since keeps its place", arguments: Kind.available)
    @LoopActor func again(kind: Kind) async throws {
        let log = Log(
            limiter: try await kind.limiter(.slidingLog),
            limit: 1,
            window: .seconds(60)
        )
        let first = try await log.hit("a")
        let repeated = try await log.hit("a")
        #expect(repeated.admitted && repeated.place != first.place)
        try await log.giveBack("a", first)
        #expect(try await !log.hit("b").admitted)
        // Whoever repeated it, for nothing, leaves the first as it was; that one's owner may go then.
        try await log.giveBack("a", repeated)
        #expect(try await !log.hit("b").admitted)
        try await log.giveBack("a", first)
        #expect(try await log.hit("b").admitted)
    }

    @Test("a repeat counts from now, unless it was for nothing", arguments: Kind.available)
    @LoopActor func restamped(kind: Kind) async throws {
        for isForNothing in [false, true] {
            let log = Log(
                limiter: try await kind.limiter(.slidingLog),
                limit: 1,
                window: .milliseconds(400)
            )
            _ = try await log.hit("a")
            try await EventLoop.shared.sleep(for: .milliseconds(250))
            let repeated = try await log.hit("a")
            if isForNothing { try await log.giveBack("a", repeated) }
            try await EventLoop.shared.sleep(for: .milliseconds(250))
            #expect(try await log.hit("b").admitted == isForNothing)
        }
    }

    @Test("a hit that is put off counts from then", arguments: Kind.available)
    @LoopActor func late(kind: Kind) async throws {
        let log = Log(
            limiter: try await kind.limiter(.slidingLog),
            limit: 1,
            window: .milliseconds(400)
        )
        let first = try await log.hit("a")
        try await EventLoop.shared.sleep(for: .milliseconds(250))
        try await log.putOff("a")
        // It is no longer the first's to take back.
        try await log.giveBack("a", first)
        try await EventLoop.shared.sleep(for: .milliseconds(250))
        #expect(try await !log.hit("b").admitted)
        try await EventLoop.shared.sleep(for: .milliseconds(250))
        #expect(try await log.hit("b").admitted)
    }

    @Test("a hit of a fixed window is not taken back from the next one", arguments: Kind.available)
    @LoopActor func otherWindow(kind: Kind) async throws {
        let log = Log(
            limiter: try await kind.limiter(.fixedWindow),
            limit: 1,
            window: .milliseconds(200)
        )
        let first = try await log.hit("a")
        try await EventLoop.shared.sleep(for: .milliseconds(250))
        #expect(try await log.hit("b").admitted)
        try await log.giveBack("a", first)
        #expect(try await !log.hit("c").admitted)
    }

    @Test("a steady load of 60 % of the limit passes for ten windows", arguments: Kind.available)
    @LoopActor func steady(kind: Kind) async throws {
        for algorithm in RateLimitAlgorithm.allCases {
            let log = Log(
                limiter: try await kind.limiter(algorithm),
                limit: 10,
                window: .milliseconds(120)
            )
            for number in 0..<60 {
                #expect(try await log.hit("m\(number)").admitted)
                try await EventLoop.shared.sleep(for: .milliseconds(20))
            }
        }
    }

    @Test("a burst at a window's border: never more than the limit in any window")
    @LoopActor func border() async throws {
        final class Clock {
            var now = MonotonicTime(nanoseconds: 1_000_000_000)
        }
        let clock = Clock()
        let window: Duration = .seconds(60)
        let log = Log(limiter: MemoryRateLimiter(now: { clock.now }), limit: 10, window: window)
        var done: [(member: String, at: MonotonicTime)] = []
        func burst(_ name: String, after: Duration, fails: Bool = false) async throws -> Int {
            clock.now = clock.now + after
            var admitted = 0
            for number in 0..<10 {
                let verdict = try await log.hit("\(name)\(number)")
                guard verdict.admitted else { continue }
                admitted += 1
                if !fails { done.append(("\(name)\(number)", clock.now)) }
            }
            return admitted
        }
        #expect(try await burst("a", after: .zero, fails: true) == 10)
        // What failed, nobody knows how, is tried again shortly before its window ends.
        #expect(try await burst("a", after: .seconds(50)) == 10)
        #expect(try await burst("b", after: .seconds(10)) == 0)
        #expect(try await burst("b", after: .seconds(50)) == 10)
        #expect(try await burst("c", after: .seconds(59)) == 0)
        #expect(try await burst("c", after: .seconds(1)) == 10)
        for (_, at) in done {
            #expect(done.count { $0.at >= at && $0.at < at + window } <= 10)
        }
    }
}

@Suite("Redis limiter keys", .enabled(if: TestRedis.url != nil, "needs SWITCHBOARD_TEST_REDIS_URL"))
struct RedisLimiterKeyTests {
    @Test("a counter without an expiry repairs itself")
    @LoopActor func repairs() async throws {
        let redis = try await TestRedis.client()
        let key = TestRedis.key("room")
        _ = try await redis.send(["SET", .string(key), 1])
        let limiter = RedisRateLimiter(redis, algorithm: .fixedWindow)
        _ = try await limiter.admit(key, member: "m", limit: 10, window: .seconds(60))
        let left = try await redis.send(["PTTL", .string(key)]).integer ?? -1
        #expect(left > 0 && left <= 60_000)
    }
}
