internal import EventLoop

/// How long to wait before the next attempt to connect.
///
/// Nominal waits double from ``first`` to ``longest``; jitter takes 10 to 50 % off, so that many
/// processes do not come back in one instant and none waits ``longest`` in full: a server that is
/// back is found within it, the attempt included.
struct ReconnectDelay {
    static let first: Duration = .milliseconds(50)
    static let longest: Duration = .seconds(2)
    /// Even after a long attempt there is a pause.
    static let least: Duration = .milliseconds(25)
    /// A connection that held this long was a good one: the waits start over.
    static let steadyAfter: Duration = .seconds(2)

    private var failures = 0

    /// The wait after an attempt that took `elapsed`, counted from the attempt's start.
    mutating func afterFailure(elapsed: Duration, random: Double) -> Duration {
        let nominal = min(
            ReconnectDelay.longest,
            ReconnectDelay.first * (1 << min(failures, 10))
        )
        failures += 1
        let wanted = nominal * (0.5 + 0.4 * min(max(random, 0), 1))
        return max(wanted - elapsed, ReconnectDelay.least)
    }

    /// The wait after a connection that held for `held`.
    mutating func afterLoss(held: Duration, random: Double) -> Duration {
        if held >= ReconnectDelay.steadyAfter { failures = 0 }
        return afterFailure(elapsed: .zero, random: random)
    }
}
