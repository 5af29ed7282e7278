internal import EventLoop

/// One connection to one address, from the attempt to its end; never used again after that.
///
/// ```
/// open() ──> connecting ──> (securing) ──> open ──> draining ──> ended
///                │ refused, deadline        │ lost, silent, close()
///                └──────────> ended <───────┘
/// ```
@LoopActor
final class RedisConnection: Channel, Flushable {
    /// An unfinished answer may grow to this; then the connection is given up.
    static let replyBytesLimit = 64 * 1024 * 1024
    /// So many bytes are enciphered at a time: four records.
    private static let enciphermentSize = 64 * 1024

    private enum State {
        case unused
        case connecting
        /// The TLS handshake is on its way.
        case securing
        case open
        /// It takes no more commands although it still gives answers.
        case draining(RedisError)
        case ended(RedisError)

        var isEstablished: Bool {
            switch self {
            case .open, .draining: true
            case .unused, .connecting, .securing, .ended: false
            }
        }
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
    private let tls: RedisTLS?
    private var session: TLSSession?
    /// What is enciphered and the kernel has not taken.
    private var enciphered = OutputBuffer()
    private var opening: CheckedContinuation<Result<Void, RedisError>, Never>?
    private var endWaiter: CheckedContinuation<RedisError, Never>?

    private let directory: RedisDirectory?
    private let slot: Int?

    init(_ configuration: RedisConfiguration, meter: RedisMeter) {
        self.meter = meter
        idleLimit = configuration.idleLimit
        directory = configuration.directory
        tls = configuration.tls
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
    ///
    /// - Parameter server: the same by the name that was looked up, which the certificate must be
    ///   for; nil when there was none but the address.
    func open(
        _ endpoint: RedisConfiguration.Endpoint,
        of server: RedisConfiguration.Endpoint? = nil,
        deadline: MonotonicTime
    ) async throws(RedisError) {
        let outcome = await withCheckedContinuation { continuation in
            opening = continuation
            do throws(RedisError) {
                if let tls { session = try TLSSession(tls, with: server ?? endpoint) }
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
        guard let session else { return opened() }
        state = .securing
        shakeHands(session)
    }

    private func shakeHands(_ session: TLSSession) {
        do throws(RedisError) {
            let isDone = try session.shakeHands()
            session.moveOutput(to: &enciphered)
            send()
            if isDone, !isEnded { opened() }
        } catch {
            // The peer is told too, if it still listens: the reason is this one.
            session.moveOutput(to: &enciphered)
            _ = sendSome(of: &enciphered)
            end(error)
        }
    }

    private func opened() {
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
        case .unused, .connecting, .securing, .open: "the connection is not open yet"
        }
    }

    /// What a lost connection is called; a wrong scheme shows in nothing else.
    private func hangUp(_ words: String) -> RedisError {
        if case .securing = state {
            return RedisError(.notConnected, message: "\(words), in the TLS handshake")
        }
        let isMute = tls == nil && reader?.hasHeard == false
        let hint = isMute ? ", before it said a word (with TLS: rediss://)" : ""
        return RedisError(.connectionLost, message: words + hint)
    }

    /// Why an attempt is given up at its deadline.
    var delay: String {
        guard case .securing = state else { return "no connection in time" }
        return "no TLS handshake in time; a server that speaks no TLS may say nothing"
    }

    private func end(_ reason: RedisError) {
        guard !isEnded else { return }
        if state.isEstablished { sayGoodbye() }
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

    /// Tells the peer that the stream ends here and was not cut, unless more goes before it.
    private func sayGoodbye() {
        guard let session, enciphered.isEmpty else { return }
        session.close()
        session.moveOutput(to: &enciphered)
        _ = sendSome(of: &enciphered)
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
        switch outcome {
        case .received:
            if let session { decipher(session, into: reader) }
            takeAnswers(of: reader)
        case .wouldBlock: break
        case .end: close(hangUp("the server closed the connection"))
        case .failed(let failure): close(hangUp("\(failure)"))
        }
    }

    private func read(into reader: ReplyReader) -> ReceiveOutcome? {
        let session = session
        return socket?.receive { bytes, count in
            bytes.withUnsafeBytes { buffer in
                let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                if let session { session.receive(bytes) } else { reader.feed(bytes) }
            }
        }
    }

    /// Hands on all that can be deciphered: what stayed in the session would make nothing ready.
    private func decipher(_ session: TLSSession, into reader: ReplyReader) {
        if case .securing = state { shakeHands(session) }
        guard state.isEstablished else { return }
        var ending: RedisError?
        do throws(RedisError) {
            if try !session.read({ reader.feed($0) }) {
                ending = hangUp("the server closed the connection")
            }
        } catch {
            ending = error
        }
        if let ending {
            takeAnswers(of: reader)
            close(ending)
            return
        }
        session.moveOutput(to: &enciphered)
        if !enciphered.isEmpty, !isBlocked { send() }
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
        while !isEnded, let outcome = sendOnce() {
            switch outcome {
            case .sent: break
            case .wouldBlock:
                isBlocked = true
                socket?.update(interest: [.read, .write])
                return
            case .failed(let failure):
                // A server that hangs up may have said why.
                receive()
                close(hangUp("\(failure)"))
            }
        }
        guard isBlocked, !isEnded else { return }
        isBlocked = false
        socket?.update(interest: .read)
    }

    /// Sends some of what waits; nil when nothing does.
    private func sendOnce() -> SendOutcome? {
        guard let session else { return sendSome(of: &output) }
        if enciphered.isEmpty, !output.isEmpty {
            let count = min(output.count, RedisConnection.enciphermentSize)
            do throws(RedisError) {
                try session.write(UnsafeRawBufferPointer(rebasing: output.bytes[..<count]))
            } catch {
                end(error)
                return nil
            }
            output.consume(count)
            session.moveOutput(to: &enciphered)
        }
        return sendSome(of: &enciphered)
    }

    private func sendSome(of buffer: inout OutputBuffer) -> SendOutcome? {
        guard !buffer.isEmpty else { return nil }
        let outcome = socket?.send(buffer.bytes.bindMemory(to: UInt8.self).span)
        if case .sent(let count) = outcome { buffer.consume(count) }
        return outcome
    }
}
