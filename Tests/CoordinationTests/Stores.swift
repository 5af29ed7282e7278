import EventLoop
import Foundation
import RedisClient
import Testing

@testable import Coordination

/// The Redis that the environment offers; suites that need one are skipped by name without it.
enum TestRedis {
    static let url = ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_REDIS_URL"]

    @LoopActor static func client() async throws -> RedisClient {
        let client = RedisClient(try RedisConfiguration(url: url ?? ""))
        try await client.start()
        return client
    }

    /// A tenant that no other test uses.
    static func tenant() -> String { "t-\(UUID().uuidString.lowercased())" }

    /// A key that no other test uses.
    static func key(_ name: String) -> String {
        "test:{\(UUID().uuidString.lowercased())}:\(name)"
    }
}

/// Which implementation of a protocol a conformance test runs on.
enum Kind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case memory, redis

    var testDescription: String { rawValue }

    static var available: [Kind] { TestRedis.url == nil ? [.memory] : allCases }

    @LoopActor func locks() async throws -> any LockStore {
        self == .memory ? MemoryLockStore() : RedisLockStore(try await TestRedis.client())
    }

    @LoopActor func limiter(_ algorithm: RateLimitAlgorithm) async throws -> any RateLimiter {
        self == .memory
            ? MemoryRateLimiter(algorithm: algorithm)
            : RedisRateLimiter(try await TestRedis.client(), algorithm: algorithm)
    }

    @LoopActor func pacer() async throws -> any Pacer {
        self == .memory ? MemoryPacer() : RedisPacer(try await TestRedis.client())
    }

    @LoopActor func cache() async throws -> any GenerationCache {
        self == .memory
            ? MemoryGenerationCache() : RedisGenerationCache(try await TestRedis.client())
    }

    @LoopActor func presence() async throws -> any Presence {
        self == .memory ? MemoryPresence() : RedisPresence(try await TestRedis.client())
    }

    @LoopActor func contexts() async throws -> any RoundRobinContextProvider {
        self == .memory
            ? InMemoryRoundRobinContextProvider()
            : RedisRoundRobinContextProvider(try await TestRedis.client())
    }
}
