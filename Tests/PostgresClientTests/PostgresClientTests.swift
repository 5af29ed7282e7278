import EventLoop
import FoundationEssentials
import PostgresClient
import TestSupport
import Testing

@Suite("PostgresClient", .serialized, .needsPostgres)
struct PostgresClientTests {
    @Test("every kind of value comes back as it went")
    @LoopActor func values() async throws {
        let id = UUID()
        let text = "naïve \"q\" \\ {a,b} \u{1F600}\n"
        try await withClient { client in
            let row = try await client.query(
                """
                SELECT $1::text AS s, $2::bigint AS i, $3::bool AS b, $4::float8 AS d, $5::uuid AS u,
                    $6::bytea AS raw, $7::jsonb AS j, $8::timestamptz AS t, $9::text[] AS ss,
                    $10::bigint[] AS ii, $11::uuid[] AS uu, $12::text AS missing,
                    $13::text AS utf8, $14::text[] AS mixed, ''::text AS empty, $15::float8 AS inf
                """,
                [
                    .string(text), .int(Int64.min), true, 0.1, .uuid(id), .bytes(Array(0...255)),
                    .json(#"{"k": [1, "v"]}"#), .time(milliseconds: 1_709_210_096_789),
                    .strings([text, "", "NULL"]), .ints([1, -2]), .uuids([id]), nil,
                    .utf8(Array(text.utf8)), .array(["x", nil]), .double(.infinity),
                ]
            ).one()
            #expect(try row.string("s") == text)
            #expect(try row.int64("i") == .min)
            #expect(try row.bool("b"))
            #expect(try row.double("d") == 0.1)
            #expect(try row.uuid("u") == id)
            #expect(try row.bytes("raw") == Array(0...255))
            #expect(try row.json("j") == #"{"k": [1, "v"]}"#)
            #expect(try row.timeMilliseconds("t") == 1_709_210_096_789)
            #expect(try row.strings("ss") == [text, "", "NULL"])
            #expect(try row.ints("ii") == [1, -2])
            #expect(try row.uuids("uu") == [id])
            #expect(try row.optionalString("missing") == nil)
            #expect(try row.utf8("utf8") == Array(text.utf8))
            #expect(try row.string("mixed") == "{x,NULL}")
            #expect(try row.string("empty") == "")
            #expect(try row.double("inf") == .infinity)
        }
    }

    @Test("a value of another kind, a NULL and an unknown column are errors, not guesses")
    @LoopActor func decoding() async throws {
        try await withClient { client in
            let rows = try await client.read("SELECT 'x' AS s, NULL AS n, now()::timestamp AS t")
            let row = try rows.one()
            #expect(throws: PostgresError.self) { try row.int("s") }
            #expect(throws: PostgresError.self) { try row.string("n") }
            #expect(throws: PostgresError.self) { try row.string("nowhere") }
            #expect(throws: PostgresError.self) { try row.timeMilliseconds("t") }
            #expect(throws: PostgresError.self) { try row.strings("s") }
            #expect(rows.columns == ["s", "n", "t"])
            let none = try await client.read("SELECT 1 AS n WHERE false")
            #expect(none.isEmpty)
            #expect(throws: PostgresError.self) { try none.one() }
        }
    }

    @Test("sessions have the limits that their role asks for, write UTC and compile nothing")
    @LoopActor func sessions() async throws {
        let sql = """
            SELECT current_setting('statement_timeout') AS statement,
                current_setting('lock_timeout') AS lock,
                current_setting('idle_in_transaction_session_timeout') AS idle,
                current_setting('application_name') AS name, current_setting('TimeZone') AS zone,
                current_setting('default_transaction_read_only') AS read_only,
                current_setting('jit') AS jit
            """
        try await withClient({ $0.readTimeout = .milliseconds(300) }) { client in
            let reader = try await client.read(sql).one()
            #expect(try reader.string("statement") == "300ms")
            #expect(try reader.string("read_only") == "on")
            let pool = try await client.query(sql).one()
            #expect(try pool.string("statement") == "5s")
            #expect(try pool.string("lock") == "2s")
            #expect(try pool.string("idle") == "10s")
            #expect(try pool.string("name") == "tests")
            #expect(try pool.string("zone") == "UTC")
            #expect(try pool.string("read_only") == "off")
            #expect(try pool.string("jit") == "off")
            #expect(client.serverVersion >= 150_000)
            #expect(client.isAvailable)
        }
    }

    @Test("pipelined reads get their own answers, whatever their neighbours do")
    @LoopActor func pipeline() async throws {
        try await withClient { client in
            let reads = (0..<300).map { number in
                Task { () async -> Result<Int, PostgresError> in
                    do throws(PostgresError) {
                        // Every third fails: by its value, by its syntax, by its type.
                        let sql =
                            switch number % 9 {
                            case 0: "SELECT 1 / ($1::int * 0) AS n"
                            case 3: "SELEKT $1"
                            case 6: "SELECT ($1::text || 'x')::int AS n"
                            default: "SELECT $1::int AS n"
                            }
                        return .success(try await client.read(sql, [.int(number)]).one().int("n"))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            for (number, read) in reads.enumerated() {
                switch (number % 9, await read.value) {
                case (0, .failure(let error)): #expect(error.sqlState == "22012")
                case (3, .failure(let error)): #expect(error.sqlState == "42601")
                case (6, .failure(let error)): #expect(error.sqlState == "22P02")
                case (_, .success(let answer)): #expect(answer == number)
                case (_, .failure(let error)): Issue.record("read \(number): \(error)")
                }
            }
            #expect(client.statistics.readsInFlight == 0)
        }
    }

    @Test("a read cannot write, and its connection goes on")
    @LoopActor func readOnly() async throws {
        try await withClient({ $0.readers = 1 }) { client in
            try await client.query("CREATE TABLE t (id int)")
            let error = await failure { () async throws(PostgresError) in
                try await client.read("INSERT INTO t VALUES (1)")
            }
            #expect(error?.sqlState == SQLState.readOnlyTransaction)
            #expect(try await client.read("SELECT count(*) AS n FROM t").one().int("n") == 0)
        }
    }

    @Test("server errors carry what a caller may act on")
    @LoopActor func errors() async throws {
        try await withClient { client in
            try await client.query("CREATE TABLE t (id int CONSTRAINT t_key PRIMARY KEY)")
            try await client.query("INSERT INTO t VALUES ($1)", [1])
            let error = await failure { () async throws(PostgresError) in
                try await client.query("INSERT INTO t VALUES ($1)", [1])
            }
            #expect(error?.isUniqueViolation == true)
            #expect(error?.constraint == "t_key")
            #expect(error?.table == "t")
            #expect(error?.detail?.contains("already exists") == true)
            #expect(error?.outcomeUnknown == false)
            #expect(error?.isUnavailable == false)
        }
    }

    @Test("a commit that fails is an error although the statement itself succeeded")
    @LoopActor func failedCommit() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            try await client.query(
                "CREATE TABLE t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
            )
            let insert = "INSERT INTO t VALUES ($1)"
            try await client.query(insert, [1])
            for _ in 0..<3 {
                let error = await failure { () async throws(PostgresError) in
                    try await client.query(insert, [1])
                }
                #expect(error?.isUniqueViolation == true)
            }
            // The same connection is still in step.
            #expect(try await client.query("SELECT 7 AS n").one().int("n") == 7)
            #expect(try await client.query(insert, [2]).affected == 1)
            #expect(try await client.query("SELECT count(*) AS n FROM t").one().int("n") == 2)
        }
    }

    @Test("large parameters and large results pass through in pieces")
    @LoopActor func large() async throws {
        let text = String(repeating: "0123456789abcdef", count: 300_000)
        try await withClient({ $0.statementTimeout = .seconds(60) }) { client in
            let row = try await client.query("SELECT $1::text AS s", [.string(text)]).one()
            #expect(try row.string("s") == text)
            let rows = try await client.query(
                "SELECT i, repeat('x', 100) AS s FROM generate_series(1, 20000) AS i"
            )
            #expect(rows.count == 20_000)
            #expect(try rows[19_999].int("i") == 20_000)
        }
    }

    @Test("COPY is refused and costs one connection, not the pool")
    @LoopActor func copy() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            try await client.query("CREATE TABLE t (id int)")
            let error = await failure { () async throws(PostgresError) in
                try await client.query("COPY t FROM STDIN")
            }
            #expect(error != nil)
            #expect(try await client.query("SELECT 1 AS n").one().int("n") == 1)
        }
    }

    @Test("notices reach the observer")
    @LoopActor func notices() async throws {
        let observer = RecordingObserver()
        try await withClient(observer: observer) { client in
            try await client.query("DO $$ BEGIN RAISE WARNING 'mind the gap'; END $$")
            #expect(
                observer.events.contains {
                    if case .notice("WARNING", _, "mind the gap") = $0 { true } else { false }
                }
            )
        }
    }

    @Test("after the stop nothing is served; what was in flight is")
    @LoopActor func stopping() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let client = PostgresClient(try PostgresConfiguration(url: url, applicationName: "tests"))
        try await client.start()
        let slow = Task { try await client.query("SELECT 5 AS n, pg_sleep(0.3)").one().int("n") }
        await Task.yield()
        await client.stop()
        #expect(try await slow.value == 5)
        #expect(
            await failure { () async throws(PostgresError) in try await client.read("SELECT 1") }?
                .code == .stopped
        )
        #expect(
            await failure { () async throws(PostgresError) in try await client.query("SELECT 1") }?
                .code == .stopped
        )
        #expect(!client.isAvailable)
        #expect(client.statistics.poolLive == 0)
    }
}

@Suite("Statement cache", .serialized, .needsPostgres)
struct StatementCacheIntegrationTests {
    static let prepared = "SELECT count(*) AS n FROM pg_prepared_statements"

    @Test("a hot statement is parsed once; the cache keeps to its limit on the server too")
    @LoopActor func limit() async throws {
        try await withClient({
            $0.poolSize = 1
            $0.statementCacheMax = 3
        }) { client in
            for _ in 0..<3 {
                for number in 0..<5 {
                    let row = try await client.query("SELECT \(number) AS n").one()
                    #expect(try row.int("n") == number)
                }
            }
            let count = try await client.query(StatementCacheIntegrationTests.prepared).one()
                .int("n")
            #expect((1...4).contains(count))
            for _ in 0..<4 { try await client.query("SELECT 'hot' AS s") }
            let calls = try await client.query(
                """
                SELECT generic_plans + custom_plans AS calls FROM pg_prepared_statements
                WHERE statement = 'SELECT ''hot'' AS s'
                """
            ).one()
            #expect(try calls.int("calls") == 4)
        }
    }

    @Test("a table that changed under a prepared statement costs no error")
    @LoopActor func changedTable() async throws {
        try await withClient({
            $0.readers = 1; $0.poolSize = 2
        }) { client in
            try await client.query("CREATE TABLE t (a int)")
            try await client.query("INSERT INTO t VALUES (1)")
            let sql = "SELECT * FROM t"
            #expect(try await client.read(sql).columns == ["a"])
            #expect(try await client.query(sql).columns == ["a"])
            try await client.query("ALTER TABLE t ADD COLUMN b int")
            #expect(try await client.read(sql).columns == ["a", "b"])
            for _ in 0..<2 { #expect(try await client.query(sql).columns == ["a", "b"]) }
            try await client.query("ALTER TABLE t ADD COLUMN c int")
            // Inside a transaction the whole of it runs again.
            let columns = try await client.transaction { transaction in
                try await transaction.query(sql).columns
            }
            #expect(columns == ["a", "b", "c"])
        }
    }

    @Test("statements that the server forgot are prepared again")
    @LoopActor func forgotten() async throws {
        try await withClient({ $0.poolSize = 1 }) { client in
            for _ in 0..<2 {
                #expect(try await client.query("SELECT 3 AS n").one().int("n") == 3)
                try await client.query("DEALLOCATE ALL")
            }
        }
    }

    @Test("a statement that cannot be prepared fails each time, alone")
    @LoopActor func broken() async throws {
        try await withClient({ $0.readers = 1 }) { client in
            let reads = (0..<6).map { _ in
                Task { try await client.read("SELECT nothing FROM nowhere").count }
            }
            for read in reads {
                let result = await read.result
                #expect { try result.get() } throws: { ($0 as? PostgresError)?.sqlState == "42P01" }
            }
            let row = try await client.read("SELECT 1 AS n").one()
            #expect(try row.int("n") == 1)
        }
    }
}
