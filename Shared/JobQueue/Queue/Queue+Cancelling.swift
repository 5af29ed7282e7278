internal import EventLoop
internal import RedisClient

/// What became of a wish to cancel a job.
public enum Cancellation: String, Sendable, Hashable {
    /// It did not run, and has failed.
    case cancelled
    /// A worker has it. One of this library stops it within some seconds, unless it is done before;
    /// whoever would take it next, of whatever kind, fails it instead.
    case requested
    /// It has ended already.
    case tooLate = "too_late"
}

extension Queue {
    /// What the reason of every cancelled job begins with.
    static let cancelledWords = "job cancelled"
    /// More tries than any job makes: cancelling is not the end of its tries.
    private static let attemptsAny: Int64 = 1 << 50

    /// Cancels a job wherever it is; cancelled it is among the failed ones, unless it keeps none.
    ///
    /// - Throws: ``JobQueueError/Code/jobMissing``, or ``JobQueueError/Code/schedulerRun`` for a
    ///   scheduler's pending run, without which the scheduler would end.
    public func cancel(
        _ id: String,
        reason: String = ""
    ) async throws(JobQueueError) -> Cancellation {
        guard let job = try await job(id) else {
            throw JobQueueError(.jobMissing, "there is no job \(id)")
        }
        let words = Queue.cancelledWords + (reason.isEmpty ? "" : ": \(reason)")
        let policy = job.options?.removeOnFail ?? .all
        // The form of an exchange that takes nothing and has one outcome.
        var arguments: [RedisArgument] = ["0", "0", "", "0", "0", "0", "0", "0", ""]
        arguments += ["failed", .string(id), "0", .string(words), ""]
        arguments += [
            .int(Int64(policy.count ?? -1)), .int(policy.age.map { Int64($0) * 1000 } ?? -1),
            .int(Int64(policy.limit)), .int(Queue.attemptsAny),
        ]
        let answer = try await run(JobScripts.cancel, arguments)
        if let code = answer.integer { throw JobQueueError(answer: code, job: id) }
        guard let outcome = answer.text.flatMap({ Cancellation(rawValue: $0) }) else {
            throw JobQueueError(.oddAnswer, "cancelling answered \(answer)")
        }
        return outcome
    }

    /// The words of those that are to be cancelled, for each of these jobs; nil for others.
    func cancellations(of ids: [String]) async throws(JobQueueError) -> [String?] {
        try await pipeline(ids.map { ["HGET", .string(keys.job($0)), "defa"] }).map { value in
            value.text.flatMap { $0.hasPrefix(Queue.cancelledWords) ? $0 : nil }
        }
    }
}
