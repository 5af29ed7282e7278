internal import JSON
internal import RedisClient

/// What became of a job that this worker held.
package enum Outcome: Sendable, Hashable {
    /// It is done; JSON text.
    case completed(String)
    /// It has failed for good.
    case failed(reason: String, traces: [String])
    /// It failed and is tried again at once.
    case retry(reason: String, traces: [String])
    /// It failed and is tried again after so many ms.
    case retryAfter(Int64, reason: String, traces: [String])
    /// It put itself off by so many ms, which is no attempt.
    case delay(Int64)
    /// It was not begun and goes back to the front.
    case giveBack
}

extension Outcome {
    /// In how many ms the job is ready again; nil when it has ended.
    var comesAgainAfter: Int64? {
        switch self {
        case .completed, .failed: nil
        case .retry, .giveBack: 0
        case .retryAfter(let wait, _, _): wait
        case .delay(let wait): wait
        }
    }

    /// How many bytes of a failure's words are kept.
    private static let reasonBytesMax = 16 * 1024

    /// What a failed attempt means for `job`.
    ///
    /// - Parameters:
    ///   - isFinal: whether another attempt is of no use.
    ///   - random: 0 up to but not including 1.
    package static func failure(
        of job: Job,
        reason: String,
        isFinal: Bool,
        random: Double,
        strategy: (String, Int) -> Int64? = { _, _ in nil }
    ) -> Outcome {
        let reason = String(decoding: reason.utf8.prefix(reasonBytesMax), as: UTF8.self)
        let traces = FailureDecision.traces(
            job.stackTrace,
            adding: "Error: \(reason)",
            limit: job.options?.stackTraceLimit
        )
        return
            switch FailureDecision.after(
                failureOf: job,
                isFinal: isFinal,
                random: random,
                strategy: strategy
            )
        {
        case .retryNow: .retry(reason: reason, traces: traces)
        case .retryAfter(let wait): .retryAfter(wait, reason: reason, traces: traces)
        case .fail: .failed(reason: reason, traces: traces)
        }
    }

    /// The nine arguments of ``ExchangeScript``.
    func append(
        to arguments: inout [RedisArgument],
        job: Job,
        token: String,
        configuration: WorkerConfiguration
    ) {
        func row(_ kind: String, _ value: String, _ traces: [String]?, _ more: [Int64]) {
            arguments += [.string(kind), .string(job.id), .string(token), .string(value)]
            arguments.append(.string(traces.map { JSON($0).text } ?? ""))
            for place in 0..<4 { arguments.append(.int(place < more.count ? more[place] : 0)) }
        }
        func keeping(_ policy: KeepPolicy) -> [Int64] {
            [
                Int64(policy.count ?? -1), policy.age.map { Int64($0) * 1000 } ?? -1,
                Int64(policy.limit), Int64(job.options?.attempts ?? 0),
            ]
        }
        switch self {
        case .completed(let value):
            let policy = job.options?.removeOnComplete ?? configuration.removeOnComplete
            row("completed", value, nil, keeping(policy))
        case .failed(let reason, let traces):
            let policy = job.options?.removeOnFail ?? configuration.removeOnFail
            row("failed", reason, traces, keeping(policy))
        case .retry(let reason, let traces):
            row("retry", reason, traces, [job.options?.isLIFO == true ? 1 : 0])
        case .retryAfter(let delay, let reason, let traces):
            row("delay", reason, traces, [delay, 0])
        case .delay(let delay): row("delay", "", nil, [delay, 1])
        case .giveBack: row("return", "", nil, [])
        }
    }
}
