public import EventLoop

/// What a run of migrations did.
public struct MigrationReport: Sendable, Hashable {
    /// The names of the migrations applied by this run, in order.
    public let applied: [String]
    /// The version that the database has now.
    public let version: Int
}

/// Brings a database to the newest version: numbered files, each in one transaction, each once.
///
/// `platform.schema_migrations` keeps number, name, SHA-256 and time. Migrators wait for each other
/// by an advisory lock. A file that was applied may never change. No file may hold BEGIN or COMMIT,
/// or anything that cannot run in a transaction.
@LoopActor
public struct Migrator {
    /// How long to wait for another migrator.
    public static let lockPatience: Duration = .seconds(600)

    private static let limit: Duration = .seconds(10)
    private static let lockKey = "switchboard.migrations"
    private let connector: Connector
    private let observer: (any PostgresObserver)?

    /// A migrator with a connection of its own, opened by ``run(directory:)``.
    public init(_ configuration: PostgresConfiguration, observer: (any PostgresObserver)? = nil) {
        connector = Connector(configuration, observer)
        self.observer = observer
    }

    /// Applies what is missing; reads files, so not for a request.
    ///
    /// - Throws: ``PostgresError`` with code `migration` when an applied file was changed, when the
    ///   database is newer than the files, or when a file ends its transaction.
    public func run(directory: String) async throws(PostgresError) -> MigrationReport {
        let files = try MigrationFiles.load(directory)
        let connection = try await connector.connect(.migrator)
        defer { connection.close(PostgresError(.stopped, "migrate", "done")) }
        try await lock(connection)
        try await makeTable(connection)
        let plan = try await Migrator.plan(files) { sql, parameters throws(PostgresError) in
            try await connection.query(sql, parameters, kind: .read, limit: Migrator.limit)
        }
        for migration in plan.pending { try await apply(migration, connection) }
        return MigrationReport(applied: plan.pending.map(\.name), version: plan.version)
    }

    private func lock(_ connection: Connection) async throws(PostgresError) {
        let deadline = MonotonicTime.now() + Migrator.lockPatience
        let sql = "SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS locked"
        // Polled rather than waited for: a wait would count against lock_timeout.
        while true {
            let rows = try await connection.query(
                sql,
                [.string(Migrator.lockKey)],
                kind: .read,
                limit: Migrator.limit
            )
            if try rows.one().bool("locked") { return }
            guard MonotonicTime.now() < deadline else {
                throw MigrationFiles.fault("another migrator holds the lock")
            }
            do {
                try await EventLoop.shared.sleep(for: .milliseconds(100))
            } catch {
                throw PostgresError(.cancelled, "migrate", "the task was cancelled")
            }
        }
    }

    private func makeTable(_ connection: Connection) async throws(PostgresError) {
        try await connection.run(
            script: """
                SET client_min_messages = warning;
                CREATE SCHEMA IF NOT EXISTS platform;
                CREATE TABLE IF NOT EXISTS platform.schema_migrations (
                    version integer PRIMARY KEY,
                    name text NOT NULL,
                    checksum text NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
                );
                RESET client_min_messages;
                """
        )
    }

    private func apply(
        _ migration: Migration,
        _ connection: Connection
    ) async throws(PostgresError) {
        func send(
            _ sql: String,
            _ parameters: [PostgresValue] = [],
            _ kind: Exchange.Kind
        ) async throws(PostgresError) {
            _ = try await connection.query(sql, parameters, kind: kind, limit: Migrator.limit)
        }
        do throws(PostgresError) {
            try await send("BEGIN", [], .inTransaction)
            try await connection.run(script: migration.sql)
            guard connection.link.isInTransaction else {
                throw MigrationFiles.fault("the file ends its transaction; it may hold no COMMIT")
            }
            // What a file sets for itself must not reach the next one.
            try await send("SET LOCAL search_path = pg_catalog", [], .inTransaction)
            try await send(
                """
                INSERT INTO platform.schema_migrations (version, name, checksum)
                VALUES ($1::int, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'))
                """,
                [.int(migration.version), .string(migration.name), .string(migration.sql)],
                .inTransaction
            )
            try await send("COMMIT", [], .commit)
        } catch {
            let name = "migration \(migration.version) (\(migration.name))"
            var text = "\(name): \(error.message)"
            if let detail = error.detail { text += " (\(detail))" }
            throw PostgresError(.migration, "migrate", text, outcomeUnknown: error.outcomeUnknown)
        }
        observer?.postgres(.migrated(version: migration.version, name: migration.name))
    }

    // MARK: For services

    /// Refuses a database that is older than `version`; a newer one is fine, for a release is
    /// migrated before its services are started again.
    ///
    /// - Parameter command: what to tell the operator to run.
    public static func requireUpToDate(
        _ client: PostgresClient,
        version: Int,
        command: String = "messaging migrate"
    ) async throws(PostgresError) {
        let found = try await client.query(
            "SELECT to_regclass('platform.schema_migrations') IS NOT NULL AS found"
        ).one().bool("found")
        var current = 0
        if found {
            current = try await client.query(
                "SELECT coalesce(max(version), 0) AS version FROM platform.schema_migrations"
            ).one().int("version")
        }
        guard current >= version else {
            throw MigrationFiles.fault(
                "the database is at version \(current) and this release needs \(version): "
                    + "run `\(command)` first"
            )
        }
    }

    /// Refuses a database that lacks a migration of the folder; reads file names only.
    public static func requireUpToDate(
        _ client: PostgresClient,
        directory: String,
        command: String = "messaging migrate"
    ) async throws(PostgresError) {
        let version = try MigrationFiles.load(directory).last?.version ?? 0
        try await requireUpToDate(client, version: version, command: command)
    }

    private static func plan(
        _ files: [Migration],
        _ query: (String, [PostgresValue]) async throws(PostgresError) -> PostgresRows
    ) async throws(PostgresError) -> MigrationPlan {
        var checksums: [String] = []
        for file in files {
            // One at a time: together they could exceed what a statement may carry.
            let sql = "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex') AS checksum"
            checksums.append(try await query(sql, [.string(file.sql)]).one().string("checksum"))
        }
        var applied: [MigrationPlan.Applied] = []
        for row in try await query(
            "SELECT version, name, checksum FROM platform.schema_migrations ORDER BY version",
            []
        ) {
            applied.append(
                MigrationPlan.Applied(
                    version: try row.int("version"),
                    name: try row.string("name"),
                    checksum: try row.string("checksum")
                )
            )
        }
        return try MigrationPlan(files: files, checksums: checksums, applied: applied)
    }
}
