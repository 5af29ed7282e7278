import EventLoop
import Foundation
import RedisClient
import Testing

@testable import messaging

private let redisURL = ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_REDIS_URL"]

@Suite(
    "SessionCache",
    .timeLimit(.minutes(1)),
    .enabled(if: redisURL != nil, "SWITCHBOARD_TEST_REDIS_URL is not set")
)
@LoopActor
struct SessionCacheTests {
    private let tenant = "t-\(UUID().uuidString.lowercased())"

    private func redis() async throws -> RedisClient {
        let client = RedisClient(try RedisConfiguration(url: redisURL ?? ""))
        try await client.start()
        return client
    }

    /// The document of a session of `user` that was made in this second.
    private func session(_ user: String, made second: Int) -> [UInt8] {
        let made = "2026-01-01T00:00:0\(second).000Z"
        return Array(
            #"{"socket_id":"s","session_id":"\#(user)-1","user_id":"\#(user)","created_at":"\#(made)"}"#
                .utf8
        )
    }

    private func found(_ cache: SessionCache) async -> String {
        switch await cache.get(tenant, "s") {
        case .found(let document): String(decoding: document, as: UTF8.self)
        case .gone: "gone"
        case .unknown: "unknown"
        }
    }

    @Test("what comes late of a session changes nothing of the one that came after it")
    func late() async throws {
        let cache = SessionCache(redis: try await redis())
        let first = session("anna", made: 1)
        let second = session("ben", made: 2)
        await cache.put(tenant, "s", first)
        await cache.put(tenant, "s", second)
        await cache.forget(tenant, "s", first)
        #expect(await found(cache).contains("ben"))
        await cache.put(tenant, "s", first)
        #expect(await found(cache).contains("ben"))
    }

    @Test("nothing that was read of a session before it ended is put over its end")
    func ended() async throws {
        let cache = SessionCache(redis: try await redis())
        let first = session("anna", made: 1)
        await cache.put(tenant, "s", first)
        await cache.forget(tenant, "s", first)
        await cache.put(tenant, "s", first)
        #expect(await found(cache) == "gone")
        await cache.put(tenant, "s", session("ben", made: 2))
        #expect(await found(cache).contains("ben"))
    }

    @Test("an entry is believed until its row is to be looked at again")
    func checked() async throws {
        let redis = try await redis()
        let cache = SessionCache(redis: redis)
        #expect(await found(cache) == "unknown")
        await cache.put(tenant, "s", session("anna", made: 1))
        #expect(await found(cache).contains("anna"))
        let key = "session:{\(tenant)}:s"
        let entry = try await redis.send(["GET", .string(key)]).bytes ?? []
        let parts = String(decoding: entry, as: UTF8.self).split(separator: " ", maxSplits: 1)
        let checked = try #require(parts.first.flatMap { Int64($0) })
        let age = UserSessionService.checkInterval.milliseconds + 1
        _ = try await redis.send(["SET", .string(key), .string("\(checked - age) \(parts[1])")])
        #expect(await found(cache) == "unknown")
    }
}
