import EventLoop
import Foundation
import PostgresClient
import RedisClient
import TestSupport
import Testing

@testable import Outbox

@Suite("Event streams")
struct EventStreamsTests {
    @Test("one partition has the name that there always was, and so has the first of several")
    func names() {
        #expect(EventStreams().all == ["switchboard:events"])
        #expect(
            EventStreams(partitions: 3).all
                == ["switchboard:events", "switchboard:events:1", "switchboard:events:2"]
        )
        #expect(EventStreams().stream(for: "acme") == "switchboard:events")
    }

    @Test("tenants are spread over the partitions, each to the same one in every process")
    func spread() {
        let streams = EventStreams(partitions: 4)
        var tenants: [String: Int] = [:]
        for number in 0..<1000 { tenants[streams.stream(for: "tenant-\(number)"), default: 0] += 1 }
        #expect(Set(tenants.keys) == Set(streams.all))
        #expect(tenants.values.allSatisfy { (150...350).contains($0) })
        // By the published FNV-1a of these names.
        #expect(streams.stream(for: "") == "switchboard:events:1")
        #expect(streams.stream(for: "a") == "switchboard:events")
        #expect(streams.stream(for: "foobar") == "switchboard:events")
    }
}

private let redisURL = ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_REDIS_URL"]

@Suite(
    "Event readers",
    .serialized,
    .enabled(if: PrivatePostgres.isInstalled && redisURL != nil)
)
@LoopActor
struct EventReadersTests {
    private nonisolated static func row(_ tenant: String, _ number: Int) throws -> OutboxRow {
        OutboxRow(
            id: Int64(number),
            eventID: UUID(),
            tenant: tenant,
            kind: .event,
            target: "e\(number)",
            path: "",
            key: tenant,
            keyVersion: Int64(number),
            payload: "{}",
            createdAt: 0,
            attempts: 0
        )
    }

    /// What a group of one process, told of `partitions`, reads of these tenants.
    private static func read(
        _ count: Int,
        of tenants: [String],
        group: String,
        partitions: Int,
        _ redis: RedisClient,
        _ postgres: PostgresClient
    ) async throws -> [String: [String]] {
        var read: [String: [String]] = [:]
        let readers = EventReaders(
            redis: redis,
            configuration: try RedisConfiguration(url: redisURL ?? ""),
            postgres: postgres,
            streams: EventStreams(partitions: partitions),
            group: group,
            worker: UUID().uuidString,
            observer: { _ in }
        ) { entries in
            for entry in entries {
                let tenant = entry.fields["tenant"] ?? "?"
                if tenants.contains(tenant) {
                    read[tenant, default: []].append(entry.fields["name"] ?? "?")
                }
            }
        }
        try await readers.start()
        let deadline = MonotonicTime.now() + .seconds(10)
        while read.values.reduce(0, { $0 + $1.count }) < count, MonotonicTime.now() < deadline {
            try await EventLoop.shared.sleep(for: .milliseconds(10))
        }
        await readers.stop()
        return read
    }

    @Test("all partitions are read, each tenant's events in their order; another number loses none")
    func partitions() async throws {
        try await MigratedDatabase().withClient { postgres in
            let redis = RedisClient(try RedisConfiguration(url: redisURL ?? ""))
            try await redis.start()
            let run = UUID().uuidString.lowercased()
            let tenants = (0..<30).map { "\(run)-\($0)" }
            let streams = EventStreams(partitions: 3)
            #expect(Set(tenants.map { streams.stream(for: $0) }).count == 3)
            func publish(_ numbers: Range<Int>, _ streams: EventStreams) async throws {
                let rows = try numbers.flatMap { number in
                    try tenants.map { try EventReadersTests.row($0, number) }
                }
                try await StreamProducer(redis, streams).publish(rows)
            }
            func read(_ count: Int, partitions: Int) async throws -> [String: [String]] {
                try await EventReadersTests.read(
                    count,
                    of: tenants,
                    group: run,
                    partitions: partitions,
                    redis,
                    postgres
                )
            }
            try await publish(0..<5, streams)
            let first = try await read(150, partitions: 3)
            #expect(first.count == 30)
            #expect(first.values.allSatisfy { $0 == (0..<5).map { "e\($0)" } })
            // Told of one partition only, it reads what others still put into three.
            try await publish(5..<7, streams)
            try await publish(7..<9, EventStreams())
            let then = try await read(120, partitions: 1)
            #expect(then.values.allSatisfy { Set($0) == Set((5..<9).map { "e\($0)" }) })
            #expect(then.values.reduce(0) { $0 + $1.count } == 120)
            for stream in streams.all {
                _ = try? await redis.send(["XGROUP", "DESTROY", .string(stream), .string(run)])
            }
            await redis.stop()
        }
    }
}
