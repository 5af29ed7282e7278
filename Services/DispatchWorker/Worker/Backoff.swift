internal import EventLoop

/// Pauses between attempts: full jitter, so that what failed together does not come back together.
enum Backoff {
    /// The longest pause.
    static let secondsMax = 900.0

    /// The pause after the `attempt`-th attempt: anything up to 2 to the power of it, in seconds.
    ///
    /// - Parameter random: from 0 to 1.
    static func delay(attempt: Int, random: Double) -> Duration {
        // 2 to the power of 10 is more than the longest pause already.
        let ceiling = Double(1 << min(max(0, attempt), 10))
        return .milliseconds(Int64(min(secondsMax, ceiling) * 1000 * random))
    }
}
