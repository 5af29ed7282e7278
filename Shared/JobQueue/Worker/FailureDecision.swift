/// What becomes of a job whose attempt failed.
public enum FailureDecision: Sendable, Hashable {
    /// It is tried again at once.
    case retryNow
    /// It is tried again after so many milliseconds.
    case retryAfter(Int64)
    /// It has failed for good.
    case fail

    /// Decides it.
    ///
    /// - Parameters:
    ///   - job: as it was when the attempt began.
    ///   - isFinal: whether the processor said that another attempt is of no use.
    ///   - random: 0 up to but not including 1.
    ///   - strategy: the worker's own waits, by type and number of failures; nil means no retry.
    public static func after(
        failureOf job: Job,
        isFinal: Bool,
        random: Double,
        strategy: (String, Int) -> Int64? = { _, _ in nil }
    ) -> FailureDecision {
        let attempt = job.attemptsMade + 1
        guard !isFinal, let options = job.options, attempt < options.attempts else { return .fail }
        guard let backoff = options.backoff else { return .retryNow }
        let wait =
            backoff.wait(afterAttempt: attempt, random: random) ?? strategy(backoff.type, attempt)
        guard let wait, wait >= 0 else { return .fail }
        return wait == 0 ? .retryNow : .retryAfter(wait)
    }

    /// The traces that stay when `trace` is added to a job's.
    ///
    /// - Parameter limit: how many stay; nil for all.
    static func traces(_ before: [String], adding trace: String, limit: Int?) -> [String] {
        let all = before + [trace]
        return Array(all.suffix(limit ?? all.count))
    }
}
