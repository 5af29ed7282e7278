public import EventLoop

/// A clock that a test moves: monotonic time, wall time, and actions that come due.
public final class ManualTime: Sendable {
    /// Names a scheduled action.
    public struct Token: Sendable, Hashable {
        fileprivate let sequence: UInt64
    }

    private struct Entry {
        let deadline: MonotonicTime
        let token: Token
        let action: @Sendable () -> Void
    }

    private struct State {
        var now: MonotonicTime
        /// Wall time minus monotonic time, in nanoseconds.
        var wallOffset: Int64
        var entries: [Entry] = []
        var sequence: UInt64 = 0

        /// Never moves back: a deadline in the past is due now.
        mutating func move(to instant: MonotonicTime) {
            now = max(now, instant)
        }
    }

    private let state: Guarded<State>

    /// A clock that stands still.
    ///
    /// - Parameter wallMilliseconds: since 1970; the default is 1 January 2026, 00:00 UTC.
    public init(
        now: MonotonicTime = MonotonicTime(nanoseconds: 1_000_000_000),
        wallMilliseconds: Int64 = 1_767_225_600_000
    ) {
        let wallOffset = wallMilliseconds * 1_000_000 - now.nanoseconds
        state = Guarded(State(now: now, wallOffset: wallOffset))
    }

    /// The monotonic time.
    public var now: MonotonicTime { state.withLock { $0.now } }

    /// The wall time in milliseconds since 1970; moves along with ``now``.
    public var wallMilliseconds: Int64 {
        state.withLock { ($0.now.nanoseconds + $0.wallOffset) / 1_000_000 }
    }

    /// When the next action is due.
    public var nextDeadline: MonotonicTime? {
        state.withLock { state in state.entries.map(\.deadline).min() }
    }

    /// Sets the wall clock forward or back, as an operator or NTP would; ``now`` does not change.
    public func jumpWallClock(by span: Duration) {
        state.withLock { $0.wallOffset += span.nanoseconds }
    }

    /// Calls `action` once when time reaches `deadline`; one in the past at the next move.
    @discardableResult
    public func schedule(
        at deadline: MonotonicTime,
        _ action: @escaping @Sendable () -> Void
    ) -> Token {
        state.withLock { state in
            state.sequence += 1
            let token = Token(sequence: state.sequence)
            state.entries.append(Entry(deadline: deadline, token: token, action: action))
            return token
        }
    }

    /// Calls `action` once after `delay`.
    @discardableResult
    public func schedule(
        after delay: Duration,
        _ action: @escaping @Sendable () -> Void
    ) -> Token {
        schedule(at: now + delay, action)
    }

    /// Takes an action back; one that ran already is ignored.
    public func cancel(_ token: Token) {
        state.withLock { $0.entries.removeAll { $0.token == token } }
    }

    /// Moves time and runs what comes due, in the order of the deadlines, equal ones as scheduled.
    ///
    /// Each action sees its own deadline as ``now``; what it schedules within the span runs too.
    public func advance(by span: Duration) {
        precondition(span >= .zero, "monotonic time does not go back")
        let end = now + span
        while let entry = takeNext(until: end) { entry.action() }
        state.withLock { $0.move(to: end) }
    }

    /// Moves to the next deadline and runs what is due then; `false` when nothing is scheduled.
    @discardableResult
    public func advanceToNextDeadline() -> Bool {
        guard let deadline = nextDeadline else { return false }
        advance(by: max(.zero, deadline - now))
        return true
    }

    private func takeNext(until end: MonotonicTime) -> Entry? {
        state.withLock { (state: inout State) -> Entry? in
            let index = state.entries.indices.min {
                let (left, right) = (state.entries[$0], state.entries[$1])
                return (left.deadline, left.token.sequence)
                    < (right.deadline, right.token.sequence)
            }
            guard let index, state.entries[index].deadline <= end else { return nil }
            let entry = state.entries.remove(at: index)
            state.move(to: entry.deadline)
            return entry
        }
    }
}
