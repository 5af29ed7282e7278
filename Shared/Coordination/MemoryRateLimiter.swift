public import EventLoop

/// Limits of this process alone, with the same rules as ``RedisRateLimiter``.
@LoopActor
public final class MemoryRateLimiter: RateLimiter {
    /// Above this many keys those without a live hit are dropped.
    public static let sweepAbove = 10_000

    /// A hit, in the order in which they count.
    private struct Hit {
        let member: String
        var at: MonotonicTime
        var stamp: Int64
    }

    private var hits: [String: [Hit]] = [:]
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
        let known = algorithm == .slidingLog ? live.firstIndex { $0.member == member } : nil
        guard known != nil || live.count < limit else {
            let wait = live.first.map { $0.at + window - now } ?? window
            return RateVerdict(admitted: false, count: live.count, retryAfter: wait)
        }
        let before = known.map { live.remove(at: $0).stamp }
        let stamp = max(now.nanoseconds, before.map { $0 + 1 } ?? .min)
        live.append(Hit(member: member, at: now, stamp: stamp))
        return RateVerdict(
            admitted: true,
            count: live.count,
            place: RatePlace(stamp: stamp, before: before)
        )
    }

    /// Takes a hit back.
    public func giveBack(
        _ key: String,
        member: String,
        _ place: RatePlace,
        window: Duration
    ) async throws(CoordinationError) {
        guard var live = hits[key],
            let index = live.firstIndex(where: {
                $0.member == member && $0.stamp == place.stamp
            })
        else { return }
        var hit = live.remove(at: index)
        if let before = place.before {
            hit.at = MonotonicTime(nanoseconds: before)
            hit.stamp = before
            live.insert(hit, at: live.firstIndex { $0.at > hit.at } ?? live.count)
        } else if algorithm == .fixedWindow, index == 0, !live.isEmpty {
            // The window goes on, although the hit that began it is gone.
            live[0].at = hit.at
        }
        hits[key] = live.isEmpty ? nil : live
    }

    /// Puts a hit off.
    public func putOff(
        _ key: String,
        member: String,
        window: Duration
    ) async throws(CoordinationError) {
        guard algorithm == .slidingLog else { return }
        var live = hits[key] ?? []
        let before = live.firstIndex { $0.member == member }.map { live.remove(at: $0).stamp }
        let now = now()
        let stamp = max(now.nanoseconds, before.map { $0 + 1 } ?? .min)
        live.append(Hit(member: member, at: now, stamp: stamp))
        hits[key] = live
    }
}
