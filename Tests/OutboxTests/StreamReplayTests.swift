import EventLoop
import Foundation
import PostgresClient
import RedisClient
import TestSupport
import Testing

@testable import Outbox

/// A stream with a group of readers, and the outbox that its events come from.
@LoopActor
private final class Published {
    nonisolated static let redisURL =
        ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_REDIS_URL"]

    let redis: RedisClient
    let postgres: PostgresClient
    let stream = "test:{\(UUID().uuidString.lowercased())}:events"
    private var consumers: [StreamConsumer] = []
    /// Names of events in the order in which they were handled.
    private(set) var handled: [String] = []
    private(set) var laidAside: [String] = []
    private(set) var missed = 0
    /// Events that their handler fails.
    var bad: Set<String> = []

    init(_ postgres: PostgresClient) async throws {
        self.postgres = postgres
        redis = RedisClient(try RedisConfiguration(url: Published.redisURL ?? ""))
        try await redis.start()
    }

    func join(_ name: String) async throws {
        let blocking = RedisBlockingConnection(
            try RedisConfiguration(url: Published.redisURL ?? "")
        )
        try await blocking.start()
        let observer: @LoopActor (StreamEvent) -> Void = { [weak self] event in
            switch event {
            case .deadLettered(let entry, _): self?.laidAside.append(entry.fields["name"] ?? "?")
            case .missed: self?.missed += 1
            case .failed, .unavailable, .replayed: break
            }
        }
        let consumer = StreamConsumer(
            redis: redis,
            blocking: blocking,
            stream: stream,
            group: "g",
            consumer: name,
            claimIdle: .milliseconds(40),
            replay: StreamReplay(
                postgres: postgres,
                stream: stream,
                reader: "g",
                worker: name,
                settled: .zero,
                interval: .milliseconds(50),
                observer: observer
            ),
            observer: observer,
            handler: { [weak self] entries in
                guard let self else { return }
                let names = entries.map { $0.fields["name"] ?? "?" }
                guard bad.isDisjoint(with: names) else { throw Unwilling() }
                handled += names
            }
        )
        consumer.start()
        consumers.append(consumer)
    }

    struct Unwilling: Error {}

    /// Publishes events as a relay does; with `lost`, into a stream that loses them at once.
    func publish(_ numbers: some Sequence<Int>, lost: Bool = false) async throws {
        for number in numbers {
            let rows = try await postgres.query(
                """
                insert into platform.outbox (source, tenant_id, tenant, kind, target, key, payload,
                  published_at)
                values ('test', gen_random_uuid(), 't', 'event', $1, $1, '{}', clock_timestamp())
                returning event_id
                """,
                [.string("e\(number)")]
            )
            guard !lost, let row = rows.first else { continue }
            _ = try await redis.send([
                "XADD", .string(stream), "*", "id", .string(try row.uuid("event_id").uuidString),
                "name", .string("e\(number)"),
            ])
        }
    }

    func hasHandled(_ numbers: some Sequence<Int>) -> Bool {
        Set(numbers.map { "e\($0)" }).isSubset(of: handled)
    }

    /// Takes entries as a consumer that dies before it has handled them.
    func takeAndDie(_ count: Int64) async throws {
        _ = try? await redis.send(["XGROUP", "CREATE", .string(stream), "g", "0", "MKSTREAM"])
        _ = try await redis.send([
            "XREADGROUP", "GROUP", "g", "dead", "COUNT", .int(count), "STREAMS", .string(stream),
            ">",
        ])
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
    "StreamReplay",
    .serialized,
    .enabled(if: PrivatePostgres.isInstalled && Published.redisURL != nil)
)
@LoopActor
struct StreamReplayTests {
    private func with(_ body: @LoopActor (Published) async throws -> Void) async throws {
        try await MigratedDatabase().withClient { client in
            let published = try await Published(client)
            do { try await body(published) } catch {
                await published.end()
                throw error
            }
            await published.end()
        }
    }

    @Test("events that made room in the stream before their group was given them come nevertheless")
    func trimmed() async throws {
        try await with { events in
            try await events.join("a")
            try await events.publish(1...3)
            #expect(try await events.eventually { events.hasHandled(1...3) })
            await events.leave()
            try await events.publish(4...23)
            _ = try await events.redis.send(["XTRIM", .string(events.stream), "MAXLEN", 5])
            try await events.join("b")
            #expect(try await events.eventually { events.hasHandled(1...23) })
        }
    }

    @Test("events in a stream that its server lost come nevertheless, and reading goes on")
    func gone() async throws {
        try await with { events in
            try await events.join("a")
            try await events.publish(1...3)
            #expect(try await events.eventually { events.hasHandled(1...3) })
            try await events.publish(4...6, lost: true)
            _ = try await events.redis.send(["DEL", .string(events.stream)])
            try await events.publish(7...8)
            #expect(try await events.eventually { events.hasHandled(1...8) })
        }
    }

    @Test("a process that starts after the stream was lost knows how far the last one came")
    func goneWhileNobodyReads() async throws {
        try await with { events in
            try await events.join("a")
            try await events.publish(1...3)
            #expect(try await events.eventually { events.hasHandled(1...3) })
            await events.leave()
            try await events.publish(4...6, lost: true)
            _ = try await events.redis.send(["DEL", .string(events.stream)])
            try await events.join("b")
            #expect(try await events.eventually { events.hasHandled(1...6) })
        }
    }

    @Test("an event that a dead process held, and that is gone from the stream, comes nevertheless")
    func goneInHand() async throws {
        try await with { events in
            try await events.publish(1...3)
            try await events.takeAndDie(3)
            _ = try await events.redis.send(["XTRIM", .string(events.stream), "MAXLEN", 0])
            try await events.join("b")
            #expect(try await events.eventually { events.hasHandled(1...3) })
        }
    }

    @Test("where nothing is missing nothing is read again")
    func nothingMissing() async throws {
        try await with { events in
            try await events.join("a")
            try await events.publish(1...3)
            #expect(try await events.eventually { events.hasHandled(1...3) })
            await events.leave()
            try await events.publish(4...6)
            _ = try await events.redis.send(["XTRIM", .string(events.stream), "MAXLEN", 3])
            try await events.join("b")
            #expect(try await events.eventually { events.hasHandled(1...6) })
            await events.leave()
            #expect(events.handled == (1...6).map { "e\($0)" } && events.missed == 0)
        }
    }

    @Test("an event that fails when it is read again is laid aside, and holds up no other")
    func failing() async throws {
        try await with { events in
            events.bad = ["e5"]
            try await events.join("a")
            try await events.publish(1...3)
            #expect(try await events.eventually { events.hasHandled(1...3) })
            try await events.publish(4...6, lost: true)
            _ = try await events.redis.send(["DEL", .string(events.stream)])
            #expect(try await events.eventually { events.laidAside == ["e5"] })
            #expect(try await events.eventually { events.hasHandled([1, 2, 3, 4, 6]) })
        }
    }

    @Test("another process goes on where one died; the dead one's late word changes nothing")
    func turns() async throws {
        try await with { events in
            try await events.publish(1...300, lost: true)
            let client = events.postgres
            _ = try await client.query(
                "select platform.stream_missed('s', 'r', $1, $2)",
                [.int(WallClock.milliseconds() - 60_000), .int(WallClock.milliseconds() + 60_000)]
            )
            func page(_ worker: String, lease: String) async throws -> (String, Int)? {
                let rows = try await client.query(
                    """
                    select place, jsonb_array_length(rows) as count
                      from platform.stream_replay('s', 'r', $1, $2::interval, '0', 256)
                    """,
                    [.string(worker), .string(lease)]
                )
                return try rows.first.map { (try $0.json("place"), try $0.int("count")) }
            }
            func done(_ worker: String, _ place: String) async throws {
                _ = try await client.query(
                    "select platform.stream_replayed('s', 'r', $1, $2::jsonb)",
                    [.string(worker), .json(place)]
                )
            }
            let first = try #require(try await page("a", lease: "30 s"))
            #expect(first.1 == 256)
            #expect(try await page("b", lease: "30 s") == nil)
            _ = try await client.query("update platform.stream_readers set lease_until = now()")
            let second = try #require(try await page("b", lease: "30 s"))
            #expect(second.0 == first.0 && second.1 == 256)
            try await done("b", second.0)
            try await done("a", first.0)
            let third = try #require(try await page("b", lease: "30 s"))
            #expect(third.1 == 44)
        }
    }

    @Test("more that is found missing while a page is read begins again where it begins")
    func joined() async throws {
        try await with { events in
            try await events.publish(1...3, lost: true)
            let client = events.postgres
            let now = WallClock.milliseconds()
            func miss(_ from: Int64) async throws {
                _ = try await client.query(
                    "select platform.stream_missed('s', 'r', $1, $2)",
                    [.int(now + from), .int(now)]
                )
            }
            try await miss(-10_000)
            let rows = try await client.query(
                "select place from platform.stream_replay('s', 'r', 'a', '30 s', '0', 256)"
            )
            try await miss(-50_000)
            _ = try await client.query(
                "select platform.stream_replayed('s', 'r', 'a', $1::jsonb)",
                [.json(try #require(rows.first).json("place"))]
            )
            let left = try await client.query(
                "select (extract(epoch from replay_from) * 1000)::bigint at from platform.stream_readers"
            )
            #expect(try #require(left.first).int64("at") == now - 50_000)
        }
    }
}
