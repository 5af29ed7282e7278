public import EventLoop

/// Spaces work out: one piece of a key per interval, with a burst (GCRA, constant memory per key).
@LoopActor
public protocol Pacer: AnyObject {
    /// Reserves a slot of `key`.
    ///
    /// - Parameters:
    ///   - interval: the time between two slots when nothing was saved up.
    ///   - burst: how many slots may be taken at once after a quiet time; at least 1.
    /// - Returns: `.zero` when the slot is taken now; otherwise how long to wait before asking again,
    ///   and nothing was reserved.
    /// - Throws: ``CoordinationError`` when the store is away.
    func reserve(
        _ key: String,
        interval: Duration,
        burst: Int
    ) async throws(CoordinationError) -> Duration

    /// Refuses `key` for `time`, as a `Retry-After` asks; never shortens an earlier block.
    func block(_ key: String, for time: Duration) async throws(CoordinationError)
}

/// Pacing within this process.
@LoopActor
public final class MemoryPacer: Pacer {
    /// Above this many keys those whose time has passed are dropped.
    public static let sweepAbove = 10_000

    private struct Pace {
        var arrival: MonotonicTime
        var blockedUntil: MonotonicTime
    }

    private var paces: [String: Pace] = [:]
    private let now: @LoopActor () -> MonotonicTime

    /// A pacer whose clock is `now`.
    public nonisolated init(now: @escaping @LoopActor () -> MonotonicTime = MonotonicTime.now) {
        self.now = now
    }

    /// Reserves a slot, or says how long to wait.
    public func reserve(
        _ key: String,
        interval: Duration,
        burst: Int
    ) async throws(CoordinationError) -> Duration {
        let now = now()
        sweep(now)
        let pace = paces[key] ?? Pace(arrival: now, blockedUntil: now)
        let arrival = max(pace.arrival, now)
        let wait = max(
            arrival - now - interval * (max(1, burst) - 1),
            pace.blockedUntil - now
        )
        if wait > .zero { return wait }
        paces[key] = Pace(arrival: arrival + interval, blockedUntil: pace.blockedUntil)
        return .zero
    }

    /// Blocks the key.
    public func block(_ key: String, for time: Duration) async throws(CoordinationError) {
        let now = now()
        sweep(now)
        var pace = paces[key] ?? Pace(arrival: now, blockedUntil: now)
        pace.blockedUntil = max(pace.blockedUntil, now + time)
        paces[key] = pace
    }

    private func sweep(_ now: MonotonicTime) {
        guard paces.count >= MemoryPacer.sweepAbove else { return }
        paces = paces.filter { max($0.value.arrival, $0.value.blockedUntil) > now }
    }
}
