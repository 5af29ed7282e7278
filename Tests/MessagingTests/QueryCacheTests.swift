import Coordination
import EventLoop
import Foundation
import HTTPServer
import JSON
import Testing

@testable import messaging

@Suite("QueryCache", .timeLimit(.minutes(1)))
@LoopActor
struct QueryCacheTests {
    private struct NotThere: Error {}

    private let room = UUID()

    private func query(limit: Int = 10) throws -> QueryCache.Query {
        QueryCache.Query(
            namespace: .threads,
            tenant: "t",
            room: room,
            page: try Page(QueryParameters([("limit", "\(limit)")]))
        )
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("what a value depends on has a fixed form")
    func params() throws {
        #expect(try query().params == "archived=false&limit=10&after=")
        let cursor = [("cursor", "NDE=")]
        let messages = QueryCache.Query(
            namespace: .messages,
            tenant: "t",
            room: room,
            thread: room,
            page: try Page(QueryParameters(cursor))
        )
        #expect(messages.params == "thread=\(room.text)&limit=50&after=41")
        #expect(messages.group == "{t}:messages:room:\(room.text)")
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
        for limit in [10, 10, 20] {
            _ = try await cache.value(query(limit: limit), ttl: .seconds(300)) {
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

    // MARK: What was read a moment ago

    /// Counts what a store is asked, and can be away.
    @LoopActor
    private final class Counting: GenerationCache {
        let store = MemoryGenerationCache()
        var values = 0
        var generations = 0
        var invalidated: [[String]] = []
        var isAway = false
        var isSlow = false
        /// Where throwing out waits when the store is slow.
        let gate = Look()

        private func reach() throws(CoordinationError) {
            if isAway { throw CoordinationError(operation: "cache", message: "away") }
        }

        func get(_ group: String, _ key: String) async throws(CoordinationError) -> CacheLookup {
            try reach()
            values += 1
            return try await store.get(group, key)
        }

        func generation(of group: String) async throws(CoordinationError) -> Int64 {
            try reach()
            generations += 1
            return try await store.generation(of: group)
        }

        func set(
            _ group: String,
            _ key: String,
            _ value: [UInt8],
            generation: Int64,
            ttl: Duration
        ) async throws(CoordinationError) {
            try reach()
            try await store.set(group, key, value, generation: generation, ttl: ttl)
        }

        func invalidate(_ groups: [String]) async throws(CoordinationError) {
            invalidated.append(groups)
            if isSlow { _ = await gate.load("") }
            try reach()
            try await store.invalidate(groups)
        }
    }

    @LoopActor
    private final class Clock {
        var time = MonotonicTime(nanoseconds: 0)
    }

    private func value(
        _ cache: QueryCache,
        _ load: @LoopActor () async throws -> [UInt8]
    ) async throws -> [UInt8] {
        try await cache.value(query(), ttl: .seconds(300), load)
    }

    @Test("a list that was read a moment ago is not carried again, and no longer than that")
    func recent() async throws {
        let (store, clock) = (Counting(), Clock())
        let cache = QueryCache(store: store, now: { clock.time })
        for _ in 0..<2 { _ = try await value(cache) { bytes("v") } }
        #expect((store.values, store.generations) == (2, 0))
        clock.time = clock.time + (RecentLists.lifetime - .milliseconds(1))
        #expect(try await value(cache) { bytes("other") } == bytes("v"))
        #expect((store.values, store.generations) == (2, 1))
        clock.time = clock.time + .milliseconds(1)
        #expect(try await value(cache) { bytes("other") } == bytes("v"))
        #expect((store.values, store.generations) == (3, 1))
    }

    @Test("a copy is not served after another instance's change, 300 times")
    func recentAndChanges() async throws {
        let store = MemoryGenerationCache()
        let (mine, other) = (QueryCache(store: store), QueryCache(store: store))
        var stale = 0
        for written in 0..<300 {
            let wanted = bytes("\(written)")
            for _ in 0..<3 {
                let found = try await value(mine) { wanted }
                if found != wanted { stale += 1 }
            }
            await other.invalidate("t", [room])
        }
        #expect(stale == 0)
    }

    @Test("while the store is away a copy is not served: nobody knows whether it holds")
    func recentAndAway() async throws {
        let store = Counting()
        let cache = QueryCache(store: store)
        for _ in 0..<2 { _ = try await value(cache) { bytes("old") } }
        store.isAway = true
        #expect(try await value(cache) { bytes("new") } == bytes("new"))
    }

    @Test("what is thrown out at one moment is thrown out in one call, and each waits for its own")
    func invalidatedTogether() async throws {
        let store = Counting()
        store.isSlow = true
        let cache = QueryCache(store: store)
        let rooms = (0..<10).map { _ in UUID() }
        var done = 0
        let told =
            rooms.map { room in
                Task {
                    await cache.invalidate("t", [room])
                    done += 1
                }
            } + [
                Task { await cache.invalidate("u", rooms) },
                Task { await cache.invalidate("t", rooms) },
            ]
        try await until { store.invalidated.count == 1 }
        #expect(done == 0)
        while store.invalidated.count < 2 {
            store.gate.end()
            try await EventLoop.shared.sleep(for: .milliseconds(1))
        }
        store.isSlow = false
        store.gate.end()
        for one in told { await one.value }
        // One call for each tenant, with each room of it once.
        #expect(store.invalidated.map(\.count) == [20, 20])
        for tenant in ["t", "u"] {
            for room in rooms {
                let group = QueryCache.Namespace.threads.group(tenant, room.text)
                #expect(try await store.generation(of: group) == 1)
            }
        }
    }

    @Test("a change while others are told of is told of after them, never with them")
    func invalidatedLater() async throws {
        let store = Counting()
        store.isSlow = true
        let cache = QueryCache(store: store)
        let first = [Task { await cache.invalidate("t", [room]) }]
        try await until { store.invalidated.count == 1 }
        let group = QueryCache.Namespace.threads.group("t", room.text)
        let later = Task {
            await cache.invalidate("t", [room])
            return try await store.generation(of: group)
        }
        try await until { store.invalidated.count == 2 }
        store.isSlow = false
        store.gate.end()
        for one in first { await one.value }
        #expect(try await later.value == 2)
    }

    @Test("what is remembered of lists is bounded in bytes")
    func recentIsBounded() throws {
        let recent = RecentLists()
        let now = MonotonicTime(nanoseconds: 0)
        let value = [UInt8](repeating: 1, count: 1024 * 1024)
        let fitting = RecentLists.bytesMax / value.count
        let queries = try (1...fitting + 1).map { try query(limit: $0) }
        func learn(_ index: Int) {
            recent.learn(queries[index], value, group: "g", generation: 1, now)
        }
        for index in 0..<fitting {
            learn(index)
            // The same again takes no more.
            learn(index)
        }
        #expect(recent.copy(queries[0], now) != nil)
        learn(fitting)
        #expect(recent.copy(queries[0], now) == nil)
        #expect(recent.copy(queries[fitting], now) != nil)
    }

    @Test("what is remembered of lists is bounded in number: small ones take room as well")
    func recentIsBoundedInNumber() throws {
        let recent = RecentLists()
        let now = MonotonicTime(nanoseconds: 0)
        func query(_ number: Int) throws -> QueryCache.Query {
            QueryCache.Query(
                namespace: .threads,
                tenant: "t\(number)",
                room: room,
                page: try Page(QueryParameters())
            )
        }
        for number in 0..<RecentLists.copiesMax {
            recent.learn(try query(number), [], group: "g", generation: 1, now)
        }
        #expect(recent.copy(try query(0), now) != nil)
        let next = try query(RecentLists.copiesMax)
        recent.learn(next, [], group: "g", generation: 1, now)
        #expect(recent.copy(try query(0), now) == nil)
        #expect(recent.copy(next, now) != nil)
    }
}
