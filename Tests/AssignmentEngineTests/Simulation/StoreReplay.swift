import EventLoop
import Foundation
import JSON
import Platform
import PostgresClient
import TestSupport
import Testing

@testable import assignment_engine

/// Lives of the simulation once more, on the real store: whatever the model says of a claim, the
/// database has to say as well, and in the end both have the same sessions, loads and memberships.
@Suite("The simulation's store is the real one", needsDatabase)
struct StoreReplayTests {
    /// Two hundred with `SWITCHBOARD_LONG`.
    static let seeds =
        ProcessInfo.processInfo.environment["SWITCHBOARD_LONG"] == nil ? 4 : 200

    @Test("what the model of the store does, PostgreSQL does")
    @LoopActor func seeds() async throws {
        for seed in 1...StoreReplayTests.seeds {
            var random = SeededRandom(seed: UInt64(seed))
            let life = try Simulation.run(&random)
            let store = StoreReplay(try await TestStore.open(), life.beginning)
            try await store.setUp()
            do {
                for deed in life.end.deeds { try await store.perform(deed, life.end) }
                try await store.compare(life.end)
            } catch let violation as Violation {
                Issue.record("\(random): \(violation)")
            }
        }
    }
}

/// A company in the database, and what its people and sessions are called there.
@LoopActor
private final class StoreReplay {
    let store: TestStore
    let beginning: World
    var agents: [UUID] = []
    var teams: [UUID] = []
    var sessions: [Int: UUID] = [:]

    init(_ store: TestStore, _ beginning: World) {
        self.store = store
        self.beginning = beginning
    }

    private var tenant: PostgresValue { .uuid(store.tenant.id) }
    private var code: PostgresValue { .string(store.tenant.code) }

    func setUp() async throws {
        try await store.run(
            "insert into assignment.tenant_settings (tenant_id, channel_units) values ($1, $2::jsonb)",
            [tenant, .json(#"{"double": 2}"#)]
        )
        for agent in beginning.agents {
            agents.append(try await store.agent(in: nil, capacity: agent.capacity))
        }
        for (number, policy) in beginning.policies.enumerated() {
            let team = try await store.team(["capacity_units": JSON(policy.capacityUnits)])
            teams.append(team)
            for member in beginning.teams[number] {
                try await store.join(agents[member.agent], to: team)
            }
        }
    }

    func perform(_ deed: World.Deed, _ world: World) async throws {
        switch deed {
        case .arrive(let index): try await arrive(index, world)
        case .claim(let index, let order, let takesAbsent, let winner):
            try await claim(index, order, takesAbsent, winner, world)
        case .skip(let index, let reason):
            let decision: JSON = [
                "source": "queue", "outcome": "skip", "reason": .string(reason),
            ]
            try await store.run(
                "select assignment.leave_session($1, $2, $3, $4::jsonb)",
                [tenant, code, .uuid(try session(index)), .json(decision.text)]
            )
        case .close(let index): try await store.act(try session(index), .close)
        case .hold(let index): try await store.act(try session(index), .hold)
        case .resume(let index): try await store.act(try session(index), .resume)
        case .requeue(let index):
            try await store.run(
                "select assignment.requeue(s, $2, 'manual', 'declined', true, false) "
                    + "from assignment.sessions s where s.tenant_id = $1 and s.id = $3",
                [tenant, code, .uuid(try session(index))]
            )
        case .transfer(let index, let agent):
            try await store.run(
                "select assignment.give_session($1, $2, $3, $4, 'transfer', true, 't', null, 'r')",
                [tenant, code, .uuid(try session(index)), .uuid(agents[agent])]
            )
        case .change(let agent, let state): try await change(agent, state)
        case .join(let agent, let team): try await store.join(agents[agent], to: teams[team])
        case .leave(let agent, let team): try await store.leave(agents[agent], from: teams[team])
        }
    }

    private func session(_ index: Int) throws -> UUID {
        guard let id = sessions[index] else { throw Violation("session \(index) never arrived") }
        return id
    }

    private func arrive(_ index: Int, _ world: World) async throws {
        let session = world.sessions[index]
        sessions[index] =
            try await store.sessions.open(
                store.tenant,
                HandoverRequest(
                    conversationID: UUID(),
                    contactID: "c",
                    teamID: teams[session.team],
                    context: session.facts.units == 2 ? ["channel": "double"] : [:]
                ),
                audit: AuditNote(actor: "test", reason: nil, requestID: "r")
            ).session.id
    }

    private func claim(
        _ index: Int,
        _ order: [UUID],
        _ takesAbsent: Bool,
        _ winner: Int?,
        _ world: World
    ) async throws {
        let asked = order.compactMap { id in
            beginning.agents.firstIndex { $0.id == id }.map { agents[$0] }
        }
        let cap = world.policies[world.sessions[index].team].capacityUnits
        let terms: JSON = [
            "mode": takesAbsent ? "offline" : "free", "team_cap": JSON(cap),
        ]
        let answer = try await store.sessions.call(
            "select assignment.claim_session($1, $2, $3, $4::uuid[], $5::jsonb, $6::jsonb) "
                + "as answer",
            [
                tenant, code, .uuid(try session(index)), .uuids(asked),
                .json(#"{"source": "queue", "reason": "assigned"}"#), .json(terms.text),
            ]
        )
        let got = answer["result"] == "assigned" ? answer["agent_id"]?.uuidValue : nil
        guard got == winner.map({ agents[$0] }) else {
            throw Violation(
                "session \(index): the model gives it to \(winner as Any), not \(answer.text)"
            )
        }
    }

    private func change(_ agent: Int, _ state: World.Agent) async throws {
        try await store.run(
            "update assignment.agents set status = $3, accepting = $4, capacity_units = $5, "
                + "presence_expires_at = $6::timestamptz where tenant_id = $1 and id = $2",
            [
                tenant, .uuid(agents[agent]), .string(state.isOnline ? "online" : "offline"),
                .bool(state.isAccepting), .int(state.capacity),
                .string(state.isPresent ? "infinity" : "-infinity"),
            ]
        )
        try await store.run(
            "select assignment.refresh_candidates($1, $2)",
            [tenant, .uuid(agents[agent])]
        )
    }

    /// Whether the store has in the end what the model has.
    func compare(_ world: World) async throws {
        for (index, session) in world.sessions.enumerated() {
            let there = try await store.sessions.find(store.tenant, try self.session(index))
            let owner = there?.document["assignee_id"]?.uuidValue
            guard there?.state == session.state, owner == session.owner.map({ agents[$0] }) else {
                throw Violation(
                    "session \(index) is \(session.state) of \(session.owner as Any) in the model "
                        + "and \(there?.document.text ?? "gone") in the store"
                )
            }
        }
        for (index, agent) in world.agents.enumerated() {
            let load = try await store.postgres.query(
                "select active_units as n from assignment.agents where tenant_id = $1 and id = $2",
                [tenant, .uuid(agents[index])]
            ).one().int("n")
            guard load == agent.active else {
                throw Violation("agent \(index) carries \(agent.active), and \(load) in the store")
            }
        }
        for (team, members) in world.teams.enumerated() {
            for member in members {
                let units = try await store.postgres.query(
                    "select team_units as n from assignment.team_candidates "
                        + "where tenant_id = $1 and team_id = $2 and agent_id = $3",
                    [tenant, .uuid(teams[team]), .uuid(agents[member.agent])]
                ).one().int("n")
                guard units == member.units else {
                    throw Violation(
                        "agent \(member.agent) carries \(member.units) of team \(team), "
                            + "and \(units) in the store"
                    )
                }
            }
        }
    }
}
