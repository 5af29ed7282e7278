import EventLoop
import PostgresClient
import TestSupport
import Testing

@Suite("PostgresTransaction", .serialized, .needsPostgres)
struct PostgresTransactionTests {
    struct Unwanted: Error {}

    static let count = "SELECT count(*) AS n FROM t"

    @Test("commits when the body returns, and hands its value out")
    @LoopActor func commit() async throws {
        try await withClient { client in
            try await client.query("CREATE TABLE t (id int)")
            let value = try await client.transaction { transaction in
                try await transaction.query("INSERT INTO t VALUES ($1)", [1])
                // Asked for together, run in order.
                async let second = transaction.query("INSERT INTO t VALUES ($1)", [2])
                async let seen = transaction.query(PostgresTransactionTests.count)
                _ = try await second
                return try await seen.one().int("n")
            }
            #expect(value == 2)
            #expect(try await client.query(PostgresTransactionTests.count).one().int("n") == 2)
            #expect(client.statistics.poolLeased == 0)
        }
    }

    @Test("rolls back when the body throws; the connection serves the next")
    @LoopActor func rollback() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            try await client.query("CREATE TABLE t (id int)")
            await #expect(throws: Unwanted.self) {
                try await client.transaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (1)")
                    throw Unwanted()
                }
            }
            // Nothing was asked in it: nothing to roll back.
            await #expect(throws: Unwanted.self) {
                try await client.transaction { _ in throw Unwanted() }
            }
            #expect(try await client.query(PostgresTransactionTests.count).one().int("n") == 0)
            let isIn = try await client.query("SELECT txid_current_if_assigned() IS NULL AS none")
            #expect(try isIn.one().bool("none"))
        }
    }

    @Test("rolls back when its task is cancelled")
    @LoopActor func cancellation() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            try await client.query("CREATE TABLE t (id int)")
            let begun = TestSignal()
            let task = Task {
                try await client.transaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (1)")
                    begun.send()
                    try await transaction.query("SELECT pg_sleep(0.2)")
                    // Not reached: the task is cancelled while the statement above runs.
                    try await transaction.query("INSERT INTO t VALUES (2)")
                }
            }
            await begun.wait()
            task.cancel()
            let result = await task.result
            #expect { try result.get() } throws: { ($0 as? PostgresError)?.code == .cancelled }
            #expect(try await client.query(PostgresTransactionTests.count).one().int("n") == 0)
        }
    }

    @Test("a cancelled task does not commit, even when its statements all ran")
    @LoopActor func cancelledBeforeCommit() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            try await client.query("CREATE TABLE t (id int)")
            let task = Task {
                try await client.transaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (1)")
                    withUnsafeCurrentTask { $0?.cancel() }
                }
            }
            let result = await task.result
            #expect { try result.get() } throws: { ($0 as? PostgresError)?.code == .cancelled }
            #expect(try await client.query(PostgresTransactionTests.count).one().int("n") == 0)
        }
    }

    @Test("an error that the body hides does not pass for a commit")
    @LoopActor func hiddenError() async throws {
        try await withClient { client in
            try await client.query("CREATE TABLE t (id int)")
            let result = await Task {
                try await client.transaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (1)")
                    _ = try? await transaction.query("SELECT 1 / 0")
                }
            }.result
            #expect { try result.get() } throws: {
                ($0 as? PostgresError)?.code == .transactionAborted
            }
            #expect(try await client.query(PostgresTransactionTests.count).one().int("n") == 0)
        }
    }

    @Test("a transaction kept beyond its end refuses")
    @LoopActor func escaped() async throws {
        try await withClient { client in
            let escaped = try await client.transaction { transaction in
                try await transaction.query("SELECT 1")
                return transaction
            }
            let error = await failure { () async throws(PostgresError) in
                try await escaped.query("SELECT 1")
            }
            #expect(error?.code == .transactionAborted)
        }
    }

    @Test("transactions that lose against others run again, and nothing is lost")
    @LoopActor func serialization() async throws {
        let observer = RecordingObserver()
        try await withClient(observer: observer) { client in
            try await client.query("CREATE TABLE counter (n int)")
            try await client.query("INSERT INTO counter VALUES (0)")
            // Two at a time: five retries are enough for each to get through.
            for _ in 0..<10 {
                let both = (0..<2).map { _ in
                    Task {
                        try await client.transaction(.serializable) { transaction in
                            let n = try await transaction.query("SELECT n FROM counter").one().int(
                                "n"
                            )
                            try await transaction.query("UPDATE counter SET n = $1", [.int(n + 1)])
                        }
                    }
                }
                for task in both { try await task.value }
            }
            #expect(try await client.query("SELECT n FROM counter").one().int("n") == 20)
            #expect(client.statistics.transactionRetries > 0)
            #expect(
                observer.events.contains {
                    if case .transactionRetried(2, SQLState.serializationFailure) = $0 {
                        true
                    } else {
                        false
                    }
                }
            )
        }
    }

    @Test("a deadlock's victim runs again")
    @LoopActor func deadlock() async throws {
        try await withClient { client in
            try await client.query("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)")
            try await client.query("INSERT INTO t VALUES (1), (2)")
            let update = "UPDATE t SET n = n + 1 WHERE id = $1"
            let firsts = [TestSignal(), TestSignal()]
            let both = (0..<2).map { side in
                Task {
                    try await client.transaction { transaction in
                        try await transaction.query(update, [.int(side + 1)])
                        firsts[side].send()
                        await firsts[1 - side].wait()
                        try await transaction.query(update, [.int(2 - side)])
                    }
                }
            }
            for task in both { try await task.value }
            #expect(try await client.query("SELECT sum(n) AS n FROM t").one().int("n") == 4)
            #expect(client.statistics.transactionRetries > 0)
        }
    }

    @Test("retries end at their limit with the server's error")
    @LoopActor func retryLimit() async throws {
        try await withClient { client in
            var runs = 0
            let error = await #expect(throws: PostgresError.self) {
                try await client.transaction { transaction in
                    runs += 1
                    try await transaction.query(
                        "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
                    )
                }
            }
            #expect(error?.isSerializationFailure == true)
            #expect(runs == PostgresClient.transactionRetriesMax + 1)
        }
    }

    @Test("advisory locks of a transaction exclude others until its end")
    @LoopActor func advisoryLocks() async throws {
        try await withClient { client in
            let inside = try await client.transaction { first in
                try await first.advisoryLock("room 1")
                return try await client.transaction { second in
                    [
                        try await second.tryAdvisoryLock("room 1"),
                        try await second.tryAdvisoryLock("room 2"),
                    ]
                }
            }
            #expect(inside == [false, true])
            let after = try await client.transaction { try await $0.tryAdvisoryLock("room 1") }
            #expect(after)
        }
    }
}

/// Something that happens once; whoever waits for it goes on.
@LoopActor
final class TestSignal {
    private var isSent = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    nonisolated init() {}

    func send() {
        isSent = true
        let due = waiting
        waiting = []
        for continuation in due { continuation.resume() }
    }

    func wait() async {
        if isSent { return }
        await withCheckedContinuation { waiting.append($0) }
    }
}
