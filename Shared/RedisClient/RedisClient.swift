public import EventLoop

/// A client of one server: one connection, on which all commands of a tick leave in one write.
///
/// Commands never wait for a connection: without one they throw ``RedisError/Code/notConnected``
/// at once, and a server that does not answer costs a command its deadline and no more. After a loss
/// the client connects again by itself.
///
/// Commands that block the server's side (BLPOP, XREADGROUP BLOCK) go to a
/// ``RedisBlockingConnection``, subscriptions to a ``RedisSubscriber``.
@LoopActor
public final class RedisClient {
    let link: RedisLink

    /// A client of the server that `configuration` names; it does nothing before ``start()``.
    public init(_ configuration: RedisConfiguration, observer: RedisObserver? = nil) {
        link = RedisLink(configuration, observer: observer)
    }

    /// Begins to connect and waits for the outcome of the first attempt.
    ///
    /// - Throws: why that attempt failed; the client goes on trying until ``stop()``.
    public func start() async throws(RedisError) { try await link.start() }

    /// Takes no more commands, waits for the answers that are due, and disconnects.
    public func stop() async { await link.stop() }

    /// Whether commands can be sent at this moment.
    public var isConnected: Bool { link.connection != nil }

    /// What the server of the latest connection told about itself.
    public var server: RedisServerFacts? { link.server }

    /// What the client counted.
    public var readings: RedisReadings { link.readings }

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

    /// Sends a message to all subscribers of a channel.
    ///
    /// - Returns: how many subscribers of this server got it.
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
