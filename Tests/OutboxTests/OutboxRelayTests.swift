import EventLoop
import Foundation
import PostgresClient
import TestSupport
import Testing

@testable import Outbox

/// Answers calls as a test wants, and keeps what it was asked.
@LoopActor
private final class Callee: OutboxCaller {
    private(set) var calls: [OutboxRow] = []
    private let answer: @LoopActor (OutboxRow) async -> CallOutcome

    init(_ answer: @escaping @LoopActor (OutboxRow) async -> CallOutcome) { self.answer = answer }

    func call(_ row: OutboxRow) async -> CallOutcome {
        calls.append(row)
        return await answer(row)
    }

    func count(_ target: String) -> Int { calls.count { $0.target == target } }
}

@Suite("OutboxRelay", .serialized, .enabled(if: PrivatePostgres.isInstalled))
@LoopActor
struct OutboxRelayTests {
    /// A relay without a stream on a fresh database, with `callee` at the other end.
    private func withRelay(
        _ callee: Callee,
        _ body: @LoopActor (PostgresClient, OutboxRelay) async throws -> Void
    ) async throws {
        let database = try await MigratedDatabase()
        let locks = PostgresAdvisoryLocks(database.configuration) { _ in }
        try await locks.start()
        defer { locks.stop() }
        try await database.withClient { client in
            let relay = OutboxRelay(
                source: "messaging",
                postgres: client,
                stream: StreamProducer(nil),
                caller: callee,
                locks: locks
            ) { _ in }
            relay.start()
            try await body(client, relay)
        }
    }

    /// Leaves `count` calls of one service, each of its own key.
    private func leaveCalls(
        _ client: PostgresClient,
        _ target: String,
        _ count: Int,
        key: String? = nil
    ) async throws {
        _ = try await client.query(
            """
            select platform.enqueue_call('messaging', gen_random_uuid(), 't', $1, '/x',
              coalesce($3, $1 || n), n, '{}', gen_random_uuid()) from generate_series(1, $2) n
            """,
            [.string(target), .int(Int64(count)), PostgresValue(key)]
        )
    }

    private func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
        let deadline = MonotonicTime.now() + .seconds(5)
        while MonotonicTime.now() < deadline {
            if try await condition() { return true }
            try await EventLoop.shared.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test("a service that hangs holds up neither the calls of others nor the events")
    func hanging() async throws {
        let callee = Callee { row in
            guard row.target == "hanging" else { return .delivered }
            // Longer than the test looks.
            try? await EventLoop.shared.sleep(for: .seconds(8))
            return .unreachable("timeout")
        }
        try await withRelay(callee) { client, relay in
            // More than a pass takes, and all of them older than the rest.
            try await leaveCalls(client, "hanging", OutboxRelay.batchLimit * 2)
            try await leaveCalls(client, "other", 20)
            _ = try await client.query(
                "select platform.emit('messaging', gen_random_uuid(), 't', 'e', 'k', 1, '{}')"
            )
            relay.wake()
            let isDelivered = try await eventually { callee.count("other") == 20 }
            #expect(isDelivered)
            #expect(callee.count("hanging") == CalleeGate.callsLimit)
            let isPublished = try await eventually {
                try await client.query(
                    "select 1 from platform.outbox where kind = 'event' and published_at is null"
                ).isEmpty
            }
            #expect(isPublished)
        }
    }

    @Test("calls that end at the same moment are marked in one transaction")
    func marksTogether() async throws {
        try await withRelay(Callee { _ in .delivered }) { client, relay in
            try await leaveCalls(client, "other", CalleeGate.callsLimit)
            relay.wake()
            let marks = "count(distinct xmin::text) filter (where published_at is not null)"
            let isMarked = try await eventually {
                try await client.query("select from platform.outbox where published_at is null")
                    .isEmpty
            }
            #expect(isMarked)
            let row = try await client.query("select \(marks) as n from platform.outbox").one()
            #expect(try row.int("n") < Int64(CalleeGate.callsLimit) / 2)
        }
    }

    @Test("while a service is away it is tried with one call at a time; back again it gets all")
    func away() async throws {
        var isAway = true
        let callee = Callee { _ in isAway ? .unreachable("refused") : .delivered }
        try await withRelay(callee) { client, relay in
            try await leaveCalls(client, "other", 100)
            relay.wake()
            try await EventLoop.shared.sleep(for: .seconds(1))
            // The first ones go out together; then the pause doubles from 100 ms.
            #expect(
                (CalleeGate.callsLimit + 1...CalleeGate.callsLimit + 6).contains(callee.calls.count)
            )
            isAway = false
            let isDelivered = try await eventually {
                Set(callee.calls.suffix(100).map(\.id)).count == 100
            }
            #expect(isDelivered)
            let attempts = try await client.query("select max(attempts) as n from platform.outbox")
            #expect(try attempts.one().int("n") == 1)
        }
    }

    @Test("a call that nobody ever answers does not stop those behind it")
    func poison() async throws {
        let callee = Callee { $0.key == "poison" ? .unreachable("timeout") : .delivered }
        try await withRelay(callee) { client, relay in
            try await leaveCalls(client, "other", 1, key: "poison")
            try await leaveCalls(client, "other", 50)
            relay.wake()
            let isDelivered = try await eventually {
                callee.calls.count { $0.key != "poison" } == 50
            }
            #expect(isDelivered)
        }
    }

    @Test("calls of one key to one service keep their order, whatever is put off")
    func order() async throws {
        var refusals = 2
        let callee = Callee { row in
            guard row.keyVersion == 2, refusals > 0 else { return .delivered }
            refusals -= 1
            return .later("busy")
        }
        try await withRelay(callee) { client, relay in
            try await leaveCalls(client, "other", 4, key: "one")
            relay.wake()
            let isDelivered = try await eventually { callee.calls.count == 6 }
            #expect(isDelivered)
            #expect(callee.calls.map(\.keyVersion) == [1, 2, 2, 2, 3, 4])
        }
    }
}
