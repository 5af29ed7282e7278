public import EventLoop
internal import FoundationEssentials
public import PostgresClient

/// A fresh database with the project's own tables, on the private server of the tests.
public struct MigratedDatabase: Sendable {
    /// How to reach it.
    public let configuration: PostgresConfiguration

    /// Makes a database and applies the migrations in `compose/migrations` to it.
    @LoopActor
    public init() async throws {
        var configuration = try PostgresConfiguration(
            url: try await PrivatePostgres.shared().makeDatabase(),
            applicationName: "tests"
        )
        // The defaults are for a machine that does not build and test at the same time.
        configuration.connectTimeout = .seconds(30)
        configuration.acquireTimeout = .seconds(10)
        self.configuration = configuration
        _ = try await Migrator(configuration).run(directory: MigratedDatabase.migrations)
    }

    /// Runs `body` with a client of it, and closes the client.
    @LoopActor
    public func withClient<Value: Sendable>(
        _ body: @LoopActor (PostgresClient) async throws -> Value
    ) async throws -> Value {
        let client = PostgresClient(configuration)
        try await client.start()
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(client))
        } catch {
            result = .failure(error)
        }
        await client.stop()
        return try result.get()
    }

    private static let migrations: String = {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        return parts.joined(separator: "/") + "/compose/migrations"
    }()
}
