internal import EventLoop

/// The outcome of one statement.
typealias Outcome = Result<PostgresRows, PostgresError>

/// Told when an exchange has ended, before its caller is.
@LoopActor
protocol ExchangeOwner: AnyObject {
    func ended(_ exchange: Exchange)
}

/// One statement on its way: what to send, how long it may take, and who waits for it.
@LoopActor
final class Exchange {
    /// What the statement is part of, and with it what may be done when it fails.
    enum Kind: Sendable, Hashable {
        /// Changes nothing.
        case read
        /// A transaction of its own.
        case write
        /// One of several in a transaction: without its COMMIT nothing of it stays.
        case inTransaction
        case commit
    }

    let sql: String
    let parameters: [PostgresValue]
    let kind: Kind
    /// What goes first, in the same round trip: BEGIN with its options before the first statement of
    /// a transaction, a setting before one that is a transaction of its own.
    let opening: String?
    /// How long the statement may run once it is first in the line.
    let limit: Duration
    /// When its caller gives up, wherever it is.
    let deadline: MonotonicTime

    weak var owner: (any ExchangeOwner)?
    /// What it was sent on; nil until then.
    var connection: Connection? {
        didSet { if connection != nil { wasSent = true } }
    }
    private(set) var wasSent = false
    var slot = 0

    /// The name of the prepared statement and the pieces sent for it.
    var statement = ""
    var steps: ExchangeSteps = []
    /// Sent a second time because the first one's prepared statement was stale.
    var isSecondTry = false

    private var continuation: CheckedContinuation<Outcome, Never>?

    init(
        _ sql: String,
        _ parameters: [PostgresValue],
        _ kind: Kind,
        opening: String? = nil,
        limit: Duration,
        deadline: MonotonicTime = .distantFuture,
        _ continuation: CheckedContinuation<Outcome, Never>
    ) {
        self.sql = sql
        self.parameters = parameters
        self.kind = kind
        self.opening = opening
        self.limit = limit
        self.deadline = deadline
        self.continuation = continuation
    }

    /// Whether the write may have happened when the connection dies before the answer.
    var isLossUnknown: Bool { kind == .write || kind == .commit }
    /// Whether it may be sent again after an error that came before it ran.
    var isResendable: Bool { kind == .read || kind == .write }

    /// Whether the caller has its answer; the place in the line stays until the server's.
    var isAnswered: Bool { continuation == nil }

    /// Answers the caller, once; a later answer is dropped.
    func answer(_ outcome: Outcome) {
        let waiting = continuation
        continuation = nil
        waiting?.resume(returning: outcome)
    }

    /// The server has answered, or never will: frees the connection, then answers the caller.
    func end(_ outcome: Outcome) {
        owner?.ended(self)
        connection = nil
        answer(outcome)
    }
}
