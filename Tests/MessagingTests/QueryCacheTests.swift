import Coordination
import EventLoop
import Foundation
import Testing

@testable import messaging

@Suite("QueryCache", .timeLimit(.minutes(1)))
@LoopActor
struct QueryCacheTests {
    private struct NotThere: Error {}

    private let room = UUID()

    private func query(_ params: String = "limit=10") -> QueryCache.Query {
        QueryCache.Query(namespace: .threads, tenant: "t", room: room, params: params)
    }

    /// A look at the database that the test lets end.
    @LoopActor
    private final class Look {
        private var waiting: [CheckedContinuation<Void, Never>] = []
        private(set) var begun = 0

        func load(_ value: String) async -> [UInt8] {
            begun += 1
            await withCheckedContinuation { waiting.append($0) }
            return Array(value.utf8)
        }

        func end() {
            let ended = waiting
            waiting = []
            for one in ended { one.resume() }
        }
    }

    private func until(_ condition: () -> Bool) async throws {
        for _ in 0..<1000 where !condition() {
            try await EventLoop.shared.sleep(for: .milliseconds(1))
        }
    }

    @Test("the second reader needs no look; another variant does")
    func once() async throws {
        let cache = QueryCache(store: MemoryGenerationCache())
        var looks = 0
        for params in ["limit=10", "limit=10", "limit=20"] {
            _ = try await cache.value(query(params), ttl: .seconds(300)) {
                looks += 1
                return [1]
            }
        }
        #expect(looks == 2)
    }

    @Test("fifty equal readers at once share one look")
    func singleFlight() async throws {
        let cache = QueryCache(store: MemoryGenerationCache())
        let look = Look()
        let readers = (0..<50).map { _ in
            Task {
                try await cache.value(query(), ttl: .seconds(300)) { await look.load("value") }
            }
        }
        try await until { look.begun > 0 }
        try await EventLoop.shared.sleep(for: .milliseconds(20))
        look.end()
        for reader in readers { #expect(try await reader.value == Array("value".utf8)) }
        #expect(look.begun == 1)
    }

    @Test("a look that began before a write is neither shared with who asks after it, nor kept")
    func slowReader() async throws {
        let cache = QueryCache(store: MemoryGenerationCache())
        let look = Look()
        let slow = Task {
            try await cache.value(query(), ttl: .seconds(300)) { await look.load("old") }
        }
        try await until { look.begun > 0 }
        await cache.invalidate("t", [room])
        let fresh = try await cache.value(query(), ttl: .seconds(300)) { Array("new".utf8) }
        #expect(fresh == Array("new".utf8))
        look.end()
        #expect(try await slow.value == Array("old".utf8))
        let kept = try await cache.value(query(), ttl: .seconds(300)) { Array("newest".utf8) }
        #expect(kept == Array("new".utf8))
    }

    @Test("a look that failed is everybody's failure, and is not kept")
    func failure() async throws {
        let cache = QueryCache(store: MemoryGenerationCache())
        await #expect(throws: NotThere.self) {
            _ = try await cache.value(query(), ttl: .seconds(300)) { throw NotThere() }
        }
        let next = try await cache.value(query(), ttl: .seconds(300)) { [7] }
        #expect(next == [7])
    }

    @Test("without a store every reader looks; a large value is not kept")
    func limits() async throws {
        var looks = 0
        let off = QueryCache(store: nil)
        let small = QueryCache(store: MemoryGenerationCache())
        let large = [UInt8](repeating: 1, count: QueryCache.valueBytesMax + 1)
        for _ in 0..<2 {
            _ = try await off.value(query(), ttl: .seconds(300)) {
                looks += 1
                return [1]
            }
            _ = try await small.value(query(), ttl: .seconds(300)) {
                looks += 1
                return large
            }
        }
        #expect(looks == 4)
    }
}
