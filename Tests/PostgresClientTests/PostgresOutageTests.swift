import EventLoop
import PostgresClient
import TestSupport
import Testing

/// Faults of the whole server, which therefore is one of the suite's own.
@Suite("PostgresClient through outages", .serialized, .needsPostgres)
struct PostgresOutageTests {
    static let server = Task { try await PrivatePostgres.start() }

    @LoopActor
    func serves(_ client: PostgresClient) async -> Bool {
        do {
            try await client.query("SELECT 1")
            return try await client.read("SELECT 1").count == 1
        } catch {
            return false
        }
    }

    @Test("a crash of the server is recovered from without anybody's help")
    @LoopActor func crash() async throws {
        let server = try await PostgresOutageTests.server.value
        try await withClient({ $0.poolSize = 2 }, url: server.url()) { client in
            _ = try await client.read("SELECT 1")
            try await server.restart()
            let isBack = try await eventually { await serves(client) }
            #expect(isBack)
            for _ in 0..<10 {
                #expect(try await client.read("SELECT 1 AS n").one().int("n") == 1)
                #expect(try await client.query("SELECT 2 AS n").one().int("n") == 2)
            }
        }
    }

    @Test("while the server is down callers are refused at once, after a short grace")
    @LoopActor func down() async throws {
        let server = try await PostgresOutageTests.server.value
        try await withClient(
            {
                $0.poolSize = 1; $0.acquireTimeout = .milliseconds(100)
            },
            url: server.url()
        ) {
            client in
            try await server.crash()
            let isDown = try await eventually {
                client.statistics.poolLive == 0 && client.statistics.readersLive == 0
            }
            #expect(isDown)
            #expect(!client.isAvailable)
            let codes = [
                await failure { () async throws(PostgresError) in try await client.query("SELECT 1")
                },
                await failure { () async throws(PostgresError) in try await client.read("SELECT 1")
                },
            ]
            for error in codes {
                #expect(error?.code == .connection)
                #expect(error?.isUnavailable == true)
                #expect(error?.outcomeUnknown == false)
            }
            try await server.restartAfterCrash()
            let isBack = try await eventually { client.isAvailable }
            #expect(isBack)
            #expect(try await client.query("SELECT 1 AS n").one().int("n") == 1)
        }
    }

    @Test("a server that hangs is given up: reads time out, writes are unknown")
    @LoopActor func hang() async throws {
        let server = try await PostgresOutageTests.server.value
        let observer = RecordingObserver()
        try await withClient(
            {
                $0.poolSize = 1
                $0.readers = 1
                $0.readDeadline = .milliseconds(300)
                $0.readTimeout = .milliseconds(100)
                $0.connectTimeout = .seconds(3)
            },
            observer: observer,
            url: server.url()
        ) { client in
            try await server.pause()
            let read = Task {
                await failure { () async throws(PostgresError) in try await client.read("SELECT 1")
                }
            }
            let write = Task {
                await failure { () async throws(PostgresError) in
                    try await client.query("SELECT 1", timeout: .milliseconds(200))
                }
            }
            let (readError, writeError) = (await read.value, await write.value)
            #expect(readError?.code == .timeout)
            #expect(writeError?.code == .timeout)
            #expect(writeError?.outcomeUnknown == true)
            #expect(
                !observer.events.contains {
                    if case .cancelled("reader") = $0 { true } else { false }
                }
            )
            try await server.resume()
            let isBack = try await eventually { await serves(client) }
            #expect(isBack)
        }
    }

    @Test("with several hosts the one that accepts writes is taken, whatever their order")
    @LoopActor func severalHosts() async throws {
        let primary = try await PostgresOutageTests.server.value
        let standby = try await PrivatePostgres.start(kind: .standby)
        let dead = "127.0.0.1:1"
        for hosts in [
            "127.0.0.1:\(standby.port),127.0.0.1:\(primary.port)",
            "\(dead),127.0.0.1:\(primary.port)",
        ] {
            try await withClient(url: "postgresql://app@\(hosts)/postgres") { client in
                let sql = "SELECT inet_server_port() AS port, pg_is_in_recovery() AS standby"
                for row in [try await client.query(sql).one(), try await client.read(sql).one()] {
                    #expect(try row.int("port") == primary.port)
                    #expect(try !row.bool("standby"))
                }
            }
        }
        // Alone it will do when it is asked for, and will not for writes.
        let url = "postgresql://app@127.0.0.1:\(standby.port)/postgres?target_session_attrs="
        try await withClient(url: url + "standby") { client in
            let row = try await client.query("SELECT pg_is_in_recovery() AS s").one()
            #expect(try row.bool("s"))
        }
        let error = await #expect(throws: PostgresError.self) {
            try await withClient(url: url + "read-write") { _ in }
        }
        #expect(error?.code == .connection)
        #expect(error?.message.contains("127.0.0.1:\(standby.port)") == true)
    }

    @Test("unix sockets, and names that have to be looked up")
    @LoopActor func addresses() async throws {
        let server = try await PostgresOutageTests.server.value
        let folder = server.socketFolder
        for url in [
            "postgres:///postgres?user=app&host=\(folder)&port=\(server.port)",
            "postgresql+asyncpg://app@localhost:\(server.port)/postgres",
        ] {
            try await withClient(url: url) { client in
                let row = try await client.query("SELECT inet_server_port() IS NULL AS local").one()
                #expect(try row.bool("local") == url.contains("host="))
            }
        }
        let error = await #expect(throws: PostgresError.self) {
            try await withClient(url: "postgres://app@nowhere.invalid/postgres") { _ in }
        }
        #expect(error?.message.contains("nowhere.invalid") == true)
    }

    @Test("TLS: the server's certificate is checked, and results of all sizes come through")
    @LoopActor func encrypted() async throws {
        let server = try await PrivatePostgres.start(kind: .tls)
        let address = "postgresql://app@localhost:\(server.port)/postgres?sslmode=verify-full"
        let certificate = "&sslrootcert=\(server.socketFolder)/server.crt"
        try await withClient(url: address + certificate) { client in
            let row = try await client.query(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            ).one()
            #expect(try row.bool("ssl"))
            let reads = (0..<40).map { number in
                Task {
                    let sql = "SELECT repeat('x', $1::int) AS s"
                    return try await client.read(sql, [.int(number * 1000)]).one().string("s")
                }
            }
            for (number, read) in reads.enumerated() {
                #expect(try await read.value.utf8.count == number * 1000)
            }
        }
        let error = await #expect(throws: PostgresError.self) {
            try await withClient(url: address + "&sslrootcert=/nowhere") { _ in }
        }
        #expect(error?.code == .connection)
    }

    @Test("a start waits for a server that is not there yet")
    @LoopActor func lateServer() async throws {
        let server = try await PostgresOutageTests.server.value
        try await server.crash()
        let configuration = try PostgresConfiguration(url: server.url(), applicationName: "tests")
        let refused = PostgresClient(configuration)
        let error = await failure { () async throws(PostgresError) in try await refused.start() }
        #expect(error?.code == .connection)
        let patient = PostgresClient(configuration)
        let start = Task { try await patient.start(waitingUpTo: .seconds(20)) }
        try await EventLoop.shared.sleep(for: .milliseconds(100))
        try await server.restartAfterCrash()
        try await start.value
        #expect(patient.isAvailable)
        await patient.stop()
    }

    @Test("a server that is too old or too small is refused with the reason")
    @LoopActor func refusals() async throws {
        let server = try await PostgresOutageTests.server.value
        let old = await #expect(throws: PostgresError.self) {
            try await withClient({ $0.minimumServerVersion = 99 }, url: server.url()) { _ in }
        }
        #expect(old?.code == .unsupportedServer)
        #expect(old?.message.contains("PostgreSQL 99 or newer is needed") == true)
        let greedy = await #expect(throws: PostgresError.self) {
            try await withClient({ $0.poolSize = 7 }, url: server.url()) { _ in }
        }
        #expect(greedy?.code == .configuration)
        let observer = RecordingObserver()
        try await withClient({ $0.processesExpected = 99 }, observer: observer, url: server.url()) {
            _ in
            #expect(
                observer.events.contains {
                    if case .warning(let text) = $0 {
                        text.contains("max_connections")
                    } else {
                        false
                    }
                }
            )
        }
    }
}
