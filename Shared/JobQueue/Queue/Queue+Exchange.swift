internal import EventLoop
internal import RedisClient

/// A job that a worker held, and what became of it.
package struct Conclusion: Sendable {
    let job: Job
    let token: String
    let outcome: Outcome

    /// The outcome of `job`, held by `token`.
    package init(job: Job, token: String, outcome: Outcome) {
        self.job = job
        self.token = token
        self.outcome = outcome
    }
}

/// What an exchange brought.
package struct ExchangeReply: Sendable {
    /// For each conclusion why it was not recorded; nil where it was.
    package let errors: [JobQueueError?]
    /// The jobs taken, with the tokens of their locks.
    package let jobs: [(token: String, job: Job)]
    /// Why there are not more.
    package let answer: WorkerStateMachine.Answer
}

extension Queue {
    /// Records what became of jobs, and takes others, in one step.
    ///
    /// - Parameters:
    ///   - wanted: how many to take.
    ///   - configuration: the terms of the worker that takes them.
    ///   - token: what tells its locks from others'.
    ///   - first: the number of the first new lock.
    package func exchange(
        _ conclusions: [Conclusion],
        taking wanted: Int,
        as configuration: WorkerConfiguration,
        token: String,
        first: Int64
    ) async throws(JobQueueError) -> ExchangeReply {
        var arguments: [RedisArgument] = [
            .int(Int64(wanted)), .int(configuration.lock.milliseconds),
            .string(configuration.name ?? ""), .int(Int64(configuration.limit?.count ?? 0)),
            .int(configuration.limit?.window ?? 0), .int(Int64(configuration.metricsMinutes)),
            .string(token), .int(first), .string(configuration.targets?.text ?? ""),
        ]
        for conclusion in conclusions {
            conclusion.outcome.append(
                to: &arguments,
                job: conclusion.job,
                token: conclusion.token,
                configuration: configuration
            )
        }
        let value = try await run(ExchangeScript.script, arguments)
        guard let parts = value.array, parts.count == 4, let results = parts[0].array,
            let jobs = parts[1].array, results.count == conclusions.count
        else { throw JobQueueError(.oddAnswer, "the exchange answered \(value)") }
        return ExchangeReply(
            errors: zip(conclusions, results).map { Queue.error($0.job.id, $1) },
            jobs: jobs.compactMap(Queue.taken),
            answer: Queue.answer(parts[2].text, parts[3].integer ?? 0)
        )
    }

    private static func error(_ id: String, _ result: RedisValue) -> JobQueueError? {
        if let code = result.integer {
            return code < 0 ? JobQueueError(answer: code, job: id) : nil
        }
        return JobQueueError(.oddAnswer, "job \(id): \(result.text ?? "no answer")")
    }

    private static func taken(_ value: RedisValue) -> (token: String, job: Job)? {
        guard let parts = value.array, parts.count == 3, let token = parts[1].text,
            let id = parts[0].bytes
        else { return nil }
        return (token, Job(id: String(decoding: id, as: UTF8.self), fields: parts[2]))
    }

    private static func answer(_ state: String?, _ number: Int64) -> WorkerStateMachine.Answer {
        switch state {
        case "limited": .limited(number)
        case "blocked": .blocked
        case "next": .next(number)
        default: .empty
        }
    }
}
