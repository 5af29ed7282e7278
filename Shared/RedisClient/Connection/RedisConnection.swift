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

    private enum State {
        case unused
        case connecting
        case open
        /// It takes no more commands although it still gives answers.
        case draining(RedisError)
        case ended(RedisError)
    }

    var isFlushScheduled = false
    /// Told of messages; for subscribers.
    var onPush: (@LoopActor (RedisValue) -> Void)?
    /// Called instead of a PING when the connection was quiet for ``idleLimit``.
    var onIdle: (@LoopActor () -> Void)?

    let meter: RedisMeter
    let idleLimit: Duration
    var pending: PendingCommands<ReplyWaiter>
    /// Commands that the kernel has not taken.
    var output = OutputBuffer()
    /// Whether the kernel takes nothing until it tells of room.
    private(set) var isBlocked = false
    /// Whether messages may come between the answers.
    var hasSubscribed = false
    var lastHeard = MonotonicTime(nanoseconds: 0)
    var pushOwedSince: MonotonicTime?
    var timer: LoopTimer?

    private var state = State.unused
    private var socket: StreamSocket?
    private var reader: ReplyReader?
    private var opening: CheckedContinuation<Result<Void, RedisError>, Never>?
    private var endWaiter: CheckedContinuation<RedisError, Never>?

    private let directory: RedisDirectory?
    private let slot: Int

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

    /// Whether commands can be sent.
    var isOpen: Bool {
        if case .open = state { return true }
        return false
    }

    var isEnded: Bool {
        if case .ended = state { return true }
        return false
    }

    // MARK: Opening

    /// Connects to a numeric address or a socket path.
    func open(
        _ endpoint: RedisConfiguration.Endpoint,
        deadline: MonotonicTime
    ) async throws(RedisError) {
        let outcome = await withCheckedContinuation { continuation in
            opening = continuation
            do throws(RedisError) {
                try connect(to: endpoint)
                look(at: deadline)
            } catch {
                end(error)
            }
        }
        try outcome.get()
    }

    private func connect(to endpoint: RedisConfiguration.Endpoint) throws(RedisError) {
        reader = try ReplyReader()
        state = .connecting
        do {
            var made =
                switch endpoint {
                case .tcp(let host, let port):
                    try StreamSocket.connecting(toHost: host, port: port)
                case .unix(let path): try StreamSocket.connecting(toPath: path)
                }
            try made.watch(self, interest: .write)
            socket = consume made
        } catch {
            throw RedisError(.notConnected, message: "\(error)")
        }
    }

    private func connected() {
        if let failure = socket?.connectFailure() {
            end(RedisError(.notConnected, message: "\(failure)"))
            return
        }
        socket?.update(interest: .read)
        state = .open
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
        if case .ended(let reason) = state { return reason }
        precondition(endWaiter == nil, "one owner waits for the end")
        return await withCheckedContinuation { endWaiter = $0 }
    }

    /// Ends it now; commands without an answer fail with `error`.
    func close(_ error: RedisError) { end(error) }

    /// Takes no more commands and ends when the last answer is here, or overdue.
    func drain(_ error: RedisError) {
        guard isOpen else {
            close(error)
            return
        }
        state = .draining(error)
        endWhenDrained()
    }

    /// Ends when the server says that another one has taken its place: the next connection asks where.
    func heed(_ error: String) {
        guard let directory, directory.isOutdated(by: error, slot: slot) else { return }
        drain(RedisError(.connectionLost, message: error))
    }

    /// Ends a draining connection that owes nothing any more.
    func endWhenDrained() {
        if case .draining(let reason) = state, pending.isEmpty { end(reason) }
    }

    /// Why no command can be sent.
    var refusalReason: String {
        switch state {
        case .ended(let reason), .draining(let reason): reason.message
        case .unused, .connecting, .open: "the connection is not open yet"
        }
    }

    private func end(_ reason: RedisError) {
        guard !isEnded else { return }
        state = .ended(reason)
        socket?.close()
        if let timer { EventLoop.shared.cancel(timer) }
        timer = nil
        failPending(reason)
        settleOpening(.failure(reason))
        let waiting = endWaiter
        endWaiter = nil
        waiting?.resume(returning: reason)
    }

    // MARK: Socket

    func ready(_ readiness: Readiness) {
        if case .connecting = state {
            connected()
            return
        }
        if !readiness.isDisjoint(with: [.read, .hangup]) { receive() }
        if readiness.contains(.write) { send() }
    }

    /// Reads once; what is left makes the socket ready again.
    private func receive() {
        guard let reader, let outcome = read(into: reader) else { return }
        takeAnswers(of: reader)
        switch outcome {
        case .received, .wouldBlock: break
        case .end: close(RedisError(.connectionLost, message: "the server closed the connection"))
        case .failed(let failure): close(RedisError(.connectionLost, message: "\(failure)"))
        }
    }

    private func read(into reader: ReplyReader) -> ReceiveOutcome? {
        socket?.receive { bytes, count in
            bytes.withUnsafeBytes { reader.feed(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
    }

    private func takeAnswers(of reader: ReplyReader) {
        lastHeard = EventLoop.shared.now
        do throws(RedisError) {
            // An answer may end the connection.
            while !isEnded, let value = try reader.next() { take(value) }
        } catch {
            close(error)
        }
        guard reader.unfinished > RedisConnection.replyBytesLimit else { return }
        close(
            RedisError(.protocolViolation, message: "an answer of over \(reader.unfinished) bytes")
        )
    }

    func flush() {
        guard !isEnded else { return }
        meter.readings.writes += 1
        send()
    }

    private func send() {
        while !isEnded, !output.isEmpty, let outcome = sendOnce() {
            switch outcome {
            case .sent(let count): output.consume(count)
            case .wouldBlock:
                isBlocked = true
                socket?.update(interest: [.read, .write])
                return
            case .failed(let failure):
                // A server that hangs up may have said why.
                receive()
                close(RedisError(.connectionLost, message: "\(failure)"))
            }
        }
        guard isBlocked, !isEnded else { return }
        isBlocked = false
        socket?.update(interest: .read)
    }

    private func sendOnce() -> SendOutcome? {
        let bytes = output.bytes.bindMemory(to: UInt8.self)
        return socket?.send(bytes.span)
    }
}
