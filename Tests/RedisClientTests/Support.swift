import EventLoop
import TestSupport
import Testing

@testable import RedisClient

extension PrivateRedis {
    nonisolated var endpoint: RedisConfiguration.Endpoint { .tcp(host: "127.0.0.1", port: port) }
}

/// A private server and a client that is connected to it, for the time of `body`.
@LoopActor
func withRedis(
    _ arguments: [String] = [],
    configure: (inout RedisConfiguration) -> Void = { _ in },
    _ body: @LoopActor (PrivateRedis, RedisClient) async throws -> Void
) async throws {
    let server = try await PrivateRedis.start(arguments)
    var configuration = RedisConfiguration(endpoint: server.endpoint)
    // A busy machine must not fail a test; what is about deadlines brings its own.
    configuration.deadline = .seconds(20)
    configuration.attemptTimeout = .seconds(10)
    configure(&configuration)
    let client = RedisClient(configuration)
    let outcome: Result<Void, any Error>
    do {
        try await client.start()
        try await body(server, client)
        outcome = .success(())
    } catch {
        outcome = .failure(error)
    }
    await client.stop()
    await server.stop()
    try outcome.get()
}

/// Looks every few milliseconds whether `condition` has come about.
@LoopActor
func eventually(
    within limit: Duration = .seconds(5),
    _ condition: @LoopActor () async throws -> Bool
) async throws -> Bool {
    let deadline = MonotonicTime.now() + limit
    while MonotonicTime.now() < deadline {
        if try await condition() { return true }
        try await EventLoop.shared.sleep(for: .milliseconds(5))
    }
    return false
}

/// The code of the error that `body` throws; nil when it throws none.
@LoopActor
func code(of body: @LoopActor () async throws -> some Sendable) async -> RedisError.Code? {
    do {
        _ = try await body()
        return nil
    } catch let error as RedisError {
        return error.code
    } catch {
        Issue.record(error)
        return nil
    }
}
