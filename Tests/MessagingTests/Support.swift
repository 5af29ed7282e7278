import Coordination
import EventLoop
import Foundation
import Platform
import PostgresClient
import TestSupport
import Testing

@testable import messaging

/// A setting that tests change.
typealias Environment = [String: String]

/// The settings of a service whose bursts are answered at once.
func settings(_ more: Environment = [:]) throws -> MessagingConfiguration {
    let standard: Environment = [
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "SERVICE_TOKEN": "token",
        "SECRETS_KEY": Data(repeating: 7, count: 32).base64EncodedString(),
        "REDIS_MODE": "disabled", "MESSAGING_URL": "http://127.0.0.1:1",
        "ASSIGNMENT_ENGINE_URL": "http://127.0.0.1:2", "DISPATCH_WORKER_URL": "http://127.0.0.1:3",
        "DEBOUNCE_MS": "0", "AI_JOB_RETRY_MS": "1", "AI_JOB_IDLE_MS": "1",
    ]
    return try MessagingConfiguration(
        settings: Settings(environment: standard.merging(more) { $1 })
    )
}

/// A database with the project's own schema, made once and copied for each test.
enum SchemaDatabase {
    private static let migrations = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("compose/migrations").path

    @LoopActor
    private static func migrate(_ url: String) async throws {
        let configuration = try PostgresConfiguration(url: url, applicationName: "migrate")
        _ = try await Migrator(configuration).run(directory: migrations)
    }

    /// Runs `body` with a client of a fresh copy.
    @LoopActor
    static func with<Value: Sendable>(
        _ body: @LoopActor (PostgresClient) async throws -> Value
    ) async throws -> Value {
        let url = try await PrivatePostgres.shared().makeDatabase(from: "messaging") { url in
            try await migrate(url)
        }
        var configuration = try PostgresConfiguration(url: url, applicationName: "tests")
        configuration.connectTimeout = .seconds(30)
        configuration.readTimeout = .seconds(3)
        configuration.readDeadline = .seconds(10)
        configuration.acquireTimeout = .seconds(10)
        configuration.readers = 1
        let client = PostgresClient(configuration)
        try await client.start()
        do {
            let value = try await body(client)
            await client.stop()
            return value
        } catch {
            await client.stop()
            throw error
        }
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips a suite where there is no server to start.
    static var needsPostgres: Self {
        .enabled(if: PrivatePostgres.isInstalled, "PostgreSQL 15 is not installed")
    }
}
