internal import EventLoop

/// What follows from the outcome of an attempt: what is recorded, and what else is done.
///
/// Pure: the worker does what it says.
struct SendPlan: Sendable {
    /// How long a request rests whose attempt ended before it could have sent anything.
    static let notSentWait: Duration = .seconds(1)
    /// How long a message of a refused workspace rests before the worker looks at it again.
    static let refusedWait: Duration = .seconds(30)
    /// The largest random part that is added to a `Retry-After`.
    static let retryAfterJitterMilliseconds = 500.0

    /// The record of the attempt.
    let ending: SendRepository.Ending
    /// Whether the send lock stays: only while it is not known whether the message was sent.
    var keepsLock = false
    /// Why the workspace is paused, if it is.
    var pauseReason: String?
    /// How long the channel's slot is refused to everybody.
    var block: Duration?

    /// The plan for `report`.
    ///
    /// - Parameters:
    ///   - attempt: how many attempts were begun, this one included.
    ///   - random: from 0 to 1, for the jitter.
    init(_ report: SendReport, attempt: Int, random: Double, took: Duration) {
        var ending: SendRepository.Ending
        switch report.outcome {
        case .sent(let ts):
            ending = .init(status: "sent", took: took)
            ending.providerTS = ts
        case .retry(let reason):
            ending = .init(status: "retry_wait", error: reason, took: took)
            ending.wait = Backoff.delay(attempt: attempt, random: random)
        case .rateLimited(let wait, let reason):
            ending = .init(status: "retry_wait", error: reason, took: took)
            ending.retryAfter = wait
            let jitter = Int64(SendPlan.retryAfterJitterMilliseconds * random)
            ending.wait = wait + .milliseconds(jitter)
            ending.counts = false
            block = wait
        case .workspaceRefused(let reason):
            ending = .init(status: "retry_wait", error: reason, took: took)
            ending.wait = SendPlan.refusedWait
            ending.counts = false
            pauseReason = reason
        case .failed(let reason):
            ending = .init(status: "failed", error: reason, took: took)
        case .unknown(let reason):
            ending = .init(status: "unknown", error: reason, took: took)
            keepsLock = true
        }
        ending.httpStatus = report.httpStatus
        self.ending = ending
    }

    /// The plan for an attempt that surely sent nothing, though it may own the request.
    init(notSent reason: String) {
        var ending = SendRepository.Ending(status: "retry_wait", error: reason, took: .zero)
        ending.wait = SendPlan.notSentWait
        ending.counts = false
        self.ending = ending
    }
}
