import EventLoop
import Testing

@testable import Coordination

@Suite("LockStore conformance")
struct LockStoreTests {
    @Test("one caller of many gets the lock", arguments: Kind.available)
    @LoopActor func exclusive(kind: Kind) async throws {
        let store = try await kind.locks()
        let key = TestRedis.key("lock")
        let tasks = (0..<50).map { index in
            Task { @LoopActor in
                try await store.acquire(key, value: "owner-\(index)", ttl: .seconds(5))
            }
        }
        var winners = 0
        for task in tasks where try await task.value { winners += 1 }
        #expect(winners == 1)
    }

    @Test("only the owner frees or renews it", arguments: Kind.available)
    @LoopActor func ownership(kind: Kind) async throws {
        let store = try await kind.locks()
        let key = TestRedis.key("lock")
        #expect(try await store.acquire(key, value: "mine", ttl: .seconds(5)))
        #expect(try await !store.release(key, value: "yours"))
        #expect(try await !store.renew(key, value: "yours", ttl: .seconds(60)))
        let holder = try #require(try await store.holder(of: key))
        #expect(holder.value == "mine")
        #expect(holder.remaining <= .seconds(5) && holder.remaining > .zero)
        #expect(try await store.renew(key, value: "mine", ttl: .seconds(60)))
        let renewed = try #require(try await store.holder(of: key))
        #expect(renewed.remaining > .seconds(30))
        #expect(try await store.release(key, value: "mine"))
        #expect(try await store.holder(of: key) == nil)
    }

    @Test("it finds what is held by how it begins, to the letter", arguments: Kind.available)
    @LoopActor func listing(kind: Kind) async throws {
        let store = try await kind.locks()
        let prefix = TestRedis.key("list") + ":{a}*[x]:"
        for name in ["\(prefix)1", "\(prefix)2", prefix.replacing("*", with: "b") + "3"] {
            #expect(try await store.acquire(name, value: "v", ttl: .seconds(5)))
        }
        #expect(try await store.acquire("\(prefix)gone", value: "v", ttl: .milliseconds(10)))
        try await EventLoop.shared.sleep(for: .milliseconds(30))
        let found = try await store.keys(beginningWith: prefix, limit: 100)
        #expect(Set(found) == ["\(prefix)1", "\(prefix)2"])
    }

    @Test("a holder that outlived its time cannot free its successor's", arguments: Kind.available)
    @LoopActor func outlived(kind: Kind) async throws {
        let store = try await kind.locks()
        let key = TestRedis.key("lock")
        #expect(try await store.acquire(key, value: "first", ttl: .milliseconds(20)))
        try await EventLoop.shared.sleep(for: .milliseconds(40))
        #expect(try await store.holder(of: key) == nil)
        #expect(try await store.acquire(key, value: "second", ttl: .seconds(5)))
        #expect(try await !store.release(key, value: "first"))
        #expect(try await !store.renew(key, value: "first", ttl: .seconds(5)))
        #expect(try await store.holder(of: key)?.value == "second")
    }

    @Test("only the owner changes what it holds, and its time stays", arguments: Kind.available)
    @LoopActor func replaced(kind: Kind) async throws {
        let store = try await kind.locks()
        let key = TestRedis.key("lock")
        #expect(try await !store.replace(key, value: "mine", with: "other"))
        #expect(try await store.acquire(key, value: "mine", ttl: .seconds(5)))
        #expect(try await !store.replace(key, value: "yours", with: "other"))
        #expect(try await store.replace(key, value: "mine", with: "mine, job 1"))
        let holder = try #require(try await store.holder(of: key))
        #expect(holder.value == "mine, job 1")
        #expect(holder.remaining <= .seconds(5) && holder.remaining > .seconds(1))
        #expect(try await !store.release(key, value: "mine"))
        #expect(try await store.release(key, value: "mine, job 1"))
    }
}
