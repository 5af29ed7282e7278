internal import CHiredis
internal import EventLoop

/// One connection to one address, from the attempt to its end; never used again after that.
///
/// ```
/// open() ──> connecting ──> open ──> draining ──> ended
///                │ refused, deadline  │ lost, silent, close()
///                └───────> ended <────┘
/// ```
@LoopActor
final class RedisConnection: Channel, Flushable {
    /// An unfinished answer may grow to this; then the connection is given up.
    static let replyBytesLimit = 64 * 1024 * 1024

    var isFlushScheduled = false
    /// Told of messages; for subscribers.
    var onPush: (@LoopActor (RedisValue) -> Void)?
    /// Called instead of a PING when the connection was quiet for ``idleLimit``.
    var onIdle: (@LoopActor () -> Void)?

    /// Whether commands can be sent.
    private(set) var isOpen = false
    private(set) var context: HiredisContext?
    let meter: RedisMeter
    let idleLimit: Duration
    var pending: PendingCommands<ReplyWaiter>
    var encoder = CommandEncoder()
    var lastHeard = MonotonicTime(nanoseconds: 0)
    var pushOwedSince: MonotonicTime?
    var timer: LoopTimer?

    private var registration: Registration?
    private var interest: Interest = []
    private var isWriting = false
    /// Why it takes no more commands although it still gives answers.
    private var draining: RedisError?
    private var opening: CheckedContinuation<Result<Void, RedisError>, Never>?
    private var endWaiter: CheckedContinuation<RedisError, Never>?
    /// Why it ends, or ended; the first reason counts.
    private var reason: RedisError?
    private var isEnded = false

    private let directory: RedisDirectory?
    private let slot: Int?

    init(_ configuration: RedisConfiguration, meter: RedisMeter) {
        self.meter = meter
        idleLimit = configuration.idleLimit
        directory = configuration.directory
        slot = configuration.slot
        pending = PendingCommands(
            countLimit: configuration.pendingLimit,
            bytesLimit: configuration.pendingBytesLimit
        )
    }

    // MARK: Opening

    /// Connects to a numeric address or a socket path.
    func open(
        _ endpoint: RedisConfiguration.Endpoint,
        deadline: MonotonicTime
    ) async throws(RedisError) {
        let outcome = await withCheckedContinuation { continuation in
            opening = continuation
            connect(to: endpoint)
            if !isEnded { look(at: deadline) }
        }
        try outcome.get()
    }

    private func connect(to endpoint: RedisConfiguration.Endpoint) {
        let made =
            switch endpoint {
            case .tcp(let host, let port): redisAsyncConnect(host, Int32(port))
            case .unix(let path): redisAsyncConnectUnix(path)
            }
        guard let made else {
            end(RedisError(.notConnected, message: "hiredis had no memory for a connection"))
            return
        }
        guard made.pointee.err == 0 else {
            let message = errorMessage(of: made)
            redisAsyncFree(made)
            end(RedisError(.notConnected, message: message))
            return
        }
        do {
            let descriptor = made.pointee.c.fd
            registration = try EventLoop.shared.add(self, descriptor: descriptor, interest: [])
        } catch {
            redisAsyncFree(made)
            end(RedisError(.notConnected, message: "\(error)"))
            return
        }
        context = made
        attach(to: made)
    }

    func connectEnded(isOK: Bool) {
        guard let context else { return }
        guard isOK else {
            // hiredis frees the context when this returns.
            end(RedisError(.notConnected, message: errorMessage(of: context)))
            return
        }
        // On a socket in the file system the option fails, and hiredis calls that a lost connection.
        if context.pointee.c.connection_type == REDIS_CONN_TCP {
            _ = redisEnableKeepAlive(&context.pointee.c)
        }
        isOpen = true
        lastHeard = EventLoop.shared.now
        settleOpening(.success(()))
    }

    private func settleOpening(_ outcome: Result<Void, RedisError>) {
        let waiting = opening
        opening = nil
        waiting?.resume(returning: outcome)
    }

    // MARK: Ending

    /// Waits for the end and tells its reason.
    func end() async -> RedisError {
        if isEnded, let reason { return reason }
        precondition(endWaiter == nil, "one owner waits for the end")
        return await withCheckedContinuation { endWaiter = $0 }
    }

    /// Ends it now; commands without an answer fail with `error`.
    func close(_ error: RedisError) {
        guard let context, reason == nil else { return }
        reason = error
        isOpen = false
        // In a callback this only marks the context, and ``disconnected()`` follows in time.
        let isDeferred = context.pointee.c.flags & REDIS_IN_CALLBACK != 0
        withExtendedLifetime(self) {
            redisAsyncFree(context)
            // The disconnect callback is for connections that were established.
            if !isDeferred { end(error) }
        }
    }

    /// Takes no more commands and ends when the last answer is here, or overdue.
    func drain(_ error: RedisError) {
        guard isOpen else {
            close(error)
            return
        }
        draining = error
        isOpen = false
        endWhenDrained()
    }

    /// Ends when the server says that another one has taken its place: the next connection asks where.
    func heed(_ error: String) {
        guard let directory, directory.isOutdated(by: error, slot: slot) else { return }
        drain(RedisError(.connectionLost, message: error))
    }

    /// Ends a draining connection that owes nothing any more.
    func endWhenDrained() {
        if let draining, pending.isEmpty { close(draining) }
    }

    func disconnected() { end(lossReason) }

    /// Why commands fail when their connection goes.
    var lossReason: RedisError {
        if let reason { return reason }
        let message = context.map { errorMessage(of: $0) } ?? ""
        return RedisError(
            .connectionLost,
            message: message.isEmpty ? "the connection was closed" : message
        )
    }

    private func end(_ error: RedisError) {
        guard !isEnded else { return }
        isEnded = true
        isOpen = false
        context = nil
        let final = reason ?? error
        reason = final
        if let timer { EventLoop.shared.cancel(timer) }
        timer = nil
        stopWatching()
        settleOpening(.failure(final))
        let waiting = endWaiter
        endWaiter = nil
        waiting?.resume(returning: final)
    }

    // MARK: Socket

    func ready(_ readiness: Readiness) {
        withExtendedLifetime(self) {
            guard isOpen || draining != nil else {
                // The first readiness of any kind is the outcome of connect(2).
                write()
                return
            }
            if !readiness.isDisjoint(with: [.read, .hangup]) { read() }
            if readiness.contains(.write) { write() }
        }
    }

    private func read() {
        guard let context else { return }
        redisAsyncHandleRead(context)
        guard let context = self.context, let reader = context.pointee.c.reader else { return }
        if reader.pointee.len > RedisConnection.replyBytesLimit {
            close(
                RedisError(.protocolViolation, message: "an answer of \(reader.pointee.len) bytes")
            )
        }
    }

    private func write() {
        guard let context else { return }
        isWriting = true
        redisAsyncHandleWrite(context)
        isWriting = false
    }

    func flush() {
        guard context != nil else { return }
        meter.readings.writes += 1
        withExtendedLifetime(self) { write() }
    }

    func wantsRead() { watch(interest.union(.read)) }

    /// A new command waits for the end of the tick; what a full socket left over, and the outcome
    /// of connect(2), wait for writability.
    func wantsWrite() {
        if isWriting || !(isOpen || draining != nil) {
            watch(interest.union(.write))
        } else if !interest.contains(.write) {
            EventLoop.shared.flushLater(self)
        }
    }

    func hasWritten() { watch(interest.subtracting(.write)) }

    private func watch(_ interest: Interest) {
        self.interest = interest
        if let registration { EventLoop.shared.update(registration, interest: interest) }
    }

    func stopWatching() {
        if let registration { EventLoop.shared.remove(registration) }
        registration = nil
    }
}
