import EventLoop
import Foundation
import PostgresClient
import TestSupport
import Testing

@Suite("Migrator", .serialized, .needsPostgres)
struct MigratorTests {
    /// A folder of migrations that goes with the test.
    struct Folder: ~Copyable {
        let path: String

        init(_ files: [String: String]) throws {
            path =
                FileManager.default.temporaryDirectory
                .appendingPathComponent("migrations-\(UUID().uuidString)").path
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            for (name, text) in files { try write(name, text) }
        }

        func write(_ name: String, _ text: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    static let first = """
        -- Several statements, a function and a semicolon in it.
        CREATE TABLE numbers (n int PRIMARY KEY);
        CREATE FUNCTION add_number(n int) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO numbers VALUES (n); END $$;
        SELECT add_number(1);
        """
    static let second = "SELECT add_number(2);\nSELECT pg_sleep(0.1);"

    @LoopActor
    func fault(_ url: String, _ folder: String) async throws -> PostgresError? {
        let migrator = Migrator(try PostgresConfiguration(url: url, applicationName: "migrate"))
        return await failure { () async throws(PostgresError) in
            try await migrator.run(directory: folder)
        }
    }

    @Test("applies what is missing, in order, once")
    @LoopActor func idempotent() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let folder = try Folder([
            "0002_second.sql": MigratorTests.second, "0001_first.sql": MigratorTests.first,
            "notes.txt": "x",
        ])
        let path = folder.path
        let observer = RecordingObserver()
        let configuration = try PostgresConfiguration(url: url, applicationName: "migrate")
        let migrator = Migrator(configuration, observer: observer)
        let report = try await migrator.run(directory: path)
        #expect(report.applied == ["first", "second"])
        #expect(report.version == 2)
        let again = try await migrator.run(directory: path)
        #expect(again.applied == [])
        #expect(again.version == 2)
        try folder.write("0003_third.sql", "SELECT add_number(3)")
        #expect(try await migrator.run(directory: path).applied == ["third"])
        try await withClient(url: url) { client in
            let sum = try await client.query("SELECT sum(n) AS n FROM numbers").one()
            #expect(try sum.int("n") == 6)
            let rows = try await client.query(
                "SELECT version, name, length(checksum) AS n FROM platform.schema_migrations ORDER BY 1"
            )
            #expect(try rows.map { try $0.string("name") } == ["first", "second", "third"])
            #expect(try rows.allSatisfy { try $0.int("n") == 64 })
        }
        #expect(observer.events.count { if case .migrated = $0 { true } else { false } } == 3)
    }

    @Test("the project's own migrations apply to an empty database, and then are complete")
    @LoopActor func own() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../compose/migrations").standardizedFileURL.path
        #expect(try await fault(url, folder) == nil)
        try await withClient(url: url) { client in
            try await Migrator.requireUpToDate(client, directory: folder)
            let rows = try await client.query(
                "SELECT count(*) AS n FROM platform.schema_migrations"
            )
            #expect(try rows.one().int("n") > 0)
        }
    }

    @Test("migrators at the same time apply each file once")
    @LoopActor func concurrent() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let folder = try Folder([
            "0001_first.sql": MigratorTests.first, "0002_second.sql": MigratorTests.second,
        ])
        let path = folder.path
        let configuration = try PostgresConfiguration(url: url, applicationName: "migrate")
        let runs = (0..<4).map { _ in
            Task { try await Migrator(configuration).run(directory: path).applied.count }
        }
        var applied: [Int] = []
        for run in runs { applied.append(try await run.value) }
        #expect(applied.sorted() == [0, 0, 0, 2])
        _ = consume folder
    }

    @Test("a file that fails leaves nothing of itself, and what came before stays")
    @LoopActor func failing() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let folder = try Folder([
            "0001_first.sql": MigratorTests.first,
            "0002_broken.sql": "SELECT add_number(2);\nSELECT 1 / 0;\nSELECT add_number(3);",
        ])
        let error = try await fault(url, folder.path)
        #expect(error?.code == .migration)
        #expect(error?.message.contains("migration 2 (broken)") == true)
        #expect(error?.message.contains("division by zero") == true)
        try folder.write("0002_broken.sql", "SELECT add_number(4)")
        #expect(try await fault(url, folder.path) == nil)
        try await withClient(url: url) { client in
            let sum = try await client.query("SELECT sum(n) AS n FROM numbers").one()
            #expect(try sum.int("n") == 5)
        }
    }

    @Test("a file that was changed after it was applied is refused, and so is a newer database")
    @LoopActor func tampering() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let folder = try Folder([
            "0001_first.sql": MigratorTests.first, "0002_second.sql": MigratorTests.second,
        ])
        #expect(try await fault(url, folder.path) == nil)
        try folder.write("0001_first.sql", MigratorTests.first + "\n-- harmless")
        #expect(
            try await fault(url, folder.path)?.message.contains("changed after it was applied")
                == true
        )
        let older = try Folder(["0001_first.sql": MigratorTests.first])
        #expect(
            try await fault(url, older.path)?.message.contains("a newer release has been here")
                == true
        )
    }

    @Test(
        "a file that would leave its transaction is refused, and so is a folder without files",
        arguments: ["COMMIT; SELECT 1", "ROLLBACK; BEGIN; ROLLBACK", "COPY numbers FROM STDIN"]
    )
    @LoopActor func escaping(_ text: String) async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let folder = try Folder(["0001_first.sql": MigratorTests.first, "0002_odd.sql": text])
        #expect(try await fault(url, folder.path) != nil)
        let empty = try Folder([:])
        #expect(try await fault(url, empty.path)?.message.contains("has no migration") == true)
        #expect(try await fault(url, "/nowhere")?.message.contains("cannot be read") == true)
    }

    @Test("a service refuses an older database with the command to run, and accepts a newer one")
    @LoopActor func requirement() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let folder = try Folder(["0001_first.sql": MigratorTests.first])
        let path = folder.path
        try await withClient(url: url) { client in
            for version in [1, 2] {
                let error = await failure { () async throws(PostgresError) in
                    try await Migrator.requireUpToDate(client, version: version)
                }
                #expect(error?.code == .migration)
                #expect(error?.message.contains("`messaging migrate`") == true)
                if version == 1 { #expect(try await fault(url, path) == nil) }
            }
            try await Migrator.requireUpToDate(client, version: 1)
            try await Migrator.requireUpToDate(client, version: 0)
            try await Migrator.requireUpToDate(client, directory: path)
        }
        _ = consume folder
    }
}
