internal import EventLoop

/// How long to wait before trying again: doubling from `first` to `longest`, each time with a
/// random part, so that processes that lost the same server do not return together.
struct Backoff: Sendable {
    let first: Duration
    let longest: Duration

    /// Reconnecting.
    static let reconnect = Backoff(first: .milliseconds(50), longest: .seconds(5))
    /// Running a transaction again.
    static let transaction = Backoff(first: .milliseconds(4), longest: .milliseconds(200))

    /// The wait before the try after `failures` failed ones (one or more): between half of the
    /// step and the whole.
    func delay(
        afterFailures failures: Int,
        using random: inout some RandomNumberGenerator
    ) -> Duration {
        var step = first
        for _ in 1..<max(failures, 1) where step < longest { step *= 2 }
        let whole = min(step, longest).nanoseconds
        return .nanoseconds(Int64.random(in: whole / 2...max(whole, 1), using: &random))
    }

    func delay(afterFailures failures: Int) -> Duration {
        var random = SystemRandomNumberGenerator()
        return delay(afterFailures: failures, using: &random)
    }
}
