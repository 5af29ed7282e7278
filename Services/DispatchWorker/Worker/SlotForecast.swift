internal import EventLoop

/// Spreads messages that wait for one channel over the slots to come.
///
/// Without it a thousand messages of a channel would all be looked at again for each single slot.
/// It reserves nothing: whoever comes back still has to get its slot. What finds no place within the
/// horizon is laid aside, so that a million messages of a channel cost no more than a hundred.
struct SlotForecast {
    /// The furthest that a message is put off; a changed limit is seen by then.
    static let horizon: Duration = .seconds(60)
    /// Above this many channels those whose time has passed are dropped.
    static let sweepAbove = 10_000

    private var tails: [String: MonotonicTime] = [:]

    /// How long a message that got no slot of `key` waits; nil when all places are taken.
    ///
    /// - Parameters:
    ///   - wait: until the next slot, as the pacer said.
    ///   - interval: between two slots.
    mutating func wait(
        _ key: String,
        wait: Duration,
        interval: Duration,
        now: MonotonicTime
    ) -> Duration? {
        if tails.count >= SlotForecast.sweepAbove { tails = tails.filter { $0.value > now } }
        let next = now + wait
        let place = tails[key].map { max(next, $0 + interval) } ?? next
        guard place - now <= SlotForecast.horizon else { return nil }
        tails[key] = place
        return place - now
    }
}
