import Coordination
import EventLoop
import Foundation
import JSON
import Logging
import Platform
import PostgresClient
import Testing

@testable import assignment_engine

/// Does something before it counts: what may change between a run's look and its claim.
@LoopActor
private final class InterferingContexts: RoundRobinContextProvider {
    let name = "interfering"
    var interfere: (@LoopActor () async throws -> Void)?
    private(set) var calls = 0
    nonisolated init() {}

    func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        calls += 1
        let once = interfere
        interfere = nil
        do { try await once?() } catch { Issue.record(error) }
        return 0
    }
}

@Suite("Runs among others", needsDatabase)
struct DrainTests {
    @Test("a run whose chosen ones fill up meanwhile looks again, and counts no second turn")
    @LoopActor func lookedAgain() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "round_robin"])
        let full = try await store.agent(in: team, capacity: 1)
        let contexts = InterferingContexts()
        var late: UUID?
        contexts.interfere = {
            try await store.run(
                "update assignment.agents set active_units = 1 where tenant_id = $1 and id = $2",
                [.uuid(store.tenant.id), .uuid(full)]
            )
            late = try await store.agent(in: team)
        }
        let result = try await store.handOver(store.engine(contexts), team: team)
        #expect(result.outcome == .assign && result.agentID == late)
        #expect(contexts.calls == 1)
    }

    @Test("however many triggers arrive during a drain, they cause exactly one more")
    @LoopActor func coalesced() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "fair"])
        _ = try await store.agent(in: team, capacity: 1)
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        // It takes four units, so that every drain looks at it and none gives it away.
        let request = HandoverRequest(
            conversationID: UUID(),
            contactID: "c",
            teamID: team,
            context: ["channel": "voice"]
        )
        let audit = AuditNote(actor: "test", reason: nil, requestID: "r")
        let opened = try await engine.requestAssignment(store.tenant, request, audit: audit)
        #expect(opened.result.outcome == .skip)
        let drainer = QueueDrainer(
            service: engine,
            sessions: store.sessions,
            logger: Logger(label: "test")
        )
        drainer.trigger(store.tenant)
        // Now it waits for the database.
        try await EventLoop.shared.sleep(for: .milliseconds(1))
        for _ in 0..<50 { drainer.trigger(store.tenant) }
        let runs =
            "assignment.assignment_decisions where tenant_id = $1 and source = 'queue'"
        for _ in 0..<400 where try await store.count(runs) < 2 {
            try await EventLoop.shared.sleep(for: .milliseconds(5))
        }
        // A third one would begin at once.
        try await EventLoop.shared.sleep(for: .milliseconds(150))
        #expect(try await store.count(runs) == 2)
        await drainer.stop()
    }

    @Test("a changed place in the queue is told at most once in ten seconds")
    @LoopActor func places() async throws {
        let store = try await TestStore.open()
        let team = try await store.team([:])
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        var waiting: [UUID] = []
        for _ in 0..<3 { waiting.append(try await store.handOver(engine, team: team).session.id) }
        let last =
            "platform.outbox where tenant_id = $1 and target = 'session.position' and key = "
            + "'\(waiting[2].text)'"
        try await store.sessions.tellPositions(store.tenant, perTeam: 10)
        #expect(try await store.count(last) == 1)
        try await store.act(waiting[0], .close)
        try await store.sessions.tellPositions(store.tenant, perTeam: 10)
        #expect(try await store.count(last) == 1)
        try await store.run(
            "update assignment.told_positions set told_at = told_at - interval '10 s' "
                + "where tenant_id = $1",
            [.uuid(store.tenant.id)]
        )
        try await store.sessions.tellPositions(store.tenant, perTeam: 10)
        try await store.sessions.tellPositions(store.tenant, perTeam: 10)
        #expect(try await store.count(last) == 2)
    }
}
