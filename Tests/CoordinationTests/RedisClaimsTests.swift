import EventLoop
import Testing

@testable import Coordination

@Suite("RedisClaims", .enabled(if: TestRedis.url != nil))
struct RedisClaimsTests {
    /// Keys of one tenant, whom no other test uses.
    private struct Keys {
        let lock, workspace, channel: String

        /// - Parameter isApart: whether the lock is in another slot of a cluster than the slots.
        init(isApart: Bool) {
            let tenant = TestRedis.tenant()
            lock = "test:{\(tenant)\(isApart ? "#3" : "")}:lock"
            workspace = "test:{\(tenant)}:workspace"
            channel = "test:{\(tenant)}:channel"
        }

        var slots: [RedisClaims.Slot] {
            [
                RedisClaims.Slot(workspace, interval: .seconds(10), burst: 2),
                RedisClaims.Slot(channel, interval: .seconds(100), burst: 1),
            ]
        }
    }

    @Test(
        "lock and slots are taken together, and the lock's owner may free it",
        arguments: [false, true]
    )
    @LoopActor func taken(isApart: Bool) async throws {
        let redis = try await TestRedis.client()
        let (claims, locks, keys) = (
            RedisClaims(redis), RedisLockStore(redis), Keys(isApart: isApart)
        )
        let outcome = try await claims.take(
            keys.lock,
            value: "a",
            ttl: .seconds(30),
            slots: keys.slots
        )
        #expect(outcome == .taken)
        let holder = try #require(try await locks.holder(of: keys.lock))
        #expect(holder.value == "a" && holder.remaining > .seconds(25))
        #expect(try await locks.release(keys.lock, value: "a"))
        let pacer = RedisPacer(redis)
        let wait = try await pacer.reserve(keys.channel, interval: .seconds(100), burst: 1)
        #expect(wait > .seconds(90))
    }

    @Test("a lock that is held names its holder, and no slot is lost", arguments: [false, true])
    @LoopActor func locked(isApart: Bool) async throws {
        let redis = try await TestRedis.client()
        let (claims, keys) = (RedisClaims(redis), Keys(isApart: isApart))
        _ = try await RedisLockStore(redis).acquire(keys.lock, value: "b", ttl: .seconds(30))
        let outcome = try await claims.take(
            keys.lock,
            value: "a",
            ttl: .seconds(30),
            slots: keys.slots
        )
        guard case .locked(let holder) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(holder.value == "b" && holder.remaining > .seconds(25))
        let pacer = RedisPacer(redis)
        #expect(try await pacer.reserve(keys.channel, interval: .seconds(1), burst: 1) == .zero)
    }

    @Test(
        "who waits for one slot takes neither the lock nor another slot",
        arguments: [false, true]
    )
    @LoopActor func refused(isApart: Bool) async throws {
        let redis = try await TestRedis.client()
        let (claims, pacer, keys) = (RedisClaims(redis), RedisPacer(redis), Keys(isApart: isApart))
        _ = try await pacer.reserve(keys.channel, interval: .seconds(100), burst: 1)
        for _ in 0..<5 {
            let outcome = try await claims.take(
                keys.lock,
                value: "a",
                ttl: .seconds(30),
                slots: keys.slots
            )
            guard case .refused(slot: 1, let wait) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(wait > .seconds(90) && wait <= .seconds(100))
        }
        #expect(try await RedisLockStore(redis).holder(of: keys.lock) == nil)
        for _ in 0..<2 {
            let wait = try await pacer.reserve(keys.workspace, interval: .seconds(10), burst: 2)
            #expect(wait == .zero)
        }
    }
}
