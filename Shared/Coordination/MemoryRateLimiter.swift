public import EventLoop

/// Limits of this process alone, with the same rules as ``RedisRateLimiter``.
@LoopActor
public final class MemoryRateLimiter: RateLimiter {
    /// Above this many keys those without a live hit are dropped.
    public static let sweepAbove = 10_000

    private var hits: [String: [(member: String, at: MonotonicTime)]] = [:]
    private let algorithm: RateLimitAlgorithm
    private let now: @LoopActor () -> MonotonicTime

    /// A limiter whose clock is `now`.
    public nonisolated init(
        algorithm: RateLimitAlgorithm = .slidingLog,
        now: @escaping @LoopActor () -> MonotonicTime = MonotonicTime.now
    ) {
        self.algorithm = algorithm
        self.now = now
    }

    /// Counts a hit if there is room.
    public func admit(
        _ key: String,
        member: String,
        limit: Int,
        window: Duration
    ) async throws(CoordinationError) -> RateVerdict {
        let now = now()
        if hits.count >= MemoryRateLimiter.sweepAbove {
            hits = hits.filter { entry in
                (entry.value.last.map { $0.at + window > now }) ?? false
            }
        }
        var live = hits[key] ?? []
        switch algorithm {
        case .slidingLog: live.removeAll { $0.at + window <= now }
        case .fixedWindow: if let first = live.first, first.at + window <= now { live = [] }
        }
        defer { hits[key] = live.isEmpty ? nil : live }
        if algorithm == .slidingLog, live.contains(where: { $0.member == member }) {
            return RateVerdict(admitted: true, count: live.count)
        }
        guard live.count < limit else {
            let wait = live.first.map { $0.at + window - now } ?? window
            return RateVerdict(admitted: false, count: live.count, retryAfter: wait)
        }
        live.append((member, now))
        return RateVerdict(admitted: true, count: live.count)
    }
}
