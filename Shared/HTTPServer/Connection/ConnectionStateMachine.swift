internal import EventLoop

/// What one connection is doing, and until when.
///
///     fresh ─▶ head ─▶ body ─▶ handling ─▶ idle ─▶ head …
///       │        │       │         └─▶ streaming ─┐
///       │        └───────┴──────────┬─────────────┘
///       ▼                           ▼
///     closed ◀──── lingering ◀── finishing
///
/// A close at once would answer what the peer still sends with a reset, and that can take the last
/// answer out of its hands: every close that is ours lingers (RFC 9112, 9.6).
///
/// No input or output happens here; the owner reports facts and does what the actions say.
struct ConnectionStateMachine: Sendable {
    private enum State: Sendable {
        /// Accepted, and no byte has come.
        case fresh
        /// Between two requests.
        case idle
        /// Part of a head is here.
        case head
        /// The head is here, the body not yet.
        case body
        /// The request is whole and its handler runs.
        case handling
        /// The answer is a stream of events.
        case streaming
        /// The last answer is on its way out.
        case finishing
        /// Our side is closed; what still comes is thrown away so that the answer can be read.
        case lingering
        case closed
    }

    private let deadlines: HTTPDeadlines
    private let lingerBytesMax: Int
    private var state = State.fresh
    private var deadline: MonotonicTime
    private var stallDeadline: MonotonicTime?
    private var requestKeepsAlive = false
    private var lingeredBytes = 0
    private(set) var hasInputEnded = false
    private var isDraining = false

    /// A connection that was just accepted.
    init(deadlines: HTTPDeadlines, lingerBytesMax: Int, now: MonotonicTime) {
        self.deadlines = deadlines
        self.lingerBytesMax = lingerBytesMax
        deadline = now + deadlines.head
    }

    /// Whether bytes may be read as requests.
    var mayParse: Bool {
        switch state {
        case .fresh, .idle, .head, .body: true
        case .handling, .streaming, .finishing, .lingering, .closed: false
        }
    }

    /// Whether a handler runs.
    var isHandling: Bool {
        if case .handling = state { true } else { false }
    }

    /// Whether the last answer is on its way out.
    var isFinishing: Bool {
        if case .finishing = state { true } else { false }
    }

    /// Whether input is thrown away.
    var isLingering: Bool {
        if case .lingering = state { true } else { false }
    }

    /// Whether nothing will happen any more.
    var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    /// Whether more input is of any use.
    var wantsInput: Bool {
        if hasInputEnded { return false }
        switch state {
        case .finishing, .closed: return false
        case .fresh, .idle, .head, .body, .handling, .streaming, .lingering: return true
        }
    }

    /// When the owner must report ``timerFired(now:)`` at the latest.
    var nextDeadline: MonotonicTime { min(deadline, stallDeadline ?? .distantFuture) }

    // MARK: Requests

    /// The input is used up, and perhaps part of a head was in it.
    mutating func inputUsedUp(isMidHead: Bool, now: MonotonicTime) {
        guard isMidHead else { return }
        switch state {
        case .fresh:
            // The deadline runs since the connection was accepted.
            state = .head
        case .idle:
            state = .head
            deadline = now + deadlines.head
        case .head, .body, .handling, .streaming, .finishing, .lingering, .closed:
            break
        }
    }

    /// A head is complete.
    mutating func headCompleted(keepsAlive: Bool, now: MonotonicTime) {
        precondition(mayParse, "a head was read while a request was in flight")
        state = .body
        requestKeepsAlive = keepsAlive
        deadline = now + deadlines.body
    }

    /// The whole request is here: its handler starts.
    mutating func requestCompleted(now: MonotonicTime) {
        guard case .body = state else { preconditionFailure("a body ended that had no head") }
        state = .handling
        deadline = now + deadlines.handler
    }

    /// Whether the connection will be used again after the answer that is about to be written.
    func keepsAliveAfterAnswer(hasMoreInput: Bool) -> Bool {
        guard case .handling = state else { return false }
        return requestKeepsAlive && !isDraining && (!hasInputEnded || hasMoreInput)
    }

    /// The answer was written; `keepsAlive` is what its head says.
    mutating func answered(keepsAlive: Bool, now: MonotonicTime) {
        guard case .handling = state else { return }
        guard keepsAlive else { return finish() }
        state = .idle
        deadline = now + deadlines.idle
    }

    /// The last word on the connection was written: a refusal, or the end of a stream.
    mutating func finish() {
        state = .finishing
        deadline = .distantFuture
    }

    /// The head of an event stream was written.
    mutating func streamStarted(now: MonotonicTime) {
        state = .streaming
        deadline = now + deadlines.streamComment
    }

    /// Something was written on the stream, so no comment is due.
    mutating func streamWritten(now: MonotonicTime) {
        guard case .streaming = state else { return }
        deadline = now + deadlines.streamComment
    }

    // MARK: Output

    /// What to do once everything is out.
    enum FlushAction: Sendable, Hashable {
        case carryOn
        /// Tell the peer that nothing follows, and read on for a moment.
        case halfClose
        case close
    }

    /// The kernel has taken everything.
    mutating func outputFlushed(now: MonotonicTime) -> FlushAction {
        stallDeadline = nil
        guard case .finishing = state else { return .carryOn }
        guard !hasInputEnded else {
            state = .closed
            return .close
        }
        state = .lingering
        deadline = now + deadlines.linger
        return .halfClose
    }

    /// The kernel has not taken everything; `progressed` says that it took a fair amount since the
    /// last time that was so.
    mutating func outputBlocked(progressed: Bool, now: MonotonicTime) {
        if stallDeadline == nil || progressed { stallDeadline = now + deadlines.writeStall }
    }

    // MARK: Ends

    /// What the end of the peer's side means.
    enum EndAction: Sendable, Hashable {
        /// The answer is still owed.
        case carryOn
        /// A request was cut off: say so, then close.
        case refuse
        case close
    }

    /// The peer has closed its side; `hasMoreInput` says that whole requests may still wait.
    mutating func inputEnded(hasMoreInput: Bool) -> EndAction {
        hasInputEnded = true
        switch state {
        case .handling, .finishing: return .carryOn
        case .fresh, .idle: return hasMoreInput ? .carryOn : close()
        case .head, .body: return hasMoreInput ? .carryOn : .refuse
        // Whoever reads events has nothing to send: this is how it says that it has gone.
        case .streaming, .lingering, .closed: return close()
        }
    }

    private mutating func close() -> EndAction {
        state = .closed
        return .close
    }

    /// Bytes were thrown away; true when enough is enough.
    mutating func lingered(_ count: Int) -> Bool {
        lingeredBytes += count
        guard lingeredBytes > lingerBytesMax else { return false }
        state = .closed
        return true
    }

    /// The connection is broken, or given up.
    mutating func lost() {
        state = .closed
        stallDeadline = nil
    }

    /// What the server's drain means for the connection.
    enum DrainAction: Sendable, Hashable {
        /// The request in progress, or the one that is coming, is answered first.
        case carryOn
        case endStream
        case close
    }

    /// The server takes no new work.
    ///
    /// A client that has not said a word yet may be about to: it gets a moment, not the time that it
    /// usually has.
    mutating func drainStarted(now: MonotonicTime) -> DrainAction {
        isDraining = true
        switch state {
        case .fresh:
            deadline = min(deadline, now + deadlines.linger)
            return .carryOn
        case .idle:
            state = .closed
            return .close
        case .streaming: return .endStream
        case .head, .body, .handling, .finishing, .lingering, .closed: return .carryOn
        }
    }

    // MARK: Time

    /// What to do when a deadline has passed.
    enum TimerAction: Sendable, Hashable {
        /// Nothing yet; look again at ``ConnectionStateMachine/nextDeadline``.
        case carryOn
        /// Nobody is waiting for a word.
        case close
        /// The peer takes nothing: reset the connection.
        case cut
        /// 408, then close.
        case requestTimeout
        /// 503, then close; the handler's task is cancelled.
        case handlerTimeout
        /// A comment on the quiet stream.
        case streamComment
    }

    /// Time has passed.
    mutating func timerFired(now: MonotonicTime) -> TimerAction {
        if let stallDeadline, stallDeadline <= now {
            lost()
            return .cut
        }
        guard deadline <= now else { return .carryOn }
        switch state {
        case .fresh, .idle, .lingering:
            state = .closed
            return .close
        case .head, .body: return .requestTimeout
        case .handling: return .handlerTimeout
        case .streaming:
            deadline = now + deadlines.streamComment
            return .streamComment
        case .finishing, .closed: return .carryOn
        }
    }
}
