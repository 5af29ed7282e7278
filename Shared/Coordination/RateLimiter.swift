public import EventLoop

/// What a limiter said of one hit.
public struct RateVerdict: Sendable, Hashable {
    /// Whether the hit is within the limit.
    public let admitted: Bool
    /// Hits that count now, this one included when admitted.
    public let count: Int
    /// When refused: how long until a place is free.
    public let retryAfter: Duration

    /// A verdict.
    public init(admitted: Bool, count: Int, retryAfter: Duration = .zero) {
        self.admitted = admitted
        self.count = count
        self.retryAfter = retryAfter
    }
}

/// At most so many hits of a key in a window of time.
///
/// A refused hit costs nothing.
@LoopActor
public protocol RateLimiter: AnyObject {
    /// Counts a hit of `key` if there is room.
    ///
    /// - Parameter member: what was hit; the sliding log admits a repeat of a counted member free of
    ///   charge, so that a retry does not use the quota up.
    /// - Throws: ``CoordinationError`` when the store is away; what then is the caller's policy.
    func admit(
        _ key: String,
        member: String,
        limit: Int,
        window: Duration
    ) async throws(CoordinationError) -> RateVerdict
}

/// The setting `RATE_LIMIT_ALGORITHM`.
public enum RateLimitAlgorithm: String, Sendable, CaseIterable {
    /// Never more than the limit in *any* window; each hit frees its place one window later.
    case slidingLog = "sliding_log"
    /// A counter that starts with the first hit and ends one window after it; up to twice the limit
    /// can fall into one window that spans two of its own.
    case fixedWindow = "fixed_window"
}
