import EventLoop
import PostgresClient
import TestSupport
import Testing

/// Runs `body` with a client on a fresh database of the shared server.
@LoopActor
@discardableResult
func withClient<Value: Sendable>(
    _ adjust: (inout PostgresConfiguration) -> Void = { _ in },
    observer: (any PostgresObserver)? = nil,
    url: String? = nil,
    _ body: @LoopActor (PostgresClient) async throws -> Value
) async throws -> Value {
    let address: String
    if let url {
        address = url
    } else {
        address = try await PrivatePostgres.shared().makeDatabase()
    }
    var configuration = try PostgresConfiguration(url: address, applicationName: "tests")
    // The defaults are for a machine that does not build and test at the same time.
    configuration.connectTimeout = .seconds(30)
    configuration.readTimeout = .seconds(3)
    configuration.readDeadline = .seconds(10)
    configuration.acquireTimeout = .seconds(10)
    adjust(&configuration)
    let client = PostgresClient(configuration, observer: observer)
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

extension Trait where Self == ConditionTrait {
    /// Skips a suite where there is no server to start.
    static var needsPostgres: Self {
        .enabled(if: PrivatePostgres.isInstalled, "PostgreSQL 15 is not installed")
    }
}

/// Keeps what a client told.
@LoopActor
final class RecordingObserver: PostgresObserver {
    private(set) var events: [PostgresEvent] = []
    nonisolated init() {}
    func postgres(_ event: PostgresEvent) { events.append(event) }
}

/// A client, what it told, and a second client of the same database to do things to the first.
@LoopActor
struct ClientPair {
    let client: PostgresClient
    let other: PostgresClient
    let observer: RecordingObserver

    /// Kills every session of the database but the asking one, and waits until the client knows.
    @discardableResult
    func terminateAll() async throws -> Int {
        let before = losses
        let killed = try await other.query(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            """
        ).count
        // One of them is the other's reader.
        let isNoticed = try await eventually { losses >= before + killed - 1 }
        #expect(isNoticed)
        return killed
    }

    private var losses: Int {
        observer.events.count { if case .connectionLost = $0 { true } else { false } }
    }
}

/// Runs `body` with two clients of one fresh database.
@LoopActor
func withPair(
    _ adjust: (inout PostgresConfiguration) -> Void = { _ in },
    _ body: @LoopActor (ClientPair) async throws -> Void
) async throws {
    let url = try await PrivatePostgres.shared().makeDatabase()
    let observer = RecordingObserver()
    func shrink(_ configuration: inout PostgresConfiguration) {
        configuration.poolSize = 1
        configuration.readers = 1
    }
    try await withClient(shrink, url: url) { other in
        try await withClient(adjust, observer: observer, url: url) { client in
            try await body(ClientPair(client: client, other: other, observer: observer))
        }
    }
}

/// Polls a condition until it holds; false when it does not within five seconds.
@LoopActor
func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
    let deadline = MonotonicTime.now() + .seconds(5)
    while MonotonicTime.now() < deadline {
        if try await condition() { return true }
        try await EventLoop.shared.sleep(for: .milliseconds(10))
    }
    return false
}

/// The error that `body` throws, or nil.
@LoopActor
func failure<Value>(_ body: () async throws(PostgresError) -> Value) async -> PostgresError? {
    do {
        _ = try await body()
        return nil
    } catch {
        return error
    }
}
