public import EventLoop

/// A connection of its own for commands that wait in the server: BLPOP, BLMOVE, XREADGROUP BLOCK.
///
/// One command at a time, as the next would wait behind it. On a ``RedisClient`` such a command would
/// hold up everybody's.
@LoopActor
public final class RedisBlockingConnection {
    private let link: RedisLink
    private var isBusy = false
    private var sequence = 0

    /// A connection to the server that `configuration` names; it does nothing before ``start()``.
    public init(_ configuration: RedisConfiguration, observer: RedisObserver? = nil) {
        link = RedisLink(configuration, observer: observer)
    }

    /// Begins to connect and waits for the outcome of the first attempt.
    ///
    /// - Throws: why that attempt failed; it goes on trying until ``stop()``.
    public func start() async throws(RedisError) { try await link.start() }

    /// Disconnects; a command that waits fails.
    public func stop() async { await link.stop(isGraceful: false) }

    /// Whether a command can be sent at this moment.
    public var isConnected: Bool { link.connection != nil }

    /// What was counted.
    public var readings: RedisReadings { link.readings }

    /// Sends a command and waits for its answer.
    ///
    /// Cancelling the task ends the connection, as nothing else makes the server stop waiting; what
    /// the server was just handing out is lost then, unless the command keeps it (BLMOVE, streams).
    ///
    /// - Parameters:
    ///   - command: its words; the time that the server may wait is one of them.
    ///   - limit: how long to wait for the answer; longer than the server's time.
    /// - Throws: an error reply, why there is no reply, or ``RedisError/Code/queueFull`` while
    ///   another command waits.
    public func send(
        _ command: [RedisArgument],
        within limit: Duration
    ) async throws(RedisError) -> RedisValue {
        let name = RedisClient.name(of: command)
        if Task.isCancelled { throw RedisError(.cancelled, command: name, message: "not sent") }
        guard !isBusy else {
            link.meter.note(.queueFull(command: name))
            throw RedisError(.queueFull, command: name, message: "another command waits")
        }
        guard let connection = link.connection else {
            let message = "no connection to \(link.configuration.place)"
            throw RedisError(.notConnected, command: name, message: message)
        }
        isBusy = true
        defer { isBusy = false }
        sequence += 1
        let ticket = sequence
        let deadline = EventLoop.shared.now + limit
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                connection.submit(command, deadline: deadline, .caller(continuation))
            }
        } onCancel: {
            // This runs on the canceller's thread.
            Task { @LoopActor in self.cancel(ticket) }
        }
        switch outcome {
        case .success(.error(let message)): throw RedisError(reply: message, command: name)
        case .success(let value): return value
        case .failure(let error):
            link.meter.note(error, of: name)
            throw error.of(command: name)
        }
    }

    private func cancel(_ ticket: Int) {
        guard isBusy, ticket == sequence else { return }
        link.connection?.close(RedisError(.cancelled, message: "the task was cancelled"))
    }
}
