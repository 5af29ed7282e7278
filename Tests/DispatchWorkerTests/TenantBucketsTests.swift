import EventLoop
import Foundation
import RedisClient
import TestSupport
import Testing

@testable import dispatch_worker

@Suite("TenantBuckets", .serialized, .enabled(if: PrivateRedis.isAvailable))
@LoopActor
struct TenantBucketsTests {
    @Test("requests are spread over eight buckets, the same in every process, each in one slot")
    func spread() throws {
        var counts: [String: Int] = [:]
        for _ in 0..<8000 { counts[TenantBuckets.bucket("acme", UUID()), default: 0] += 1 }
        #expect(Set(counts.keys) == Set((0..<8).map { "acme#\($0)" }))
        #expect(counts.values.allSatisfy { (800...1200).contains($0) })
        let id = try #require(UUID(uuidString: "01a21e98-4ef6-78ec-b786-9439a0efe57e"))
        #expect(TenantBuckets.bucket("acme", id) == "acme#6")
        let tag = TenantBuckets.bucket("acme", id)
        let slots = Set(
            [
                DispatchIdempotencyService.dispatchKey(tag, id),
                DispatchIdempotencyService.sendKey(tag, id),
                MessageRequestProjection.key(tag, id), "bull:{\(tag)}:send-message:meta",
            ].map { RedisKeySlot.slot(of: $0) }
        )
        #expect(slots.count == 1)
        #expect(TenantBuckets.tenant(ofTag: tag) == "acme")
        #expect(TenantBuckets.tenant(ofTag: "acme") == "acme")
    }

    @Test("what one process was told of holds for all, until nobody has named it for a minute")
    func agreement() async throws {
        let server = try await PrivateRedis.start()
        let redis = RedisClient(try RedisConfiguration(url: server.url))
        try await redis.start()
        let id = UUID()
        let bucket = TenantBuckets.bucket("acme", id)
        let told = TenantBuckets(redis, own: ["acme"])
        #expect(told.tags("acme", id) == [bucket, "acme"])
        let before = TenantBuckets(redis, own: [])
        try await before.refresh()
        #expect(before.tags("acme", id) == ["acme"] && before.queues(of: "acme") == ["acme"])
        try await told.refresh()
        let other = TenantBuckets(redis, own: [])
        try await other.refresh()
        #expect(other.tag("acme", id) == bucket && other.tag("globex", id) == "globex")
        #expect(other.queues(of: "acme").count == 9)
        // Named for the last time a while ago: new keys have one tag, and the buckets are looked at.
        func age(_ seconds: Int64) async throws -> TenantBuckets {
            let time = WallClock.milliseconds() - seconds * 1000
            let key = RedisArgument.string(TenantBuckets.key)
            _ = try await redis.send(["ZADD", key, .int(time), "acme"])
            let buckets = TenantBuckets(redis, own: [])
            try await buckets.refresh()
            return buckets
        }
        #expect(try await age(50).tag("acme", id) == bucket)
        let drained = try await age(70)
        #expect(drained.tags("acme", id) == ["acme", bucket])
        #expect(drained.queues(of: "acme").count == 9)
        let gone = try await age(8 * 86_400)
        #expect(gone.tags("acme", id) == ["acme"] && gone.queues(of: "acme") == ["acme"])
        #expect(try await redis.send(["EXISTS", .string(TenantBuckets.key)]) == .int(0))
        // What a clock behind says takes nothing back.
        let ahead = WallClock.milliseconds() + 5000
        _ = try await redis.send(["ZADD", .string(TenantBuckets.key), .int(ahead), "acme"])
        try await TenantBuckets(redis, own: ["acme"]).refresh()
        let score = try await redis.send(["ZSCORE", .string(TenantBuckets.key), "acme"])
        #expect(score.text.flatMap { Double($0) } == Double(ahead))
        await redis.stop()
        await server.stop()
    }
}
