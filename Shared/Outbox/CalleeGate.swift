internal import EventLoop

/// How many calls a service may be given now: a pure decision, for all services of a relay.
///
/// Each service has its own places, so that one that hangs costs the others nothing. One that did not
/// answer is left alone for a while that grows, and then tried with a single call until one gets
/// through.
struct CalleeGate {
    /// How many calls of one service are under way at once.
    static let callsLimit = 16

    private struct Callee {
        var underWay = 0
        var failures = 0
        var heldUntil: MonotonicTime?
    }

    private var callees: [String: Callee] = [:]

    /// How many more calls `callee` may be given.
    func room(_ callee: String, now: MonotonicTime) -> Int {
        guard let state = callees[callee] else { return CalleeGate.callsLimit }
        if let heldUntil = state.heldUntil, now < heldUntil { return 0 }
        let limit = state.failures == 0 ? CalleeGate.callsLimit : 1
        return max(0, limit - state.underWay)
    }

    /// Who may be given none.
    func held(now: MonotonicTime) -> [String] {
        callees.keys.filter { room($0, now: now) == 0 }.sorted()
    }

    /// How many calls are under way.
    var underWay: Int { callees.values.reduce(0) { $0 + $1.underWay } }

    /// A call has begun.
    mutating func began(_ callee: String) {
        callees[callee, default: Callee()].underWay += 1
    }

    /// A call has ended with an answer, whatever it was.
    mutating func answered(_ callee: String) {
        callees[callee]?.underWay -= 1
        callees[callee]?.failures = 0
        callees[callee]?.heldUntil = nil
    }

    /// A call has ended without an answer; returns how long the service is left alone.
    mutating func unanswered(_ callee: String, now: MonotonicTime, random: Double) -> Duration {
        var state = callees[callee, default: Callee(underWay: 1)]
        state.underWay -= 1
        // Calls that were under way together tell of one failure.
        if state.heldUntil.map({ now >= $0 }) ?? true {
            state.failures += 1
            let pause = RelayBackoff.delay(attempts: state.failures, random: random)
            state.heldUntil = now + pause
        }
        callees[callee] = state
        return (state.heldUntil ?? now) - now
    }
}
