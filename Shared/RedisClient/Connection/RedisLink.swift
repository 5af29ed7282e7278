internal import EventLoop

/// Keeps one connection to the server: connects, greets, waits for the loss, connects again.
///
/// It holds itself from ``start()`` to ``stop()``.
@LoopActor
final class RedisLink {
    let configuration: RedisConfiguration
    let meter: RedisMeter
    /// Called with every connection that is ready, before anybody can use it.
    var onReady: (@LoopActor (RedisConnection) -> Void)?

    /// Whom to ask where the server is, in this order.
    var directory: [RedisConfiguration.Endpoint]

    private var current: RedisConnection?
    private(set) var server: RedisServerFacts?
    private var runner: Task<Void, Never>?
    private var watcher: Task<Void, Never>?
    private var isStopping = false
    private var starters: [CheckedContinuation<Result<Void, RedisError>, Never>] = []

    init(_ configuration: RedisConfiguration, observer: RedisObserver?) {
        self.configuration = configuration
        directory = configuration.directory?.members ?? []
        meter = RedisMeter(observer)
    }

    /// The connection that takes commands; nil while there is none.
    var connection: RedisConnection? {
        guard let current, current.isOpen else { return nil }
        return current
    }

    var readings: RedisReadings {
        var readings = meter.readings
        readings.pending = current?.pending.count ?? 0
        return readings
    }

    /// Begins to connect and waits for the outcome of the first attempt.
    func start() async throws(RedisError) {
        precondition(configuration.mode != .disabled, "a disabled Redis is not connected to")
        if connection != nil { return }
        let outcome = await withCheckedContinuation { continuation in
            starters.append(continuation)
            if runner == nil { runner = Task { await self.run() } }
        }
        try outcome.get()
    }

    /// Takes no more commands and disconnects; a graceful stop first waits for the answers that are
    /// due.
    func stop(isGraceful: Bool = true) async {
        guard let runner, !isStopping else { return }
        isStopping = true
        runner.cancel()
        if isGraceful {
            current?.drain(RedisLink.stopped)
        } else {
            current?.close(RedisLink.stopped)
        }
        await runner.value
        self.runner = nil
        isStopping = false
    }

    private static let stopped = RedisError(.connectionLost, message: "the client was stopped")

    // MARK: The cycle

    private func run() async {
        var delay = ReconnectDelay()
        while !isStopping {
            let pause = await attempt(&delay)
            guard !isStopping else { break }
            do { try await EventLoop.shared.sleep(for: pause) } catch { break }
        }
        settleStart(.failure(RedisLink.stopped))
    }

    /// One connection from the attempt to its end.
    ///
    /// - Returns: how long to wait before the next one.
    private func attempt(_ delay: inout ReconnectDelay) async -> Duration {
        let begun = MonotonicTime.now()
        let random = Double.random(in: 0...1)
        do throws(RedisError) {
            let (connection, facts, server) = try await establish()
            let ready = MonotonicTime.now()
            watcher = Task { await watch(connection, server) }
            let loss = await hold(connection, facts)
            watcher?.cancel()
            let held = MonotonicTime.now() - ready
            let pause = delay.afterLoss(held: held, random: random)
            if !isStopping { meter.note(.connectionLost(loss, retryIn: pause)) }
            return pause
        } catch {
            let elapsed = MonotonicTime.now() - begun
            let pause = delay.afterFailure(elapsed: elapsed, random: random)
            if !isStopping { meter.note(.attemptFailed(error, retryIn: pause)) }
            settleStart(.failure(error))
            return pause
        }
    }

    private func hold(
        _ connection: RedisConnection,
        _ facts: RedisServerFacts
    ) async -> RedisError {
        if isStopping {
            connection.close(RedisLink.stopped)
        } else {
            current = connection
            server = facts
            onReady?(connection)
            meter.note(.connected(facts))
            settleStart(.success(()))
        }
        let loss = await connection.end()
        current = nil
        return loss
    }

    private func settleStart(_ outcome: Result<Void, RedisError>) {
        let waiting = starters
        starters = []
        for starter in waiting { starter.resume(returning: outcome) }
    }
}
