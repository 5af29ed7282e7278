import EventLoop
import Foundation
import RedisClient
import Testing

@testable import Coordination

@Suite("RoundRobinContextProvider conformance")
struct RoundRobinTests {
    @Test("the first turn is 0, and turns wrap", arguments: Kind.available)
    @LoopActor func turns(kind: Kind) async throws {
        let contexts = try await kind.contexts()
        let key = UUID().uuidString.lowercased()
        var seen: [Int] = []
        for _ in 0..<7 {
            seen.append(try await contexts.getNextIndex(contextKey: key, candidateCount: 3))
        }
        #expect(seen == [0, 1, 2, 0, 1, 2, 0])
    }

    @Test("contexts do not share their turns", arguments: Kind.available)
    @LoopActor func separate(kind: Kind) async throws {
        let contexts = try await kind.contexts()
        let (one, other) = (UUID().uuidString, UUID().uuidString)
        _ = try await contexts.getNextIndex(contextKey: one, candidateCount: 5)
        #expect(try await contexts.getNextIndex(contextKey: other, candidateCount: 5) == 0)
    }

    @Test("an instance that began without Redis joins the others when it is there")
    @LoopActor func bootFallback() async throws {
        let shared = CountingContexts()
        let contexts = BootFallbackRoundRobinContextProvider(
            shared: shared,
            wasReached: { shared.wasReached },
            fallback: .off,
            alone: { Issue.record("no turn may be counted apart") }
        )
        #expect(contexts.name == "memory")
        _ = try await contexts.getNextIndex(contextKey: "k", candidateCount: 2)
        #expect(shared.calls == 0)
        shared.wasReached = true
        #expect(contexts.name == "redis")
        _ = try await contexts.getNextIndex(contextKey: "k", candidateCount: 2)
        #expect(shared.calls == 1)
        // Once joined it does not go back: that would split the turns.
        shared.isBroken = true
        await #expect(throws: CoordinationError.self) {
            try await contexts.getNextIndex(contextKey: "k", candidateCount: 2)
        }
    }

    @Test("with the fallback to memory a failing counter fails nobody")
    @LoopActor func runtimeFallback() async throws {
        let shared = CountingContexts()
        shared.isBroken = true
        var told = 0
        let contexts = BootFallbackRoundRobinContextProvider(
            shared: shared,
            wasReached: { true },
            fallback: .memory,
            alone: { told += 1 }
        )
        #expect(try await contexts.getNextIndex(contextKey: "k", candidateCount: 2) == 0)
        #expect(try await contexts.getNextIndex(contextKey: "k", candidateCount: 2) == 1)
        #expect(told == 2)
    }
}

@Suite("Redis round robin", .enabled(if: TestRedis.url != nil, "needs SWITCHBOARD_TEST_REDIS_URL"))
struct RedisRoundRobinTests {
    @Test("three instances share the turns without a repeat; the key and its week are as published")
    @LoopActor func shared() async throws {
        let key = UUID().uuidString.lowercased()
        var tasks: [Task<Int, any Error>] = []
        for _ in 0..<3 {
            let contexts = RedisRoundRobinContextProvider(try await TestRedis.client())
            for _ in 0..<10 {
                tasks.append(
                    Task { @LoopActor in
                        try await contexts.getNextIndex(contextKey: key, candidateCount: 30)
                    }
                )
            }
        }
        var seen: Set<Int> = []
        for task in tasks { seen.insert(try await task.value) }
        #expect(seen == Set(0..<30))
        let redis = try await TestRedis.client()
        let ttl = try await redis.send(["TTL", .string("assignment:rr:\(key)")]).integer ?? 0
        #expect((604_798...604_800).contains(ttl))
        // Each use begins the week anew.
        _ = try await redis.send(["EXPIRE", .string("assignment:rr:\(key)"), .int(1000)])
        _ = try await RedisRoundRobinContextProvider(redis)
            .getNextIndex(contextKey: key, candidateCount: 30)
        let again = try await redis.send(["TTL", .string("assignment:rr:\(key)")]).integer ?? 0
        #expect((604_798...604_800).contains(again))
    }
}

@LoopActor private final class CountingContexts: RoundRobinContextProvider {
    let name = "redis"
    var calls = 0
    var isBroken = false
    var wasReached = false
    nonisolated init() {}

    func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        if isBroken { throw CoordinationError(operation: "round_robin", message: "away") }
        calls += 1
        return 0
    }
}
