internal import EventLoop

@LoopActor
extension RedisLink {
    /// Finds the server, connects to it, and greets it.
    func establish() async throws(RedisError) -> (
        RedisConnection, RedisServerFacts, RedisConfiguration.Endpoint
    ) {
        let deadline = MonotonicTime.now() + configuration.attemptTimeout
        let server = try await locate(until: deadline)
        do throws(RedisError) {
            let (connection, facts) = try await greeted(server, until: deadline)
            return (connection, facts, server)
        } catch {
            // Another member may know better.
            rotate()
            throw error
        }
    }

    private func greeted(
        _ server: RedisConfiguration.Endpoint,
        until deadline: MonotonicTime
    ) async throws(RedisError) -> (RedisConnection, RedisServerFacts) {
        let greeting = Greeting(configuration)
        var facts: RedisServerFacts?
        let connection = try await connect(to: server, until: deadline) {
            connection,
            share throws(RedisError) in
            let answers = try await connection.answers(to: greeting.commands, until: share)
            facts = try greeting.facts(from: answers)
        }
        guard let facts else { throw RedisError(.protocolViolation, message: "no greeting") }
        return (connection, facts)
    }

    // MARK: Directories

    /// How often sentinels are asked whether another server is the primary by now.
    private static let watchInterval: Duration = .seconds(1)
    /// How often a cluster is asked whether it still has the node that tells what is published.
    private static let memberInterval: Duration = .seconds(5)

    /// Ends a connection to a server that is the primary no more.
    ///
    /// Sentinels let an old primary that is alive take writes for about ten seconds, and those are
    /// lost when it becomes a replica; a cluster's node says `MOVED` at once, unless nobody asks it for
    /// keys.
    func watch(_ connection: RedisConnection, _ server: RedisConfiguration.Endpoint) async {
        let interval: Duration
        switch configuration.directory {
        case .sentinels: interval = RedisLink.watchInterval
        case .cluster where configuration.slot == nil: interval = RedisLink.memberInterval
        case .cluster, nil: return
        }
        while true {
            do { try await EventLoop.shared.sleep(for: interval) } catch { return }
            let deadline = MonotonicTime.now() + configuration.attemptTimeout
            // Without an answer there is no reason to leave a server that works.
            guard let reason = try? await departure(of: server, until: deadline) else { continue }
            connection.close(RedisError(.connectionLost, message: reason))
            return
        }
    }

    /// Why `server` is none to be connected to; nil when it is one.
    private func departure(
        of server: RedisConfiguration.Endpoint,
        until deadline: MonotonicTime
    ) async throws(RedisError) -> String? {
        guard configuration.isCluster else {
            let present = try await locate(until: deadline)
            return present == server ? nil : "\(present) is the primary now"
        }
        let slots = try await consult(until: deadline) { answer, member throws(RedisError) in
            try ClusterSlots(answer, of: member)
        }
        return slots.primaries.contains(server) ? nil : "the cluster has no primary \(server)"
    }

    /// Asks where the server is.
    private func locate(
        until deadline: MonotonicTime
    ) async throws(RedisError) -> RedisConfiguration.Endpoint {
        guard let directory = configuration.directory else { return configuration.endpoint }
        return try await consult(until: deadline) { answer, member throws(RedisError) in
            try directory.server(in: answer, of: member, slot: configuration.slot)
        }
    }

    /// Asks one member of the directory after the other, until `read` can make something of an
    /// answer.
    func consult<Answer: Sendable>(
        until deadline: MonotonicTime,
        _ read: (RedisValue, RedisConfiguration.Endpoint) throws(RedisError) -> Answer
    ) async throws(RedisError) -> Answer {
        guard let directory = configuration.directory else {
            preconditionFailure("a server without a directory has nobody to consult")
        }
        var failure = RedisError(.notConnected, message: "\(directory): nobody to ask")
        for left in (1...max(1, self.directory.count)).reversed() {
            guard let member = self.directory.first else { break }
            // One more share is for the server itself.
            let share = RedisLink.share(of: deadline, among: left + 1)
            do throws(RedisError) {
                return try read(try await ask(member, directory, until: share), member)
            } catch {
                failure = error
                rotate()
            }
        }
        throw failure
    }

    private func ask(
        _ member: RedisConfiguration.Endpoint,
        _ directory: RedisDirectory,
        until deadline: MonotonicTime
    ) async throws(RedisError) -> RedisValue {
        let commands = authentication(by: directory) + [directory.question]
        var answer: RedisValue?
        let connection = try await connect(to: member, until: deadline) {
            connection,
            share throws(RedisError) in
            let answers = try await connection.answers(to: commands, until: share)
            if answers.count > 1, let message = answers[0].errorMessage {
                throw RedisError(.authentication, command: "AUTH", message: message)
            }
            answer = answers.last
        }
        connection.close(RedisError(.connectionLost, message: "no longer needed"))
        guard let answer else { throw RedisError(.protocolViolation, message: "no answer") }
        return answer
    }

    private func authentication(by directory: RedisDirectory) -> [[RedisArgument]] {
        switch directory {
        case .sentinels: configuration.sentinelPassword.map { [["AUTH", .string($0)]] } ?? []
        case .cluster: Greeting.authentication(configuration).map { [$0] } ?? []
        }
    }

    /// Asks another member first next time.
    private func rotate() {
        guard !directory.isEmpty else { return }
        directory.append(directory.removeFirst())
    }

    // MARK: Connecting

    /// Looks the host up and connects to the first address where `body` succeeds too.
    private func connect(
        to server: RedisConfiguration.Endpoint,
        until deadline: MonotonicTime,
        _ body: (RedisConnection, MonotonicTime) async throws(RedisError) -> Void
    ) async throws(RedisError) -> RedisConnection {
        do throws(RedisConfigurationError) {
            try configuration.tls?.renew()
        } catch {
            meter.note(.filesRefused(error))
        }
        let endpoints = try await numericEndpoints(of: server, until: deadline)
        var failure = RedisError(.notConnected, message: "\(server): no address")
        for (index, endpoint) in endpoints.enumerated() {
            // An address that swallows packets must not use up the time of the next one.
            let share = RedisLink.share(of: deadline, among: endpoints.count - index)
            let connection = RedisConnection(configuration, meter: meter)
            do throws(RedisError) {
                try await connection.open(endpoint, of: server, deadline: share)
                try await body(connection, share)
                return connection
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

    private static func share(of deadline: MonotonicTime, among count: Int) -> MonotonicTime {
        let now = MonotonicTime.now()
        return now + .nanoseconds((deadline - now).nanoseconds / Int64(count))
    }

    private func numericEndpoints(
        of server: RedisConfiguration.Endpoint,
        until deadline: MonotonicTime
    ) async throws(RedisError) -> [RedisConfiguration.Endpoint] {
        guard case .tcp(let host, let port) = server else { return [server] }
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
