import Testing

@testable import PostgresClient

@Suite("PipelineStateMachine")
struct PipelineStateMachineTests {
    typealias Received = PipelineStateMachine.Received
    typealias Action = PipelineStateMachine.Action

    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let sent: [ExchangeSteps]
        let events: [(Received, Action)]
    }

    static let rows: [Row] = [
        Row(
            testDescription: "one statement",
            sent: [.execute],
            events: [(.success, .keepRows), (.end, .skip), (.sync, .finish), (.end, .skip)]
        ),
        Row(
            testDescription: "every piece",
            sent: [[.deallocate, .begin, .prepare, .execute]],
            events: [
                (.success, .skip), (.end, .skip), (.success, .skip), (.end, .skip),
                (.success, .skip), (.end, .skip), (.success, .keepRows), (.end, .skip),
                (.sync, .finish),
            ]
        ),
        Row(
            testDescription: "a failure to prepare aborts the rest, and only of its own exchange",
            sent: [[.prepare, .execute], .execute],
            events: [
                (.error, .keepError(.prepare)), (.end, .skip), (.aborted, .skip), (.end, .skip),
                (.sync, .finish), (.success, .keepRows), (.end, .skip), (.sync, .finish),
            ]
        ),
        Row(
            testDescription: "a failure to run",
            sent: [.execute, .execute],
            events: [
                (.error, .keepError(.execute)), (.end, .skip), (.sync, .finish),
                (.success, .keepRows), (.end, .skip), (.sync, .finish),
            ]
        ),
        Row(
            testDescription: "a failure to commit comes in the sync's place",
            sent: [.execute],
            events: [
                (.success, .keepRows), (.end, .skip), (.error, .keepError([])), (.end, .skip),
                (.sync, .finish),
            ]
        ),
        Row(
            testDescription: "the session ends while an error is told",
            sent: [.execute],
            events: [(.error, .keepError(.execute)), (.error, .skip)]
        ),
        Row(
            testDescription: "a result that nobody asked for",
            sent: [],
            events: [(.success, .violation)]
        ),
        Row(testDescription: "an early sync", sent: [.execute], events: [(.sync, .violation)]),
        Row(
            testDescription: "two results of one piece",
            sent: [.execute],
            events: [(.success, .keepRows), (.success, .violation)]
        ),
        Row(
            testDescription: "aborted by nothing",
            sent: [.execute],
            events: [(.aborted, .violation)]
        ),
        Row(testDescription: "COPY", sent: [.execute], events: [(.other, .violation)]),
    ]

    @Test("knows which result belongs to what", arguments: rows)
    func table(_ row: Row) {
        var machine = PipelineStateMachine()
        for steps in row.sent { machine.sent(steps) }
        for (index, (event, action)) in row.events.enumerated() {
            #expect(machine.received(event) == action, "event \(index)")
        }
    }

    @Test("every event in every state is an action, never a trap")
    func grid() {
        let histories: [[Received]] = [
            [], [.success], [.success, .end], [.error], [.error, .end], [.success, .end, .error],
            [.success, .end, .sync],
        ]
        for history in histories {
            for event in Received.allCases {
                var machine = PipelineStateMachine()
                machine.sent(.execute)
                for past in history { _ = machine.received(past) }
                _ = machine.received(event)
            }
        }
    }

    @Test("counts what is in flight")
    func count() {
        var machine = PipelineStateMachine()
        machine.sent(.execute)
        machine.sent(.execute)
        #expect(machine.count == 2)
        for event in [Received.success, .end, .sync] { _ = machine.received(event) }
        #expect(machine.count == 1)
    }
}

@Suite("StatementCache")
struct StatementCacheTests {
    @Test("a statement is prepared once and found afterwards")
    func hit() {
        var cache = StatementCache(limit: 2)
        #expect(cache.use("a") == .prepare("s1", dropping: nil))
        #expect(cache.use("a") == .prepared("s1"))
        #expect(cache.use("b") == .prepare("s2", dropping: nil))
    }

    @Test("at the limit the one unused for longest is dropped")
    func eviction() {
        var cache = StatementCache(limit: 2)
        _ = cache.use("a")
        _ = cache.use("b")
        _ = cache.use("a")
        #expect(cache.use("c") == .prepare("s3", dropping: "s2"))
        #expect(cache.count == 2)
        #expect(cache.use("a") == .prepared("s1"))
        #expect(cache.use("b") == .prepare("s4", dropping: "s3"))
    }

    @Test("a preparation that failed is forgotten, a later one of the same text is not")
    func failedPreparation() {
        var cache = StatementCache(limit: 2)
        _ = cache.use("a")
        cache.preparationFailed("a", name: "s1")
        #expect(cache.use("a") == .prepare("s2", dropping: nil))
        cache.preparationFailed("a", name: "s1")
        #expect(cache.use("a") == .prepared("s2"))
    }

    @Test("a stale statement is prepared anew, and dropped when the server knows it")
    func stale() {
        var cache = StatementCache(limit: 2)
        _ = cache.use("a")
        cache.becameStale("a", name: "s1", isKnownToServer: true)
        #expect(cache.use("a") == .prepare("s2", dropping: "s1"))
        cache.becameStale("a", name: "s2", isKnownToServer: false)
        #expect(cache.use("a") == .prepare("s3", dropping: nil))
        cache.becameStale("a", name: "s2", isKnownToServer: true)
        #expect(cache.use("a") == .prepared("s3"))
    }

    @Test("columns are kept with their statement")
    func columns() {
        var cache = StatementCache(limit: 1)
        _ = cache.use("a")
        #expect(cache.columns(of: "a") == nil)
        let columns = PostgresColumns(["x", "y", "x"])
        cache.remember(columns, of: "a")
        #expect(cache.columns(of: "a") === columns)
        #expect(columns.index(of: "x") == 0)
        #expect(columns.index(of: "z") == nil)
        _ = cache.use("b")
        cache.remember(columns, of: "a")
        #expect(cache.columns(of: "a") == nil)
    }
}
