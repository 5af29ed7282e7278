import Coordination
import EventLoop
import Foundation
import JSON
import Platform
import PostgresClient
import Testing

@testable import assignment_engine

/// A team of which a run sees a part only must be served as if it saw everybody.
@Suite("Large teams", needsDatabase)
struct LargeTeamTests {
    /// More than two pages.
    static let size = RosterPage.first * 4

    @LoopActor private func team(
        _ store: TestStore,
        _ policy: JSON
    ) async throws -> (id: UUID, agents: [UUID]) {
        let team = try await store.team(policy)
        var agents: [UUID] = []
        for _ in 0..<LargeTeamTests.size { agents.append(try await store.agent(in: team)) }
        return (team, agents.sorted { $0 < $1 })
    }

    @Test("everybody gets a turn, in every strategy", arguments: Strategy.allCases)
    @LoopActor func turns(strategy: Strategy) async throws {
        let store = try await TestStore.open()
        let (team, agents) = try await team(store, ["strategy": .string(strategy.rawValue)])
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        var got: Set<UUID> = []
        for _ in agents {
            let result = try await store.handOver(engine, team: team)
            got.insert(try #require(result.agentID))
        }
        #expect(got == Set(agents))
    }

    @Test(
        "whoever alone has a skill is found behind all the others",
        arguments: Strategy.allCases
    )
    @LoopActor func skills(strategy: Strategy) async throws {
        let store = try await TestStore.open()
        let (team, agents) = try await team(store, ["strategy": .string(strategy.rawValue)])
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        // They stand next to each other in the ring: its turns would nearly all end at the first.
        let skilled = Array(agents[20..<23])
        for agent in skilled { try await store.skill(agent) }
        var got: [UUID: Int] = [:]
        for _ in 0..<9 {
            let result = try await store.handOver(engine, team: team, skill: "tax")
            got[try #require(result.agentID), default: 0] += 1
        }
        #expect(Set(got.keys) == Set(skilled))
        #expect(strategy != .roundRobin || got.values.allSatisfy { $0 == 3 })
    }

    @Test("a turn at the end of the ring goes on at its beginning")
    @LoopActor func wraps() async throws {
        let store = try await TestStore.open()
        let (team, agents) = try await team(store, ["strategy": "round_robin"])
        let contexts = InMemoryRoundRobinContextProvider()
        for _ in 0..<agents.count - 1 {
            _ = try await contexts.getNextIndex(
                contextKey: team.text,
                candidateCount: agents.count
            )
        }
        let engine = store.engine(contexts)
        let result = try await store.handOver(
            engine,
            team: team,
            declined: Array(agents.suffix(1) + agents.prefix(10))
        )
        #expect(result.agentID == agents[10])
    }

    @Test("when nobody is there, all of them are counted, and somebody away gets it in the end")
    @LoopActor func nobody() async throws {
        let store = try await TestStore.open()
        let (team, agents) = try await team(
            store,
            ["strategy": "fair", "max_wait_s": 60, "no_agent_action": "assign_offline"]
        )
        for (number, agent) in agents.enumerated() {
            try await store.status(agent, number < 10 ? "busy" : "offline")
        }
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        let result = try await store.handOver(engine, team: team)
        #expect(result.outcome == .skip && result.reason == "no_candidates")
        let decision = try #require(
            try await store.sessions.decisions(
                store.tenant,
                result.session.id,
                limit: 1,
                before: nil
            )
            .first
        )
        #expect(decision["counts"]?["not_accepting"]?.intValue == 10)
        #expect(decision["counts"]?["offline"]?.intValue == Int64(agents.count - 10))
        let before = "update assignment.sessions set enqueued_at = now() - interval '2 min' "
        try await store.run(before + "where tenant_id = $1", [.uuid(store.tenant.id)])
        let session = try #require(try await store.sessions.find(store.tenant, result.session.id))
        let later = try await engine.run(store.tenant, session, source: .timer)
        #expect(later.outcome == .assign && later.reason == "assigned_offline")
    }

    /// What a run decides for a session.
    @LoopActor private func decision(
        _ store: TestStore,
        _ engine: AssignmentService,
        _ id: UUID
    ) async throws -> JSON {
        let found = try await store.sessions.find(store.tenant, id)
        _ = try await engine.run(store.tenant, #require(found), source: .manual)
        return try #require(
            try await store.sessions.decisions(store.tenant, id, limit: 1, before: nil).first
        )
    }

    @Test("a decision keeps fifty candidates and fifty rejects, and counts them all")
    @LoopActor func listed() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "round_robin"])
        for _ in 0..<60 { _ = try await store.agent(in: team) }
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        let opened = try await store.sessions.open(
            store.tenant,
            HandoverRequest(conversationID: UUID(), contactID: "c", teamID: team),
            audit: AuditNote(actor: "test", reason: nil, requestID: "r")
        ).session
        let skill = "\"name\": \"tax\""
        try await store.run(
            "update assignment.sessions set required_skills = '[{\(skill), \"min\": 3}]' "
                + "where tenant_id = $1",
            [.uuid(store.tenant.id)]
        )
        let nobody = try await decision(store, engine, opened.id)
        #expect(nobody["reason"]?.stringValue == "missing_skill")
        #expect(nobody["rejected"]?.arrayValue?.count == 50)
        #expect(nobody["counts"]?["missing_skill"]?.intValue == 60)
        try await store.run(
            "update assignment.agents set skills = '[{\(skill), \"level\": 5}]' "
                + "where tenant_id = $1",
            [.uuid(store.tenant.id)]
        )
        let somebody = try await decision(store, engine, opened.id)
        #expect(somebody["outcome"]?.stringValue == "assign")
        #expect(somebody["candidates"]?.arrayValue?.count == 50)
    }

    @Test(
        "runs at the same time do not all give to whom they saw first",
        arguments: [Strategy.fair, .leastActive, .mostAvailable, .leastRecentlyAssigned]
    )
    @LoopActor func together(strategy: Strategy) async throws {
        let store = try await TestStore.open()
        let (team, _) = try await team(store, ["strategy": .string(strategy.rawValue)])
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        var got: [UUID: Int] = [:]
        for _ in 0..<4 {
            let work = (0..<8).map { _ in
                Task { @LoopActor in try await store.handOver(engine, team: team).agentID }
            }
            for task in work { got[try #require(try await task.value), default: 0] += 1 }
        }
        #expect(got.values.allSatisfy { $0 <= 2 }, "\(got.values.sorted())")
    }
}

extension TestStore {
    fileprivate func skill(_ agent: UUID) async throws {
        try await run(
            "update assignment.agents set skills = $3::jsonb where tenant_id = $1 and id = $2",
            [.uuid(tenant.id), .uuid(agent), .json(#"[{"name": "tax", "level": 5}]"#)]
        )
    }

    /// Hands a session over that asks for a skill, or that some have declined.
    fileprivate func handOver(
        _ engine: AssignmentService,
        team: UUID,
        skill: String? = nil,
        declined: [UUID] = []
    ) async throws -> RunResult {
        let opened = try await sessions.open(
            tenant,
            HandoverRequest(conversationID: UUID(), contactID: "c", teamID: team),
            audit: AuditNote(actor: "test", reason: nil, requestID: "r")
        ).session
        let until = Int64(Date().timeIntervalSince1970 * 1000) + 600_000
        let declines = JSONObject(declined.map { ($0.text, .int(until)) })
        try await run(
            "update assignment.sessions set required_skills = $3::jsonb, declined = $4::jsonb "
                + "where tenant_id = $1 and id = $2",
            [
                .uuid(tenant.id), .uuid(opened.id),
                .json(skill.map { #"[{"name": "\#($0)", "min": 3}]"# } ?? "[]"),
                .json(JSON.object(declines).text),
            ]
        )
        let session = try #require(try await sessions.find(tenant, opened.id))
        return try await engine.run(tenant, session, source: .handover)
    }
}
