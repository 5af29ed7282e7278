public import EventLoop

/// What a limiter said of one hit.
public struct RateVerdict: Sendable, Hashable {
    /// Whether the hit is within the limit.
    public let admitted: Bool
    /// Hits that count now, this one included when admitted.
    public let count: Int
    /// When refused: how long until a place is free.
    public let retryAfter: Duration
    /// When admitted: its place.
    public let place: RatePlace?

    /// A verdict.
    public init(
        admitted: Bool,
        count: Int,
        retryAfter: Duration = .zero,
        place: RatePlace? = nil
    ) {
        self.admitted = admitted
        self.count = count
        self.retryAfter = retryAfter
        self.place = place
    }
}

/// The place of one admitted hit: with it the hit can be taken back, or put to a later time.
///
/// Two hits of one member have different stamps, so that nobody moves what is another's.
public struct RatePlace: Sendable, Hashable {
    /// Since when the hit counts; in a fixed window, when that ends.
    let stamp: Int64
    /// Where the hit repeats one that counted already: the stamp of that one.
    let before: Int64?
}

/// At most so many hits of a key in a window of time.
///
/// A refused hit costs nothing.
@LoopActor
public protocol RateLimiter: AnyObject {
    /// Counts a hit of `key` if there is room.
    ///
    /// - Parameter member: what was hit; the sliding log admits a repeat of a counted member free of
    ///   charge, and counts it from now on in place of the first. The fixed window is a mere counter:
    ///   there each repeat takes a place until it is given back.
    /// - Throws: ``CoordinationError`` when the store is away; what then is the caller's policy.
    func admit(
        _ key: String,
        member: String,
        limit: Int,
        window: Duration
    ) async throws(CoordinationError) -> RateVerdict

    /// Takes an admitted hit back, because nothing was done: as if it had not been.
    ///
    /// Does nothing where the member was hit again since, or the hit's window has ended. Whoever dies
    /// before this leaves the place taken for a window.
    func giveBack(
        _ key: String,
        member: String,
        _ place: RatePlace,
        window: Duration
    ) async throws(CoordinationError)

    /// Lets an admitted hit count from now on, because what it was for was done only now.
    ///
    /// Of no effect in the fixed window, which has no times.
    func putOff(
        _ key: String,
        member: String,
        window: Duration
    ) async throws(CoordinationError)
}

/// The setting `RATE_LIMIT_ALGORITHM`.
public enum RateLimitAlgorithm: String, Sendable, CaseIterable {
    /// Never more than the limit in *any* window; each hit frees its place one window later.
    case slidingLog = "sliding_log"
    /// A counter that starts with the first hit and ends one window after it; up to twice the limit
    /// can fall into one window that spans two of its own.
    case fixedWindow = "fixed_window"
}
