import EventLoop
import JSON
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

/// A private server, a queue in it, and a client for looking at it.
@LoopActor
struct Bench {
    let server: PrivateRedis
    let redis: RedisClient
    let queue: Queue
    let configuration: RedisConfiguration

    func send(_ words: RedisArgument...) async throws -> RedisValue { try await redis.send(words) }

    func key(_ ending: String) -> RedisArgument { .string(queue.keys.key(ending)) }

    /// The names of the queue's events, oldest first.
    func events() async throws -> [String] {
        let entries = try await send("XRANGE", key("events"), "-", "+")
        return (entries.array ?? []).compactMap { QueueEvent($0)?.name }
    }

    /// Runs a worker for the time of `body`.
    func withWorker(
        _ settings: WorkerConfiguration = WorkerConfiguration(),
        observer: @escaping @LoopActor (Worker.Event) -> Void = { _ in },
        processor: @escaping Processor,
        _ body: @LoopActor (Worker) async throws -> Void
    ) async throws {
        let worker = Worker(
            queue,
            connection: configuration,
            configuration: settings,
            observer: observer,
            processor: processor
        )
        await worker.start()
        do { try await body(worker) } catch {
            await worker.stop(within: .zero)
            throw error
        }
        await worker.stop(within: .seconds(5))
    }
}

@LoopActor
func withBench(
    _ arguments: [String] = [],
    name: String = "q",
    _ body: @LoopActor (Bench) async throws -> Void
) async throws {
    let server = try await PrivateRedis.start(arguments)
    var configuration = RedisConfiguration(
        endpoint: .tcp(host: "127.0.0.1", port: server.port)
    )
    configuration.deadline = .seconds(5)
    let redis = RedisClient(configuration)
    let outcome: Result<Void, any Error>
    do {
        try await redis.start()
        let queue = Queue(try QueueKeys(queue: name), redis: redis)
        let bench = Bench(server: server, redis: redis, queue: queue, configuration: configuration)
        try await body(bench)
        outcome = .success(())
    } catch {
        outcome = .failure(error)
    }
    await redis.stop()
    await server.stop()
    try outcome.get()
}

/// Looks every few milliseconds whether `condition` has come about; records an issue if not.
@LoopActor
func comesAbout(
    within limit: Duration = .seconds(10),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: @LoopActor () async throws -> Bool
) async throws {
    let deadline = MonotonicTime.now() + limit
    while MonotonicTime.now() < deadline {
        if try await condition() { return }
        try await EventLoop.shared.sleep(for: .milliseconds(5))
    }
    Issue.record("it did not come about", sourceLocation: sourceLocation)
}
