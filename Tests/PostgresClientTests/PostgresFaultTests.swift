import EventLoop
import PostgresClient
import TestSupport
import Testing

/// Faults that concern one database only; the server goes on.
@Suite("PostgresClient under faults", .serialized, .needsPostgres)
struct PostgresFaultTests {
    static let sleeping = """
        SELECT count(*) AS n FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND query LIKE $1
            AND pid <> pg_backend_pid()
        """

    @Test("a slow read ends alone; those behind it are answered")
    @LoopActor func slowRead() async throws {
        let observer = RecordingObserver()
        try await withClient(
            {
                $0.readers = 1; $0.readTimeout = .milliseconds(200)
            },
            observer: observer
        ) { client in
            let slow = Task {
                await failure { () async throws(PostgresError) in
                    try await client.read("SELECT pg_sleep(60)")
                }
            }
            await Task.yield()
            let behind = Task { try await client.read("SELECT 8 AS n").one().int("n") }
            let answer = try await behind.value
            #expect(answer == 8)
            let error = await slow.value
            #expect(error?.code == .timeout)
            #expect(error?.sqlState == SQLState.queryCanceled)
            // By its statement_timeout: a cancel request would hit whatever runs by then.
            #expect(!observer.events.contains { if case .cancelled = $0 { true } else { false } })
        }
    }

    @Test("reads leave a reader that a slow one holds up")
    @LoopActor func heldUpReader() async throws {
        try await withClient({
            $0.readers = 2; $0.readTimeout = .seconds(5)
        }) { client in
            let slow = Task { try await client.read("SELECT pg_sleep(2)") }
            try await EventLoop.shared.sleep(for: .milliseconds(20))
            let began = MonotonicTime.now()
            for number in 1...20 {
                let row = try await client.read("SELECT $1::int AS n", [.int(number)]).one()
                #expect(try row.int("n") == number)
            }
            #expect(MonotonicTime.now() - began < .seconds(1))
            slow.cancel()
            _ = try? await slow.value
        }
    }

    @Test("reads beyond the limit of a reader are refused at once")
    @LoopActor func readLimit() async throws {
        try await withClient({
            $0.readers = 2; $0.pendingReadsMax = 3
        }) { client in
            let reads = (0..<20).map { _ in
                Task {
                    await failure { () async throws(PostgresError) in
                        try await client.read("SELECT pg_sleep(0.02)")
                    }?.code
                }
            }
            var refused = 0
            for read in reads {
                let code = await read.value
                if code == .poolExhausted { refused += 1 } else { #expect(code == nil) }
            }
            #expect(refused == 14)
        }
    }

    @Test("a statement over its deadline is cancelled on the server, and its connection replaced")
    @LoopActor func deadline() async throws {
        try await withPair({ $0.poolSize = 1 }) { pair in
            let (client, other, observer) = (pair.client, pair.other, pair.observer)
            let error = await failure { () async throws(PostgresError) in
                try await client.query("SELECT 'slow', pg_sleep(60)", timeout: .milliseconds(100))
            }
            #expect(error?.code == .timeout)
            // The server said that it stopped: nothing happened.
            #expect(error?.sqlState == SQLState.queryCanceled)
            #expect(error?.outcomeUnknown == false)
            #expect(
                observer.events.contains { if case .cancelled("pool") = $0 { true } else { false } }
            )
            let left = try await other.query(PostgresFaultTests.sleeping, ["SELECT 'slow'%"]).one()
            #expect(try left.int("n") == 0)
            #expect(try await client.query("SELECT 1 AS n").one().int("n") == 1)
        }
    }

    @Test("a statement has all of its time, however long the tick that sends it has lasted")
    @LoopActor func longTick() async throws {
        try await withPair({ $0.poolSize = 1 }) { pair in
            try await pair.client.query("SELECT 1")
            let until = MonotonicTime.now() + .milliseconds(300)
            while MonotonicTime.now() < until {}
            try await pair.client.query("SELECT pg_sleep(0.1)", timeout: .milliseconds(300))
            #expect(
                !pair.observer.events.contains {
                    if case .cancelled("pool") = $0 { true } else { false }
                }
            )
        }
    }

    @Test("a transaction's statement over its deadline rolls it back")
    @LoopActor func transactionDeadline() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            try await client.query("CREATE TABLE t (id int)")
            let error = await #expect(throws: PostgresError.self) {
                try await client.transaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (1)")
                    try await transaction.query("SELECT pg_sleep(60)", timeout: .milliseconds(100))
                }
            }
            #expect(error?.code == .timeout)
            #expect(try await client.query("SELECT count(*) AS n FROM t").one().int("n") == 0)
        }
    }

    @Test("a full pool refuses after its patience, and at once when too many wait")
    @LoopActor func exhaustion() async throws {
        try await withClient({
            $0.poolSize = 1
            $0.acquireTimeout = .milliseconds(100)
            $0.waitersMax = 2
        }) { client in
            let taken = TestSignal()
            let done = TestSignal()
            let holder = Task {
                try await client.transaction { transaction in
                    try await transaction.query("SELECT 1")
                    taken.send()
                    await done.wait()
                }
            }
            await taken.wait()
            let waiting = (0..<3).map { _ in
                Task {
                    await failure { () async throws(PostgresError) in
                        try await client.query("SELECT 1")
                    }
                }
            }
            for task in waiting {
                let error = await task.value
                #expect(error?.code == .poolExhausted)
                #expect(error?.isUnavailable == true)
                #expect(error?.outcomeUnknown == false)
            }
            let transaction = await #expect(throws: PostgresError.self) {
                try await client.transaction { _ in }
            }
            #expect(transaction?.code == .poolExhausted)
            #expect(client.statistics.poolExhausted == 4)
            done.send()
            try await holder.value
            #expect(try await client.query("SELECT 1 AS n").one().int("n") == 1)
        }
    }

    @Test("waiters are served when connections come free, in one go")
    @LoopActor func contention() async throws {
        try await withClient({ $0.poolSize = 3 }) { client in
            try await client.query("CREATE TABLE t (id int)")
            let writers = (0..<200).map { number in
                Task {
                    try await client.query("INSERT INTO t VALUES ($1)", [.int(number)]).affected
                }
            }
            for writer in writers { #expect(try await writer.value == 1) }
            let rows = try await client.query("SELECT count(DISTINCT id) AS n FROM t")
            #expect(try rows.one().int("n") == 200)
            #expect(client.statistics.poolLeased == 0)
        }
    }

    @Test("backends that are killed cost an idle client nothing")
    @LoopActor func killedWhileIdle() async throws {
        try await withPair { pair in
            let client = pair.client
            _ = try await client.read("SELECT 1")
            let killed = try await pair.terminateAll()
            // The other's reader goes as well.
            #expect(killed == 8)
            for _ in 0..<10 {
                #expect(try await client.read("SELECT 1 AS n").one().int("n") == 1)
                #expect(try await client.query("SELECT 2 AS n").one().int("n") == 2)
            }
            let isBack = try await eventually { client.statistics.poolLive == 5 }
            #expect(isBack)
        }
    }

    @Test("a read whose backend is killed is sent again; nobody notices")
    @LoopActor func killedWhileReading() async throws {
        try await withPair({ $0.readers = 2 }) { pair in
            let (client, observer) = (pair.client, pair.observer)
            let reads = (0..<20).map { _ in
                Task { try await client.read("SELECT pg_sleep(0.05), 3 AS n").one().int("n") }
            }
            try await EventLoop.shared.sleep(for: .milliseconds(60))
            try await pair.terminateAll()
            for read in reads { #expect(try await read.value == 3) }
            #expect(client.statistics.readsRetried > 0)
            #expect(observer.events.contains { if case .readRetried = $0 { true } else { false } })
        }
    }

    @Test("a write whose backend is killed fails once, as unknown, and later ones do not")
    @LoopActor func killedWhileWriting() async throws {
        try await withPair({ $0.poolSize = 2 }) { pair in
            let (client, other) = (pair.client, pair.other)
            let write = Task {
                await failure { () async throws(PostgresError) in
                    try await client.query("SELECT 'write', pg_sleep(60)")
                }
            }
            let isRunning = try await eventually {
                try await other.query(PostgresFaultTests.sleeping, ["SELECT 'write'%"])
                    .one().int("n") == 1
            }
            #expect(isRunning)
            try await pair.terminateAll()
            let error = await write.value
            #expect(error?.code == .connection)
            #expect(error?.outcomeUnknown == true)
            #expect(error?.isUnavailable == true)
            for _ in 0..<5 { #expect(try await client.query("SELECT 1 AS n").one().int("n") == 1) }
        }
    }

    @Test("a connection that dies inside a transaction leaves nothing unknown; one in COMMIT does")
    @LoopActor func killedInTransaction() async throws {
        try await withPair({ $0.poolSize = 2 }) { pair in
            let (client, other) = (pair.client, pair.other)
            try await client.query("CREATE TABLE t (id int)")
            // A commit that takes its time.
            try await client.query(
                """
                CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$
                """
            )
            try await client.query(
                """
                CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION slowly()
                """
            )
            let cases: [(id: Int, statement: String, pattern: String, isUnknown: Bool)] = [
                (1, "SELECT 'inside', pg_sleep(60)", "SELECT 'inside'%", false),
                (2, "SELECT 1", "COMMIT%", true),
            ]
            for (id, statement, pattern, isUnknown) in cases {
                let task = Task {
                    try await client.transaction { transaction in
                        try await transaction.query("INSERT INTO t VALUES ($1)", [.int(id)])
                        try await transaction.query(statement)
                    }
                }
                let isRunning = try await eventually {
                    try await other.query(PostgresFaultTests.sleeping, [.string(pattern)])
                        .one().int("n") == 1
                }
                #expect(isRunning)
                try await pair.terminateAll()
                let result = await task.result
                #expect { try result.get() } throws: {
                    guard let error = $0 as? PostgresError else { return false }
                    return error.code == .connection && error.outcomeUnknown == isUnknown
                }
            }
            #expect(try await client.query("SELECT count(*) AS n FROM t").one().int("n") == 0)
        }
    }

    @Test("a lock that is not to be had ends in an error of its own")
    @LoopActor func lockTimeout() async throws {
        try await withClient({ $0.lockTimeout = .milliseconds(100) }) { client in
            try await client.query("CREATE TABLE t (id int)")
            let error = try await client.transaction { first in
                try await first.query("LOCK TABLE t")
                return await failure { () async throws(PostgresError) in
                    try await client.query("INSERT INTO t VALUES (1)")
                }
            }
            #expect(error?.isLockTimeout == true)
        }
    }

    @Test("an old connection is replaced when it comes free")
    @LoopActor func age() async throws {
        try await withClient({
            $0.poolSize = 1; $0.connectionAgeMax = .zero
        }) { client in
            var sessions: Set<Int> = []
            for _ in 0..<3 {
                sessions.insert(
                    try await client.query("SELECT pg_backend_pid() AS n").one().int("n")
                )
            }
            #expect(sessions.count == 3)
        }
    }

    @Test("a parameter that cannot be sent costs its statement only")
    @LoopActor func unsendable() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            let error = await failure { () async throws(PostgresError) in
                try await client.query("SELECT $1::text", ["a\0b"])
            }
            #expect(error?.code == .encoding)
            try await client.query("SELECT 1")
            let inside = await #expect(throws: PostgresError.self) {
                try await client.transaction { try await $0.query("SELECT $1::text", ["\0"]) }
            }
            #expect(inside?.code == .encoding)
        }
    }
}
