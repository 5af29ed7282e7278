public import EventLoop

/// A client of one server: one connection, on which all commands of a tick leave in one write.
///
/// A client of a cluster has one such connection to each node that has slots, and each command goes by
/// its key.
///
/// Commands never wait for a connection: without one they throw ``RedisError/Code/notConnected``
/// at once, and a server that does not answer costs a command its deadline and no more. After a loss
/// the client connects again by itself.
///
/// Commands that block the server's side (BLPOP, XREADGROUP BLOCK) go to a
/// ``RedisBlockingConnection``, subscriptions to a ``RedisSubscriber``.
@LoopActor
public final class RedisClient {
    /// The connection; with a cluster only what asks where the nodes are.
    let link: RedisLink
    let cluster: RedisCluster?

    /// A client of the server or cluster that `configuration` names; it does nothing before
    /// ``start()``.
    public init(_ configuration: RedisConfiguration, observer: RedisObserver? = nil) {
        link = RedisLink(configuration, observer: observer)
        cluster = configuration.isCluster ? RedisCluster(link, observer: observer) : nil
    }

    /// Begins to connect and waits for the outcome of the first attempt.
    ///
    /// - Throws: why that attempt failed; the client goes on trying until ``stop()``.
    public func start() async throws(RedisError) {
        if let cluster { try await cluster.start() } else { try await link.start() }
    }

    /// Takes no more commands, waits for the answers that are due, and disconnects.
    public func stop() async {
        if let cluster { await cluster.stop() } else { await link.stop() }
    }

    /// Whether commands can be sent at this moment; with a cluster, for every key.
    public var isConnected: Bool { cluster?.isConnected ?? (link.connection != nil) }

    /// The nodes of a cluster that have slots and take no commands at this moment; none of a single
    /// server.
    public var nodesAway: [RedisConfiguration.Endpoint] { cluster?.away ?? [] }

    /// What the server of the latest connection told about itself; of a cluster's nodes the oldest
    /// version, a policy that evicts if one has it, and the least memory.
    public var server: RedisServerFacts? { cluster?.server ?? link.server }

    /// What the client counted.
    public var readings: RedisReadings { cluster?.readings ?? link.readings }

    /// Sends a command and waits for its answer.
    ///
    /// Cancelling the task changes nothing: the answer or the deadline is near.
    ///
    /// - Parameters:
    ///   - command: its words, such as `["SET", key, value, "PX", 30_000]`.
    ///   - limit: how long to wait; nil for the configuration's deadline.
    /// - Throws: an error reply, or why there is no reply.
    public func send(
        _ command: [RedisArgument],
        within limit: Duration? = nil
    ) async throws(RedisError) -> RedisValue {
        try await send(command, deadline: deadline(limit))
    }

    /// The same with an instant; part of its callers, so that it costs no frame of its own.
    @inline(__always)
    func send(
        _ command: [RedisArgument],
        deadline: MonotonicTime
    ) async throws(RedisError) -> RedisValue {
        if let cluster { return try await send(command, deadline: deadline, on: cluster) }
        guard let connection = link.connection else { throw disconnected(command) }
        let outcome = await withCheckedContinuation { continuation in
            connection.submit(command, deadline: deadline, .caller(continuation))
        }
        switch outcome {
        case .success(.error(let message)):
            throw RedisError(reply: message, command: RedisClient.name(of: command))
        case .success(let value): return value
        case .failure(let error):
            let name = RedisClient.name(of: command)
            link.meter.note(error, of: name)
            throw error.of(command: name)
        }
    }

    /// Sends a command to every server there is: the one, or each node of a cluster that has slots.
    ///
    /// - Returns: an answer of each, in no order; error replies stand in place as
    ///   ``RedisValue/error(_:)``.
    /// - Throws: why an answer is missing; other nodes may have run the command.
    public func sendToAll(
        _ command: [RedisArgument],
        within limit: Duration? = nil
    ) async throws(RedisError) -> [RedisValue] {
        guard let cluster else { return try await pipeline([command], within: limit) }
        do throws(RedisError) {
            return try await cluster.sendToAll(command, deadline: deadline(limit))
        } catch {
            throw noted(error, RedisClient.name(of: command))
        }
    }

    private func send(
        _ command: [RedisArgument],
        deadline: MonotonicTime,
        on cluster: RedisCluster
    ) async throws(RedisError) -> RedisValue {
        let name = RedisClient.name(of: command)
        let value: RedisValue
        do throws(RedisError) {
            value = try await cluster.send(command, deadline: deadline)
        } catch {
            throw noted(error, name)
        }
        if case .error(let message) = value { throw RedisError(reply: message, command: name) }
        return value
    }

    /// The error of a command, counted.
    func noted(_ error: RedisError, _ command: String) -> RedisError {
        link.meter.note(error, of: command)
        return error.of(command: command)
    }

    /// Sends a message to all subscribers of a channel.
    ///
    /// - Returns: how many subscribers of this server got it; those of other nodes of a cluster get it
    ///   too and are not counted.
    @discardableResult
    public func publish(
        _ message: RedisArgument,
        to channel: String
    ) async throws(RedisError) -> Int64 {
        let reply = try await send(["PUBLISH", .string(channel), message])
        guard let count = reply.integer else {
            throw RedisError(.protocolViolation, command: "PUBLISH", message: "answered \(reply)")
        }
        return count
    }

    func deadline(_ limit: Duration?) -> MonotonicTime {
        EventLoop.shared.now + (limit ?? link.configuration.deadline)
    }

    func disconnected(_ command: [RedisArgument]) -> RedisError {
        RedisError(
            .notConnected,
            command: RedisClient.name(of: command),
            message: "no connection to \(link.configuration.place)"
        )
    }

    static func name(of command: [RedisArgument]) -> String { command.first?.text ?? "" }
}
