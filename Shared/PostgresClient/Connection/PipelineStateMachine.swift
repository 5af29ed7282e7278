internal import DequeModule

/// The pieces of one exchange, in the order in which they are sent; a sync ends them.
struct ExchangeSteps: OptionSet, Sendable, Hashable {
    let rawValue: UInt8

    /// Drops a statement that left the cache.
    static let deallocate = ExchangeSteps(rawValue: 1)
    /// Opens a transaction.
    static let begin = ExchangeSteps(rawValue: 2)
    /// Prepares the statement.
    static let prepare = ExchangeSteps(rawValue: 4)
    /// Runs it: always there.
    static let execute = ExchangeSteps(rawValue: 8)

    /// The first piece, or the empty set.
    var first: ExchangeSteps { ExchangeSteps(rawValue: rawValue & (0 &- rawValue)) }
}

/// Which result belongs to what, on a connection in pipeline mode.
///
/// libpq 15 hands out, for each piece, its result (or an error, or "aborted" after an earlier error
/// of the same exchange), then nothing; and for the sync a result of its own, with nothing after
/// it. An error may also come in the sync's place, followed by the sync: that is a commit that
/// failed. Until the sync nothing is durable, so nothing is reported before it.
struct PipelineStateMachine: Sendable {
    enum Received: Sendable, Hashable, CaseIterable {
        /// Rows, or the end of a command without rows.
        case success
        case error
        case aborted
        /// The end of one piece's results.
        case end
        case sync
        /// COPY, or single rows, which this client never asks for.
        case other
    }

    enum Action: Sendable, Hashable {
        /// Nothing to keep.
        case skip
        /// This is what the statement returned.
        case keepRows
        /// This is the first error of the exchange; `step` is empty when the commit failed.
        case keepError(ExchangeSteps)
        /// The exchange has ended: hand its outcome to the caller.
        case finish
        /// The server and we disagree about where we are: drop the connection.
        case violation
    }

    private var pending = Deque<ExchangeSteps>()
    /// What of the first exchange has not been answered.
    private var left: ExchangeSteps = []
    private var isFailed = false

    /// Exchanges sent and not ended.
    var count: Int { pending.count }

    mutating func sent(_ steps: ExchangeSteps) {
        precondition(steps.contains(.execute), "an exchange runs a statement")
        if pending.isEmpty { left = steps }
        pending.append(steps)
    }

    mutating func received(_ result: Received) -> Action {
        guard !pending.isEmpty else { return result == .end ? .skip : .violation }
        switch result {
        case .success: return succeeded()
        case .error: return failed()
        case .aborted:
            guard isFailed, !left.isEmpty else { return .violation }
            left.subtract(left.first)
            return .skip
        case .end: return .skip
        case .sync:
            guard left.isEmpty else { return .violation }
            pending.removeFirst()
            left = pending.first ?? []
            isFailed = false
            return .finish
        case .other: return .violation
        }
    }

    private mutating func succeeded() -> Action {
        let step = left.first
        guard !isFailed, !step.isEmpty else { return .violation }
        left.subtract(step)
        return step == .execute ? .keepRows : .skip
    }

    private mutating func failed() -> Action {
        // A second error (the session ends while the first is being reported) adds nothing.
        if isFailed { return .skip }
        isFailed = true
        let step = left.first
        left.subtract(step)
        return .keepError(step)
    }
}
