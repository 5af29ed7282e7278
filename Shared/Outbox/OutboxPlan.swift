/// What a relay does next with the rows that it fetched: a pure decision.
///
/// Events go out together, in order. Calls of one key to one service go out one after the other, in
/// the order of their ids; one that must wait holds back the later ones of its lane and nobody else's.
struct OutboxPlan: Equatable {
    /// Events, in order; all of them can leave in one pipeline.
    var events: [OutboxRow] = []
    /// One call per lane, the oldest.
    var calls: [OutboxRow] = []

    /// Plans a batch.
    ///
    /// - Parameters:
    ///   - rows: pending rows by ascending id.
    ///   - busy: lanes with a call under way, or waiting for their next attempt.
    init(rows: [OutboxRow], busy: Set<String>) {
        var held = busy
        for row in rows {
            switch row.kind {
            case .event:
                events.append(row)
            case .call:
                if held.insert(row.lane).inserted { calls.append(row) }
            }
        }
    }
}

/// How a call to another service ended, as far as the relay cares.
public enum CallOutcome: Sendable, Hashable {
    /// The callee has it.
    case delivered
    /// Not now: the callee is busy, or still at it. Tried again for as long as it takes.
    case later(String)
    /// The callee did not answer: none of its calls has a chance until one gets through.
    case unreachable(String)
    /// The callee understood and refuses; tried a few times more, then laid aside with the reason.
    case refused(String)
}

/// When a delivery is tried again: exponential, capped, with full jitter.
enum RelayBackoff {
    static let first: Duration = .milliseconds(100)
    static let cap: Duration = .seconds(5)

    /// - Parameters:
    ///   - attempts: tries so far, at least 1.
    ///   - random: from 0 up to 1.
    static func delay(attempts: Int, random: Double) -> Duration {
        let ceiling = min(cap, first * (1 << min(max(0, attempts - 1), 10)))
        // Half fixed, half random: never at once, and never all callers together.
        return ceiling / 2 + ceiling / 2 * random
    }
}
