import EventLoop
import Foundation
import RedisClient
import Testing

@testable import Outbox

/// Consumers of one group on a stream of their own, on the Redis that the environment offers.
@LoopActor
private final class Group {
    static let url = ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_REDIS_URL"]

    let redis: RedisClient
    let stream = "test:{\(UUID().uuidString.lowercased())}:events"
    private(set) var consumers: [StreamConsumer] = []
    /// What became of the entries, by the field `n`.
    private(set) var handled: [String: [Int]] = [:]
    private(set) var laidAside: [String] = []
    /// Entries that their handler fails.
    var bad: Set<String> = []

    init() async throws {
        redis = RedisClient(try RedisConfiguration(url: Group.url ?? ""))
        try await redis.start()
    }

    /// One more consumer; entries that nobody acknowledged for `claimIdle` are anybody's.
    func join(_ name: String, claimIdle: Duration = .milliseconds(40)) async throws {
        let blocking = RedisBlockingConnection(try RedisConfiguration(url: Group.url ?? ""))
        try await blocking.start()
        let consumer = StreamConsumer(
            redis: redis,
            blocking: blocking,
            stream: stream,
            group: "g",
            consumer: name,
            claimIdle: claimIdle,
            observer: { [weak self] event in
                if case .deadLettered(let entry, _) = event {
                    self?.laidAside.append(entry.fields["n"] ?? "?")
                }
            },
            handler: { [weak self] entries in try self?.handle(entries) }
        )
        consumer.start()
        consumers.append(consumer)
    }

    /// All of them, or none: as a statement for all does.
    private func handle(_ entries: [StreamEntry]) throws {
        let numbers = entries.map { $0.fields["n"] ?? "?" }
        let isBad = !bad.isDisjoint(with: numbers)
        guard !isBad || entries.count == 1 else { throw Unwilling() }
        for (entry, number) in zip(entries, numbers) {
            handled[number, default: []].append(entry.deliveries)
        }
        if isBad { throw Unwilling() }
    }

    struct Unwilling: Error {}

    func add(_ numbers: some Sequence<Int>) async throws {
        for number in numbers {
            _ = try await redis.send(["XADD", .string(stream), "*", "n", .string("\(number)")])
        }
    }

    /// Takes entries as a consumer that dies before it has handled them.
    func takeAndDie(_ count: Int64) async throws {
        _ = try? await redis.send(["XGROUP", "CREATE", .string(stream), "g", "0", "MKSTREAM"])
        _ = try await redis.send([
            "XREADGROUP", "GROUP", "g", "dead", "COUNT", .int(count), "STREAMS", .string(stream),
            ">",
        ])
    }

    /// How many entries were given to somebody and not acknowledged.
    func pending() async throws -> Int64 {
        try await redis.send(["XPENDING", .string(stream), "g"]).array?.first?.integer ?? -1
    }

    func leave() async {
        for consumer in consumers { await consumer.stop() }
        consumers = []
    }

    func end() async {
        await leave()
        _ = try? await redis.send(["DEL", .string(stream), .string("\(stream):dead")])
        await redis.stop()
    }

    func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
        let deadline = MonotonicTime.now() + .seconds(10)
        while MonotonicTime.now() < deadline {
            if try await condition() { return true }
            try await EventLoop.shared.sleep(for: .milliseconds(10))
        }
        return false
    }
}

@Suite(
    "StreamConsumer",
    .enabled(if: ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_REDIS_URL"] != nil)
)
@LoopActor
struct StreamConsumerTests {
    private func with(_ body: @LoopActor (Group) async throws -> Void) async throws {
        let group = try await Group()
        do { try await body(group) } catch {
            await group.end()
            throw error
        }
        await group.end()
    }

    @Test("an entry that fails five times is laid aside with its reason, and holds up no other")
    func deadLetter() async throws {
        try await with { group in
            group.bad = ["2"]
            try await group.join("a")
            try await group.add(1...3)
            #expect(try await group.eventually { group.laidAside == ["2"] })
            #expect(group.handled["1"] == [1] && group.handled["3"] == [1])
            #expect(group.handled["2"] == [1, 2, 3, 4, 5])
            #expect(try await group.eventually { try await group.pending() == 0 })
            let dead = try await group.redis.send([
                "XRANGE", .string("\(group.stream):dead"), "-", "+",
            ])
            let entries = StreamConsumer.entries(dead, deliveries: 1)
            #expect(entries.count == 1)
            #expect(entries.first?.fields["field:n"] == "2")
            #expect(entries.first?.fields["reason"]?.contains("Unwilling") == true)
            #expect(entries.first?.fields["group"] == "g")
        }
    }

    @Test("what was trimmed away while a dead consumer had it is forgotten, not claimed for ever")
    func trimmed() async throws {
        try await with { group in
            try await group.add(1...20)
            try await group.takeAndDie(10)
            _ = try await group.redis.send(["XTRIM", .string(group.stream), "MAXLEN", "5"])
            #expect(try await group.pending() == 10)
            try await group.join("a")
            #expect(try await group.eventually { try await group.pending() == 0 })
            #expect(try await group.eventually { group.handled.count == 5 })
            #expect(Set(group.handled.keys) == Set((16...20).map(String.init)))
            #expect(group.laidAside.isEmpty)
        }
    }

    @Test("three consumers, none, three again: every entry is handled, none is left with the dead")
    func comingAndGoing() async throws {
        try await with { group in
            for name in ["a", "b", "c"] { try await group.join(name) }
            try await group.add(1...30)
            #expect(try await group.eventually { group.handled.count == 30 })
            await group.leave()
            try await group.add(31...60)
            try await group.takeAndDie(10)
            for name in ["d", "e", "f"] { try await group.join(name) }
            #expect(try await group.eventually { group.handled.count == 60 })
            #expect(try await group.eventually { try await group.pending() == 0 })
            #expect(group.laidAside.isEmpty)
        }
    }

    @Test("one that stood still for longer than entries rest finds them handled by another")
    func standstill() async throws {
        try await with { group in
            try await group.add(1...3)
            try await group.takeAndDie(3)
            try await group.join("a")
            #expect(try await group.eventually { try await group.pending() == 0 })
            // The one that stood still acknowledges what is no longer its own: nothing is undone.
            let late = try await group.redis.send(["XRANGE", .string(group.stream), "-", "+"])
            for entry in StreamConsumer.entries(late, deliveries: 1) {
                _ = try await group.redis.send(
                    ["XACK", .string(group.stream), "g", .string(entry.entryID)]
                )
            }
            #expect(group.handled == ["1": [2], "2": [2], "3": [2]])
        }
    }
}
