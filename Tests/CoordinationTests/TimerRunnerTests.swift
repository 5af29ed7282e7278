import EventLoop
import Foundation
import PostgresClient
import TestSupport
import Testing

@testable import Coordination

@Suite("TimerRunner", .serialized, .enabled(if: PrivatePostgres.isInstalled))
@LoopActor
struct TimerRunnerTests {
    /// What the handlers of a test have done.
    @LoopActor
    private final class Record {
        var acted: [UUID] = []
        var attempts: [Int] = []
        var isBlocked = true
        nonisolated init() {}
    }

    private func setTimers(_ client: PostgresClient, _ count: Int, kind: String = "k") async throws
    {
        _ = try await client.query(
            """
            select platform.set_timer('tests', gen_random_uuid(), 't', $1, gen_random_uuid(), n,
              now() - n * interval '1 ms', '{}') from generate_series(1, $2) n
            """,
            [.string(kind), .int(Int64(count))]
        )
    }

    private func left(_ client: PostgresClient) async throws -> Int {
        try await client.query("select count(*)::int as n from platform.timers").one().int("n")
    }

    private func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
        let deadline = MonotonicTime.now() + .seconds(8)
        while MonotonicTime.now() < deadline {
            if try await condition() { return true }
            try await EventLoop.shared.sleep(for: .milliseconds(10))
        }
        return false
    }

    private func runner(
        _ client: PostgresClient,
        lease: Duration = TimerRunner.lease,
        _ handler: @escaping @LoopActor (DueTimer) async throws -> Void
    ) -> TimerRunner {
        TimerRunner(
            owner: "tests",
            postgres: client,
            lease: lease,
            failed: { _ in },
            handler: handler
        )
    }

    @Test("every due timer fires once, though two runners look")
    func once() async throws {
        try await MigratedDatabase().withClient { client in
            try await setTimers(client, 100)
            let record = Record()
            let runners = (0..<2).map { _ in runner(client) { record.acted.append($0.id) } }
            for runner in runners { runner.start() }
            let isDone = try await eventually { try await left(client) == 0 }
            #expect(isDone)
            for runner in runners { await runner.stop() }
            #expect(record.acted.count == 100)
            #expect(Set(record.acted).count == 100)
        }
    }

    @Test("one that takes long delays no other")
    func slow() async throws {
        try await MigratedDatabase().withClient { client in
            try await setTimers(client, 40, kind: "quick")
            try await setTimers(client, 1, kind: "slow")
            let record = Record()
            let runner = runner(client) { timer in
                while timer.kind == "slow" && record.isBlocked {
                    try await EventLoop.shared.sleep(for: .milliseconds(10))
                }
                record.acted.append(timer.id)
            }
            runner.start()
            let isDone = try await eventually { record.acted.count == 40 }
            #expect(isDone)
            #expect(try await left(client) == 1)
            record.isBlocked = false
            await runner.stop()
            #expect(try await left(client) == 0)
        }
    }

    @Test("one that takes too long at the end is cut off, and left to its lease")
    func endless() async throws {
        try await MigratedDatabase().withClient { client in
            try await setTimers(client, 1)
            let record = Record()
            let runner = runner(client, lease: .milliseconds(700)) { timer in
                record.attempts.append(timer.attempts)
                if timer.attempts == 1 { try await EventLoop.shared.sleep(for: .seconds(60)) }
            }
            runner.start()
            #expect(try await eventually { record.attempts == [1] })
            let began = MonotonicTime.now()
            await runner.stop(within: .milliseconds(200))
            #expect(MonotonicTime.now() - began < .seconds(5))
            let next = self.runner(client) { record.attempts.append($0.attempts) }
            next.start()
            #expect(try await eventually { try await left(client) == 0 })
            await next.stop()
            #expect(record.attempts == [1, 2])
        }
    }

    @Test("one whose action fails comes again, later each time")
    func failing() async throws {
        try await MigratedDatabase().withClient { client in
            try await setTimers(client, 1)
            let record = Record()
            let runner = runner(client) { timer in
                record.attempts.append(timer.attempts)
                if timer.attempts < 2 { throw CoordinationError(operation: "x", message: "y") }
            }
            runner.start()
            let isDone = try await eventually { try await left(client) == 0 }
            await runner.stop()
            #expect(isDone)
            #expect(record.attempts == [1, 2])
        }
    }

    @Test("one whose runner died goes to the next when its lease has ended")
    func lease() async throws {
        try await MigratedDatabase().withClient { client in
            try await setTimers(client, 1)
            _ = try await client.query(
                "select * from platform.take_timers('tests', 10, interval '700 ms')"
            )
            let record = Record()
            let runner = runner(client, lease: .seconds(5)) { record.attempts.append($0.attempts) }
            let began = MonotonicTime.now()
            runner.start()
            let isDone = try await eventually { try await left(client) == 0 }
            await runner.stop()
            #expect(isDone)
            #expect(record.attempts == [2])
            #expect(MonotonicTime.now() - began > .milliseconds(500))
        }
    }

    @Test("another owner's timers, and those of later, stay")
    func others() async throws {
        try await MigratedDatabase().withClient { client in
            for (owner, due) in [("others", "now()"), ("tests", "now() + interval '1 hour'")] {
                _ = try await client.query(
                    """
                    select platform.set_timer('\(owner)', gen_random_uuid(), 't', 'k',
                      gen_random_uuid(), 1, \(due), '{}')
                    """
                )
            }
            let record = Record()
            let runner = runner(client) { record.acted.append($0.id) }
            runner.start()
            try await EventLoop.shared.sleep(for: .milliseconds(700))
            await runner.stop()
            #expect(record.acted.isEmpty)
            #expect(try await left(client) == 2)
        }
    }
}
