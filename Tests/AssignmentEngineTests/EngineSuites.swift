import Coordination
import EventLoop
import Foundation
import JSON
import Platform
import PostgresClient
import TestSupport
import Testing

@testable import assignment_engine

let needsDatabase = ConditionTrait.enabled(
    if: TestStore.url != nil,
    "needs SWITCHBOARD_TEST_DATABASE_URL"
)

@Suite("round-robin", needsDatabase)
struct RoundRobinSuite {
    @Test(
        "three instances share the turns: counts differ by at most one",
        arguments: Contexts.allCases
    )
    @LoopActor func turns(contexts: Contexts) async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "round_robin"])
        var counts: [UUID: Int] = [:]
        for _ in 0..<4 { counts[try await store.agent(in: team)] = 0 }
        let shared = contexts.make()
        let engines = (0..<3).map { _ in store.engine(shared) }
        for number in 0..<31 {
            let result = try await store.handOver(engines[number % 3], team: team)
            let owner = try #require(result.agentID)
            counts[owner, default: 0] += 1
        }
        #expect(counts.values.allSatisfy { $0 == 7 || $0 == 8 })
        #expect(counts.count == 4)
    }

    @Test(
        "nobody there: no turn is counted; a full agent is passed over in its turn",
        arguments: Contexts.allCases
    )
    @LoopActor func skips(contexts: Contexts) async throws {
        let store = try await TestStore.open()
        let team = try await store.team([:])
        let contexts = CountedContexts(contexts.make())
        let engine = store.engine(contexts)
        #expect(try await store.handOver(engine, team: team).outcome == .skip)
        #expect(contexts.calls == 0)
        let small = try await store.agent(in: team, capacity: 1)
        let large = try await store.agent(in: team)
        var got: [UUID] = []
        for _ in 0..<4 {
            let result = try await store.handOver(engine, team: team)
            got.append(try #require(result.agentID))
        }
        #expect(got.filter { $0 == small }.count == 1 && got.filter { $0 == large }.count == 3)
        #expect(contexts.calls == 4)
    }
}

@Suite("tenant-routing", needsDatabase)
struct TenantRoutingSuite {
    @Test("with a team only its members, without one anybody of the tenant, never another tenant's")
    @LoopActor func routing() async throws {
        let store = try await TestStore.open()
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        let other = try await store.makeTenant()
        // The same ids in two tenants: they share nothing but their looks.
        let team = try await store.team([:])
        _ = try await store.team([:], id: team, tenant: other)
        let stranger = try await store.agent(in: team, tenant: other)
        #expect(try await store.handOver(engine, team: team).outcome == .skip)
        let member = try await store.agent(in: team)
        let colleague = try await store.agent(in: nil)
        for _ in 0..<3 { #expect(try await store.handOver(engine, team: team).agentID == member) }
        var pool: Set<UUID> = []
        for _ in 0..<4 {
            let result = try await store.handOver(engine, team: nil)
            pool.insert(try #require(result.agentID))
        }
        #expect(pool == [member, colleague] && !pool.contains(stranger))
    }
}

@Suite("fair", needsDatabase)
struct FairSuite {
    /// Deviation of what each got from its share of what was given while it was there, in units.
    @LoopActor private func deviation(
        weights: [Int],
        churn: Double,
        seed: UInt64
    ) async throws -> Double {
        var random = SeededRandom(seed: seed)
        let store = try await TestStore.open()
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        let team = try await store.team(["strategy": "fair"])
        var agents: [UUID] = []
        for weight in weights { agents.append(try await store.agent(in: team, weight: weight)) }
        var isThere = weights.map { _ in true }
        var (got, due) = (weights.map { _ in 0.0 }, weights.map { _ in 0.0 })
        for _ in 0..<120 {
            if random.chance(churn) {
                let index = Int.random(in: 0..<agents.count, using: &random)
                isThere[index].toggle()
                try await store.status(agents[index], isThere[index] ? "online" : "offline")
            }
            let present = agents.indices.filter { isThere[$0] }
            guard !present.isEmpty else { continue }
            let total = present.reduce(0) { $0 + weights[$1] }
            for index in present { due[index] += Double(weights[index]) / Double(total) }
            let result = try await store.handOver(engine, team: team)
            let owner = try #require(result.agentID)
            let index = try #require(agents.firstIndex(of: owner))
            got[index] += 1
        }
        return zip(got, due).map { abs($0 - $1) }.max() ?? 0
    }

    @Test(
        "a fixed roster: each is within one session of its share, whatever the weights",
        arguments: [
            [100, 100, 100, 100], [100, 100, 200, 50], [300, 100], [1000, 100, 100, 100, 100],
            [10, 20, 500, 70, 100, 300, 30], [1000, 1, 1, 1],
        ]
    )
    @LoopActor func fixed(weights: [Int]) async throws {
        let found = try await deviation(weights: weights, churn: 0, seed: 1)
        #expect(found <= 1.0 + 1e-9)
    }

    @Test(
        "under churn each gets its share, as near as any rule can bring it",
        arguments: [[100, 100, 100, 100], [100, 100, 200, 50], [300, 100]],
        1...6
    )
    @LoopActor func churn(weights: [Int], seed: Int) async throws {
        let found = try await deviation(weights: weights, churn: 0.15, seed: UInt64(seed))
        #expect(found <= max(1, FairModelTests.reach(weights.count)) + 1e-6)
    }
}

@Suite("assignment-engine", needsDatabase)
struct EngineSuite {
    @Test("twenty seeds of parallel work keep counts, caps and owners true", arguments: 1...20)
    @LoopActor func parallel(seed: Int) async throws {
        var random = SeededRandom(seed: UInt64(seed))
        let store = try await TestStore.open()
        let strategy = try #require(Strategy.allCases.randomElement(using: &random))
        let team = try await store.team([
            "strategy": .string(strategy.rawValue), "capacity_units": 2,
        ])
        var agents: [UUID] = []
        for _ in 0..<4 {
            let capacity = Int.random(in: 1...3, using: &random)
            agents.append(try await store.agent(in: team, capacity: capacity))
        }
        let shared = InMemoryRoundRobinContextProvider()
        let engines = [store.engine(shared), store.engine(shared)]
        let known = Known()
        var work: [Task<Void, any Error>] = []
        for number in 0..<60 {
            // As many at once as there are connections for, and a few that wait.
            if number % 12 == 0 {
                for task in work { try await task.value }
                work = []
            }
            let (choice, roll) = (Int.random(in: 0..<10, using: &random), random.next())
            let agent = agents[Int(roll % 4)]
            work.append(
                Task { @LoopActor in
                    let engine = engines[number % 2]
                    switch choice {
                    case 0..<4:
                        known.ids.append(try await store.handOver(engine, team: team).session.id)
                    case 4: try await store.status(agent, roll & 16 == 0 ? "online" : "offline")
                    default:
                        guard let id = known.pick(roll),
                            let session = try await store.sessions.find(store.tenant, id)
                        else { return }
                        switch choice {
                        case 5: _ = try await engine.run(store.tenant, session, source: .queue)
                        case 6: try await store.act(id, .close)
                        case 7: try await store.act(id, roll & 16 == 0 ? .hold : .resume)
                        case 8: try await store.replied(id, agent)
                        default: try await store.give(id, to: agent)
                        }
                    }
                }
            )
        }
        for task in work { try await task.value }
        try await store.expectTrue()
    }
}

extension EngineSuite {
    @Test("runs that try the same full agents in other orders never wait for each other")
    @LoopActor func opposed() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "round_robin", "capacity_units": 40])
        for _ in 0..<6 { _ = try await store.agent(in: team, capacity: 6) }
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        var assigned = 0
        for _ in 0..<8 {
            let work = (0..<12).map { _ in
                Task { @LoopActor in try await store.handOver(engine, team: team).outcome }
            }
            for task in work where try await task.value == .assign { assigned += 1 }
        }
        #expect(assigned == 36)
        try await store.expectTrue(cap: 40)
    }
}

extension EngineSuite {
    @Test("a recount repairs what is wrong, and takes a claim under way for no drift")
    @LoopActor func recount() async throws {
        let store = try await TestStore.open()
        let team = try await store.team([:])
        let agent = try await store.agent(in: team, capacity: 2)
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        _ = try await store.handOver(engine, team: team)
        try await store.run(
            "update assignment.agents set active_units = 2 where tenant_id = $1 and id = $2",
            [.uuid(store.tenant.id), .uuid(agent)]
        )
        #expect(try await store.drift(agent) == -1)
        #expect(try await store.drift(agent) == 0)
        // A claim that has taken the agent's row and not committed: the recount waits for it, and
        // must count what it brought.
        let session = try await store.sessions.open(
            store.tenant,
            HandoverRequest(conversationID: UUID(), contactID: "c", teamID: team),
            audit: AuditNote(actor: "test", reason: nil, requestID: "r")
        ).session
        let recount = try await store.postgres.transaction { transaction in
            try await transaction.query(
                "select assignment.claim_session($1, $2, $3, $4::uuid[], $5::jsonb)",
                [
                    .uuid(store.tenant.id), .string(store.tenant.code), .uuid(session.id),
                    .uuids([agent]), .json(#"{"source": "manual", "reason": "assigned"}"#),
                ]
            )
            let recount = Task { @LoopActor in try await store.drift(agent) }
            try await store.untilSomebodyWaits()
            return recount
        }
        #expect(try await recount.value == 0)
        try await store.expectTrue()
    }

    @Test("an agent's turn survives leaving and joining, and so does the counter's key")
    @LoopActor func churn() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "least_recently_assigned"])
        let (one, two) = (try await store.agent(in: team), try await store.agent(in: team))
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        let first = try await store.handOver(engine, team: team).agentID
        try await store.status(first ?? one, "offline")
        try await store.status(first ?? one, "online")
        #expect(try await store.handOver(engine, team: team).agentID == (first == one ? two : one))
        #expect(try await store.handOver(engine, team: team).agentID == first)
    }
}

/// Sessions that there are so far.
@LoopActor
private final class Known {
    var ids: [UUID] = []
    nonisolated init() {}
    func pick(_ roll: UInt64) -> UUID? { ids.isEmpty ? nil : ids[Int(roll >> 8) % ids.count] }
}

extension TestStore {
    func give(_ session: UUID, to agent: UUID) async throws {
        try await run(
            "select assignment.give_session($1, $2, $3, $4, 'transfer', false, 'test', null, 'r')",
            [.uuid(tenant.id), .string(tenant.code), .uuid(session), .uuid(agent)]
        )
    }

    /// Recounts an agent's load; what was repaired.
    func drift(_ agent: UUID) async throws -> Int {
        try await postgres.query(
            "select assignment.reconcile_load($1, $2) as n",
            [.uuid(tenant.id), .uuid(agent)]
        ).one().int("n")
    }

    /// Until a statement waits for a lock of another.
    func untilSomebodyWaits() async throws {
        for _ in 0..<200 {
            let waiting = try await postgres.query(
                "select count(*) as n from pg_stat_activity "
                    + "where datname = current_database() and wait_event_type = 'Lock'",
                []
            ).one().int("n")
            if waiting > 0 { return }
            try await EventLoop.shared.sleep(for: .milliseconds(5))
        }
        Issue.record("nobody waited")
    }

    /// What must hold in the tables at any moment.
    func expectTrue(cap: Int = 2) async throws {
        let agents = "assignment.agents a where a.tenant_id = $1"
        let mine =
            "from assignment.sessions s where s.tenant_id = a.tenant_id "
            + "and s.assignee_id = a.id and s.state in ('assigned', 'offered')"
        #expect(
            try await count(
                "\(agents) and a.active_units <> "
                    + "(select coalesce(sum(units), 0) \(mine))"
            ) == 0
        )
        #expect(try await count("\(agents) and a.active_units > a.capacity_units") == 0)
        let members =
            "assignment.team_candidates c join assignment.agents a "
            + "on a.tenant_id = c.tenant_id and a.id = c.agent_id where c.tenant_id = $1"
        #expect(try await count("\(members) and c.team_units > \(cap) and c.team_id <> $1") == 0)
        #expect(
            try await count(
                "\(members) and c.team_units <> (select coalesce(sum(units), 0) \(mine) "
                    + "and coalesce(s.team_id, s.tenant_id) = c.team_id)"
            ) == 0
        )
        #expect(
            try await count(
                "\(members) and (c.has_room, c.load_units, c.free_units) is distinct "
                    + "from (a.active_units < a.capacity_units, a.active_units, "
                    + "a.capacity_units - a.active_units)"
            ) == 0
        )
        #expect(
            try await count(
                "assignment.sessions where tenant_id = $1 and state = 'queued' "
                    + "and last_reason is null"
            ) == 0
        )
    }
}
