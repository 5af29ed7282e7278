import Coordination
import EventLoop
import Foundation
import JSON
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
}
