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
            #expect(verdict == RateVerdict(admitted: true, count: hit))
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
            #expect(verdict == RateVerdict(admitted: true, count: 1))
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
