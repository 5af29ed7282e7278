import Coordination
import EventLoop
import Foundation
import HTTPServer
import JSON
import Outbox
import RedisClient
import Testing

@testable import assignment_engine

@Suite("Two clients of Redis", needsDatabase)
struct RedisClientsTests {
    private static let url = ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_REDIS_URL"]

    @Test(
        "closing the client of the streams stops no assignment, and the other way round",
        .enabled(if: url != nil, "needs SWITCHBOARD_TEST_REDIS_URL")
    )
    @LoopActor func apart() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "round_robin"])
        _ = try await store.agent(in: team)
        let url = try #require(RedisClientsTests.url)
        let turns = RedisClient(try RedisConfiguration(url: url))
        let streams = RedisClient(try RedisConfiguration(url: url))
        try await turns.start()
        try await streams.start()
        let engine = store.engine(RedisRoundRobinContextProvider(turns))
        let collector = Collector(redis: streams)
        let event = ReportedEvent(id: UUID(), name: "seen", at: 1_700_000_000_000, properties: [:])
        #expect(try await store.handOver(engine, team: team).outcome == .assign)
        try await collector.collect(store.tenant, [event])
        await streams.stop()
        await #expect(throws: RedisError.self) {
            try await collector.collect(store.tenant, [event])
        }
        #expect(try await store.handOver(engine, team: team).outcome == .assign)
        let again = RedisClient(try RedisConfiguration(url: url))
        try await again.start()
        await turns.stop()
        #expect(try await store.handOver(engine, team: team).outcome == .error)
        try await Collector(redis: again).collect(store.tenant, [event])
        await again.stop()
    }

    @Test(
        "events are refused, all of a request, before the stream throws uncounted ones away",
        .enabled(if: url != nil, "needs SWITCHBOARD_TEST_REDIS_URL")
    )
    @LoopActor func backlog() async throws {
        let store = try await TestStore.open()
        let redis = RedisClient(try RedisConfiguration(url: try #require(RedisClientsTests.url)))
        try await redis.start()
        let stream = EventStreams.analytics
        _ = try await redis.send(["DEL", .string(stream)])
        _ = try await redis.send([
            "XGROUP", "CREATE", .string(stream), .string(Processor.group), "0", "MKSTREAM",
        ])
        let filling = RedisScript(
            "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'n', n) end"
        )
        for _ in 0..<15 {
            _ = try await redis.run(
                filling,
                keys: [stream],
                arguments: [.int((Collector.waitingMax - 1) / 15)]
            )
        }
        let length = try await redis.send(["XLEN", .string(stream)]).integer ?? 0
        let room = Int(Collector.waitingMax - length)
        let events = (0...room).map { _ in
            ReportedEvent(id: UUID(), name: "seen", at: 1_700_000_000_000, properties: [:])
        }
        let collector = Collector(redis: redis)
        await #expect(throws: Problem.self) { try await collector.collect(store.tenant, events) }
        #expect(try await redis.send(["XLEN", .string(stream)]).integer == length)
        try await collector.collect(store.tenant, Array(events.dropLast()))
        // Somebody counts a few: there is room again at once.
        _ = try await redis.send([
            "XREADGROUP", "GROUP", .string(Processor.group), "c", "COUNT", "10", "STREAMS",
            .string(stream), ">",
        ])
        try await collector.collect(store.tenant, Array(events.prefix(5)))
        _ = try await redis.send(["DEL", .string(stream)])
        await redis.stop()
    }
}
