import Coordination
import EventLoop
import Foundation
import JSON
import Testing

@testable import messaging

@Suite("Renewal of a message's lock")
struct LockRenewalTests {
    static let message = UUID()
    static let key = "lock:message:\(message.uuidString.lowercased())"

    @Test("a lock lasts for as long as it is held, however short its time is")
    @LoopActor func renewed() async throws {
        let store = MemoryLockStore()
        let lock = MessageLock(store: store, ttl: .milliseconds(300), instance: "one")
        let hold = await lock.acquire(LockRenewalTests.message)
        let other = MessageLock(store: store, ttl: .milliseconds(300), instance: "two")
        for _ in 0..<10 {
            try await EventLoop.shared.sleep(for: .milliseconds(100))
            guard case .taken = await other.acquire(LockRenewalTests.message) else {
                return #expect(Bool(false), "two hold it")
            }
        }
        #expect(!hold.isLost)
        await lock.release(hold)
        #expect(try await store.holder(of: LockRenewalTests.key) == nil)
        try await EventLoop.shared.sleep(for: .milliseconds(200))
        #expect(try await store.holder(of: LockRenewalTests.key) == nil)
    }

    @Test("who has lost a lock learns it, and leaves its successor's alone")
    @LoopActor func lost() async throws {
        let store = MemoryLockStore()
        let lock = MessageLock(store: store, ttl: .milliseconds(150))
        let hold = await lock.acquire(LockRenewalTests.message)
        let holder = try #require(try await store.holder(of: LockRenewalTests.key))
        // As after a stop for longer than its time.
        try await store.release(LockRenewalTests.key, value: holder.value)
        let taken = try await store.acquire(
            LockRenewalTests.key,
            value: "successor",
            ttl: .seconds(30)
        )
        #expect(taken)
        try await EventLoop.shared.sleep(for: .milliseconds(200))
        #expect(hold.isLost)
        await lock.release(hold)
        #expect(try await store.holder(of: LockRenewalTests.key)?.value == "successor")
    }

    @Test("a lock says who holds it since when, and nothing of the message")
    @LoopActor func value() async throws {
        let store = MemoryLockStore()
        let lock = MessageLock(store: store, ttl: .seconds(30), instance: "one")
        _ = await lock.acquire(LockRenewalTests.message)
        let holder = try #require(try await store.holder(of: LockRenewalTests.key))
        let record = try JSON(parsing: Array(holder.value.utf8))
        #expect(record.objectValue?.members.map(\.key) == ["t", "o", "j", "at"])
        #expect(record["o"] == "one" && record["j"]?.isNull == true)
        #expect(UUID(uuidString: record["t"]?.stringValue ?? "") != nil)
        let at = try #require(record["at"]?.intValue)
        #expect(abs(at - WallClock.milliseconds()) < 5000)
    }

    @Test("without Redis an assignment goes on, or waits where the policy says so")
    @LoopActor func policies() async {
        for policy in RedisPolicy.allCases {
            let lock = MessageLock(store: nil, ttl: .seconds(30), policy: policy)
            let limiter = RoomLimiter(
                limiter: nil,
                limit: 10,
                window: .seconds(60),
                policy: policy
            )
            let admission = await limiter.admit(conversation: UUID(), member: "m")
            switch (policy, await lock.acquire(UUID()), admission) {
            case (.proceed, .open, .open), (.refuse, .refused, .later): break
            case let other: Issue.record("\(other)")
            }
        }
    }

    struct Memory: Sendable, CustomTestStringConvertible {
        let used: Int
        let most: Int
        let limit: Int64?
        let isExceeded: Bool
        var testDescription: String { "\(used) of \(most), limit \(limit.map { "\($0)" } ?? "-")" }
    }

    @Test(
        "caches stop at their budget, or at three quarters of the server's own limit",
        arguments: [
            Memory(used: 74, most: 100, limit: nil, isExceeded: false),
            Memory(used: 76, most: 100, limit: nil, isExceeded: true),
            Memory(used: 1 << 40, most: 0, limit: nil, isExceeded: false),
            Memory(used: 50, most: 100, limit: 40, isExceeded: true),
            Memory(used: 90, most: 100, limit: 95, isExceeded: false),
        ]
    )
    func budget(_ memory: Memory) {
        let text =
            "# Memory\r\nused_memory:\(memory.used)\r\nused_memory_human:1M\r\n"
            + "maxmemory:\(memory.most)\r\nmaxmemory_policy:noeviction\r\n"
        #expect(CacheBudget.isExceeded(text, limit: memory.limit) == memory.isExceeded)
    }
}
