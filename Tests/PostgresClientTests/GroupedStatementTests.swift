import EventLoop
import PostgresClient
import Testing

@Suite("GroupedStatementTests")
struct GroupedStatementTests {
    /// A database that is told when to answer, and remembers what came in which statement.
    @LoopActor
    final class Database {
        var statements: [[Int]] = []
        var isHeld = true
        /// What it refuses, and how.
        var fault: (items: Set<Int>, error: PostgresError)?
        private var held: [CheckedContinuation<Void, Never>] = []

        func answer(_ items: [Int]) async throws -> [String] {
            statements.append(items)
            if isHeld { await withCheckedContinuation { held.append($0) } }
            if let fault, !fault.items.isDisjoint(with: items) { throw fault.error }
            return items.map { "<\($0)>" }
        }

        func letGo() {
            isHeld = false
            for continuation in held { continuation.resume() }
            held = []
        }
    }

    private static let refusal = PostgresError(.server, "query", "a trigger says no")

    /// Calls for 0…<count while the first statement is held up; what each got.
    @LoopActor
    private static func calls(
        _ count: Int,
        _ database: Database
    ) async -> [Result<String, any Error>] {
        let grouped = GroupedStatement<Int, String> { try await database.answer($0) }
        var calls: [Task<String, any Error>] = []
        for item in 0..<count { calls.append(Task { try await grouped.call(item) }) }
        // All have come by then: they were begun before.
        try? await EventLoop.shared.sleep(for: .milliseconds(20))
        database.letGo()
        var results: [Result<String, any Error>] = []
        for call in calls { results.append(await call.result) }
        return results
    }

    private static func texts(_ results: [Result<String, any Error>]) -> [String] {
        results.map { (try? $0.get()) ?? "failed" }
    }

    @Test("what is called for in one tick goes together, each gets its own answer")
    @LoopActor func gathers() async {
        let database = Database()
        let results = await GroupedStatementTests.calls(150, database)
        #expect(GroupedStatementTests.texts(results) == (0..<150).map { "<\($0)>" })
        let most = GroupedStatement<Int, String>.itemsMax
        #expect(database.statements.map(\.count) == [most, most, 150 - 2 * most])
        #expect(Set(database.statements.joined()).count == 150)
    }

    @Test("told to wait for company, the first goes with whoever comes meanwhile")
    @LoopActor func waitsForCompany() async {
        let database = Database()
        database.letGo()
        let grouped = GroupedStatement<Int, String>(gathering: .milliseconds(5)) {
            try await database.answer($0)
        }
        let calls = (0..<10).map { item in Task { try await grouped.call(item) } }
        for (item, call) in calls.enumerated() {
            let text = try? await call.value
            #expect(text == "<\(item)>")
        }
        #expect(database.statements.map(\.count) == [10])
    }

    @Test("so many go together as are not too large together; what is too large alone goes alone")
    @LoopActor func size() async {
        let most = GroupedStatement<Int, String>.bytesMax
        let database = Database()
        let grouped = GroupedStatement<Int, String>(bytes: { $0 }) {
            try await database.answer($0)
        }
        let sizes = [0, most / 2, most / 2, 1, most + 1, most, 7]
        let calls = sizes.map { size in Task { try await grouped.call(size) } }
        try? await EventLoop.shared.sleep(for: .milliseconds(20))
        database.letGo()
        for (size, call) in zip(sizes, calls) {
            let text = try? await call.value
            #expect(text == "<\(size)>")
        }
        #expect(
            database.statements == [[0, most / 2, most / 2], [1], [most + 1], [most], [7]]
        )
    }

    @Test("one that the database refuses fails alone: its neighbours are done, each by itself")
    @LoopActor func poisoned() async {
        let database = Database()
        database.fault = ([3], GroupedStatementTests.refusal)
        let results = await GroupedStatementTests.calls(6, database)
        #expect(
            GroupedStatementTests.texts(results)
                == ["<0>", "<1>", "<2>", "failed", "<4>", "<5>"]
        )
    }

    @Test("when nobody knows what a statement did, it is not repeated: all are told")
    @LoopActor func unknownOutcome() async {
        let database = Database()
        database.fault = (
            [3], PostgresError(.connection, "query", "gone", outcomeUnknown: true)
        )
        let results = await GroupedStatementTests.calls(6, database)
        #expect(GroupedStatementTests.texts(results).allSatisfy { $0 == "failed" })
        #expect(database.statements.count == 1)
    }

    @Test("after a failure the next call goes as if nothing had been")
    @LoopActor func goesOn() async throws {
        let database = Database()
        database.letGo()
        database.fault = ([1], GroupedStatementTests.refusal)
        let grouped = GroupedStatement<Int, String> { try await database.answer($0) }
        await #expect(throws: PostgresError.self) { try await grouped.call(1) }
        #expect(try await grouped.call(2) == "<2>")
    }
}
