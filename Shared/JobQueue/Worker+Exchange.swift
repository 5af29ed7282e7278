internal import EventLoop
internal import RedisClient

extension Worker {
    /// Pauses between attempts while Redis is away.
    private static let retryPause: Duration = .milliseconds(200)

    /// One of the loops that carry outcomes to Redis and bring jobs.
    func exchange(_ latch: Latch) async {
        while !Task.isCancelled {
            let now = WallClock.milliseconds()
            let batch = Array(outcomes.prefix(Worker.batchMax))
            let wanted = min(
                state.wanted(now: now, isForOutcomes: !batch.isEmpty),
                Worker.batchMax
            )
            if batch.isEmpty && wanted == 0 {
                await latch.wait()
                continue
            }
            outcomes.removeFirst(batch.count)
            state.asked(for: wanted)
            do throws(JobQueueError) {
                let reply = try await call(batch, wanted: wanted)
                settle(batch, reply.errors)
                begin(reply.jobs, answer: reply.answer, wanted: wanted)
            } catch {
                state.failed(of: wanted)
                outcomes.insert(contentsOf: batch, at: 0)
                observer(.trouble(error))
                do { try await EventLoop.shared.sleep(for: Worker.retryPause) } catch { return }
            }
        }
    }

    private func call(
        _ batch: [(token: String, outcome: Outcome)],
        wanted: Int
    ) async throws(JobQueueError) -> ExchangeReply {
        let conclusions = batch.compactMap { token, outcome in
            held[token].map { Conclusion(job: $0.active.job, token: token, outcome: outcome) }
        }
        let first = tokens
        tokens += Int64(wanted)
        return try await queue.exchange(
            conclusions,
            taking: wanted,
            as: configuration,
            token: tokenPrefix,
            first: first
        )
    }

    /// What Redis said to the outcomes: their jobs are out of this worker's hands now.
    private func settle(
        _ batch: [(token: String, outcome: Outcome)],
        _ errors: [JobQueueError?]
    ) {
        for (entry, error) in zip(batch, errors) {
            guard let job = held.removeValue(forKey: entry.token)?.active.job else { continue }
            if let error { observer(.lost(job, error)) } else { tell(job, entry.outcome) }
        }
    }

    private func tell(_ job: Job, _ outcome: Outcome) {
        switch outcome {
        case .completed: observer(.completed(job))
        case .failed(let reason, _): observer(.failed(job, reason: reason, .fail))
        case .retry(let reason, _): observer(.failed(job, reason: reason, .retryNow))
        case .retryAfter(let wait, let reason, _):
            observer(.failed(job, reason: reason, .retryAfter(wait)))
        case .delay, .giveBack: break
        }
    }

    private func begin(
        _ jobs: [(token: String, job: Job)],
        answer: WorkerStateMachine.Answer,
        wanted: Int
    ) {
        let now = WallClock.milliseconds()
        let isFull = jobs.count == wanted
        state.answered(isFull ? .full : answer, jobs: jobs.count, of: wanted, now: now)
        for (token, job) in jobs { begin(job, token: token) }
        if let left = state.limitLeft(now: now) {
            EventLoop.shared.schedule(after: .milliseconds(left)) { [weak self] in self?.flush() }
        }
        sleepLatch.ring()
    }
}
