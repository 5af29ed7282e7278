import Coordination
import Domain
import EventLoop
import Foundation
import HTTPServer
import JSON
import Platform
import PostgresClient
import Testing

@testable import assignment_engine

@Suite("Gathering")
struct GatheringTests {
    /// Answers each question with itself; waits until it is let go, and notes what came together.
    @LoopActor
    private final class Place {
        private(set) var asked: [[Int]] = []
        private var held: [CheckedContinuation<Void, Never>] = []
        var isHeld = true

        func answer(_ questions: [Int]) async throws -> [Int] {
            asked.append(questions)
            if isHeld { await withCheckedContinuation { held.append($0) } }
            if questions.contains(13) { throw Failure() }
            return questions.map { $0 * 10 }
        }

        func letGo() {
            isHeld = false
            for one in held { one.resume() }
            held = []
        }
    }

    private struct Failure: Error {}

    @LoopActor private func gathering(
        _ place: Place,
        underWay: Int = 1,
        items: Int = 64,
        waiting: Int = 100
    ) -> Gathering<String, Int, Int> {
        var limits = WriteBatchLimits()
        limits.itemsMax = items
        limits.waitingMax = waiting
        return Gathering(underWayMax: underWay, limits: limits) { _, asked in
            try await place.answer(asked)
        }
    }

    /// Asks for each of `questions`, as far as each can go before the next begins.
    @LoopActor private func ask(
        _ gathering: Gathering<String, Int, Int>,
        _ questions: some Sequence<Int>,
        of key: String = "k"
    ) async throws -> [Task<Int, any Error>] {
        var tasks: [Task<Int, any Error>] = []
        for question in questions {
            tasks.append(Task { @LoopActor in try await gathering.ask(question, of: key) })
            try await EventLoop.shared.sleep(for: .milliseconds(1))
        }
        return tasks
    }

    @Test("the first is asked alone; who comes meanwhile goes together, each with its own answer")
    @LoopActor func together() async throws {
        let place = Place()
        let tasks = try await ask(gathering(place), 1...5)
        place.letGo()
        for (number, task) in tasks.enumerated() {
            #expect(try await task.value == (number + 1) * 10)
        }
        #expect(place.asked == [[1], [2, 3, 4, 5]])
    }

    @Test("as many are under way as may be, and no batch is larger than its limit")
    @LoopActor func limits() async throws {
        let place = Place()
        let tasks = try await ask(gathering(place, underWay: 2, items: 3), 1...9)
        #expect(place.asked == [[1], [2]])
        place.letGo()
        for task in tasks { _ = try await task.value }
        #expect(place.asked == [[1], [2], [3, 4, 5], [6, 7, 8], [9]])
    }

    @Test("keys do not wait for each other")
    @LoopActor func keys() async throws {
        let place = Place()
        let gathering = gathering(place)
        var tasks = try await ask(gathering, [1], of: "a")
        tasks += try await ask(gathering, [2], of: "b")
        #expect(place.asked == [[1], [2]])
        place.letGo()
        for task in tasks { _ = try await task.value }
    }

    @Test("a failure reaches all who were asked for together, and nobody after them")
    @LoopActor func failure() async throws {
        let place = Place()
        let gathering = gathering(place)
        let tasks = try await ask(gathering, [1, 13, 2])
        place.letGo()
        #expect(try await tasks[0].value == 10)
        for task in tasks[1...] { await #expect(throws: Failure.self) { try await task.value } }
        #expect(try await gathering.ask(3, of: "k") == 30)
    }

    @Test("too few answers are a failure of all, and nobody waits for ever")
    @LoopActor func tooFew() async throws {
        let gathering = Gathering<String, Int, Int>(underWayMax: 1, limits: WriteBatchLimits()) {
            Array($1.dropLast())
        }
        await #expect(throws: UnexpectedAnswer.self) { try await gathering.ask(1, of: "k") }
    }

    @Test("more than may wait are refused with 503, and the others are served")
    @LoopActor func refused() async throws {
        let place = Place()
        let tasks = try await ask(gathering(place, waiting: 2), 1...4)
        await #expect(throws: Problem.self) { try await tasks[3].value }
        place.letGo()
        #expect(try await tasks[2].value == 30)
    }
}

@Suite("Claims together", needsDatabase)
struct ClaimsTogetherTests {
    /// What `claim_sessions` answers to claims of new sessions, one for each row of agents.
    @LoopActor private func claim(
        _ store: TestStore,
        _ team: UUID,
        _ agents: [[UUID]],
        rank: String? = nil
    ) async throws -> [JSON] {
        var claims: [JSON] = []
        for row in agents {
            let session = try await store.sessions.open(
                store.tenant,
                HandoverRequest(conversationID: UUID(), contactID: "c", teamID: team),
                audit: AuditNote(actor: "test", reason: nil, requestID: "r")
            ).session
            claims.append([
                "tenant": .string(store.tenant.id.text), "tenant_code": .string(store.tenant.code),
                "session": .string(session.id.text),
                "agents": .array(row.map { .string($0.text) }),
                "decision": ["source": "handover", "reason": "assigned"],
                "terms": ["mode": "free", "rank": JSON(rank)],
            ])
            if rank == nil { claims[claims.count - 1] = claims[claims.count - 1].without("rank") }
        }
        let rows = try await store.postgres.query(
            "select answer from assignment.claim_sessions($1::jsonb) order by n",
            [.json(JSON.array(claims).text)]
        )
        return try rows.map { try JSON(stored: $0) }
    }

    @Test("each claim has its own answer, in the order in which they were asked")
    @LoopActor func answers() async throws {
        let store = try await TestStore.open()
        let team = try await store.team([:])
        let one = try await store.agent(in: team, capacity: 1)
        let two = try await store.agent(in: team, capacity: 9)
        let answers = try await claim(store, team, [[two], [one], [one, two], [two]])
        #expect(
            answers.map { $0["result"]?.stringValue } == [
                "assigned", "assigned", "alone", "assigned",
            ]
        )
        #expect(answers[1]["agent_id"]?.uuidValue == one)
        #expect(try await store.count("assignment.assignment_decisions where tenant_id = $1") == 3)
        let queued = "assignment.sessions where tenant_id = $1 and state = 'queued'"
        #expect(try await store.count(queued) == 1)
    }

    @Test("those who may choose see what those before them in the same commit got")
    @LoopActor func ranked() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "least_active"])
        let one = try await store.agent(in: team, capacity: 2)
        let two = try await store.agent(in: team, capacity: 2)
        let answers = try await claim(
            store,
            team,
            Array(repeating: [one, two], count: 5),
            rank: "least_active"
        )
        let got = answers.compactMap { $0["agent_id"]?.uuidValue }
        #expect(got.filter { $0 == one }.count == 2 && got.filter { $0 == two }.count == 2)
        #expect(answers.last?["result"] == "alone")
    }

    @Test("commits that want the same agents in opposite orders never wait in a circle")
    @LoopActor func opposed() async throws {
        let store = try await TestStore.open()
        let team = try await store.team([:])
        var agents: [UUID] = []
        for _ in 0..<6 { agents.append(try await store.agent(in: team)) }
        for _ in 0..<5 {
            let work = [agents, Array(agents.reversed()), agents.shuffled()].map { row in
                Task { @LoopActor in try await claim(store, team, row.map { [$0] }) }
            }
            for task in work {
                #expect(try await task.value.allSatisfy { $0["result"] == "assigned" })
            }
        }
        #expect(
            try await store.count(
                "assignment.agents where tenant_id = $1 and active_units <> 15"
            ) == 0
        )
    }

    @Test("runs at the same moment share commits")
    @LoopActor func commits() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["strategy": "fair"])
        for _ in 0..<4 { _ = try await store.agent(in: team) }
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        let work = (0..<24).map { _ in
            Task { @LoopActor in try await store.handOver(engine, team: team).outcome }
        }
        for task in work { #expect(try await task.value == .assign) }
        // Each is assigned at the time of its transaction.
        let moments = try await store.postgres.query(
            "select count(distinct assigned_at) as n from assignment.sessions where tenant_id = $1",
            [.uuid(store.tenant.id)]
        ).one().int("n")
        #expect(moments < 24, "\(moments) commits for 24 claims")
        try await store.expectTrue(cap: 1000)
    }

    @Test("a run that finds the session in other hands waits for it, and passes it by no more")
    @LoopActor func patient() async throws {
        let store = try await TestStore.open()
        let team = try await store.team([:])
        let agent = try await store.agent(in: team)
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        let session = try await store.sessions.open(
            store.tenant,
            HandoverRequest(conversationID: UUID(), contactID: "c", teamID: team),
            audit: AuditNote(actor: "test", reason: nil, requestID: "r")
        ).session
        // Somebody looks on for a while, as a second handover of the conversation does.
        let run = try await store.postgres.transaction { transaction in
            try await transaction.query(
                "select 1 from assignment.sessions where tenant_id = $1 and id = $2 for update",
                [.uuid(store.tenant.id), .uuid(session.id)]
            )
            let run = Task { @LoopActor in
                try await engine.run(store.tenant, session, source: .handover)
            }
            try await store.untilSomebodyWaits()
            return run
        }
        let result = try await run.value
        #expect(result.outcome == .assign && result.agentID == agent)
    }

    @Test("who leaves a team and comes back still carries what counts for the team's cap")
    @LoopActor func membership() async throws {
        let store = try await TestStore.open()
        let team = try await store.team(["capacity_units": 2])
        let agent = try await store.agent(in: team)
        let engine = store.engine(InMemoryRoundRobinContextProvider())
        for _ in 0..<2 { #expect(try await store.handOver(engine, team: team).agentID == agent) }
        try await store.leave(agent, from: team)
        try await store.join(agent, to: team)
        #expect(try await store.handOver(engine, team: team).outcome == .skip)
    }
}

extension JSON {
    fileprivate func without(_ name: String) -> JSON {
        var members = objectValue ?? [:]
        if var terms = members["terms"]?.objectValue {
            terms[name] = nil
            members["terms"] = .object(terms)
        }
        return .object(members)
    }
}
