internal import EventLoop

@LoopActor
extension RedisLink {
    /// Looks the host up, connects to the first address that answers, and greets the server.
    func establish() async throws(RedisError) -> (RedisConnection, RedisServerFacts) {
        let deadline = MonotonicTime.now() + configuration.attemptTimeout
        let endpoints = try await numericEndpoints(until: deadline)
        var failure = RedisError(.notConnected, message: "\(configuration.endpoint): no address")
        for (index, endpoint) in endpoints.enumerated() {
            let now = MonotonicTime.now()
            let left = endpoints.count - index
            // An address that swallows packets must not use up the time of the next one.
            let share = now + .nanoseconds((deadline - now).nanoseconds / Int64(left))
            let connection = RedisConnection(configuration, meter: meter)
            do throws(RedisError) {
                try await connection.open(endpoint, deadline: share)
                return (connection, try await greet(connection, deadline: share))
            } catch {
                connection.close(error)
                failure = RedisError(
                    error.code,
                    command: error.command,
                    message: "\(endpoint): \(error.message)"
                )
            }
        }
        throw failure
    }

    private func greet(
        _ connection: RedisConnection,
        deadline: MonotonicTime
    ) async throws(RedisError) -> RedisServerFacts {
        let greeting = Greeting(configuration)
        let commands = greeting.commands
        let outcome = await withCheckedContinuation { continuation in
            let group = ReplyGroup(count: commands.count, continuation)
            connection.submit(commands, deadline: deadline, group)
        }
        return try greeting.facts(from: try outcome.get())
    }

    private func numericEndpoints(
        until deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisConfiguration.Endpoint] {
        guard case .tcp(let host, let port) = configuration.endpoint else {
            return [configuration.endpoint]
        }
        let outcome = await withCheckedContinuation { continuation in
            let lookUp = LookUp(continuation)
            Task { await lookUp.run(host) }
            EventLoop.shared.schedule(at: deadline) {
                lookUp.settle(
                    .failure(RedisError(.deadline, message: "\(host): no address in time"))
                )
            }
        }
        return try outcome.get().map { .tcp(host: $0, port: port) }
    }
}

/// A look-up of a name, or its deadline: whichever comes first.
///
/// The system's resolver cannot be interrupted; its late outcome is dropped.
@LoopActor
private final class LookUp {
    typealias Outcome = Result<[String], RedisError>

    private var continuation: CheckedContinuation<Outcome, Never>?

    init(_ continuation: CheckedContinuation<Outcome, Never>) { self.continuation = continuation }

    func run(_ host: String) async {
        do {
            settle(.success(try await HostResolver.resolve(host)))
        } catch {
            settle(.failure(RedisError(.notConnected, message: "\(error)")))
        }
    }

    func settle(_ outcome: Outcome) {
        let waiting = continuation
        continuation = nil
        waiting?.resume(returning: outcome)
    }
}
