internal import EventLoop
internal import JSON

extension Worker {
    /// Starts a job that was just taken.
    func begin(_ job: Job, token: String) {
        let active = ActiveJob(job: job, token: token, queue: queue)
        held[token] = Held(active: active, task: nil, renewed: MonotonicTime.now())
        if !state.takesJobs {
            end(active, .giveBack)
        } else if let reason = refusal(of: job) {
            end(active, failure(of: job, reason: reason, isFinal: true))
        } else {
            held[token]?.task = Task { await run(active) }
        }
    }

    /// Why a job must fail without being run; nil when it may run.
    private func refusal(of job: Job) -> String? {
        if let reason = job.deferredFailure { return reason }
        if let most = configuration.startsMax, job.attemptsStarted > most {
            return "job started more than allowable limit"
        }
        return job.options == nil ? "the job's options are not a JSON object" : nil
    }

    private func run(_ active: ActiveJob) async {
        do {
            let value = try await processor(active)
            end(active, .completed(value.isEmpty ? "null" : value))
        } catch let interruption as JobInterruption {
            await interrupt(active, interruption)
        } catch {
            // A worker that is ended by force leaves the job to others.
            if Task.isCancelled && state.isStopping { return }
            let isFinal = error is UnrecoverableError
            end(active, failure(of: active.job, reason: "\(error)", isFinal: isFinal))
        }
    }

    private func failure(of job: Job, reason: String, isFinal: Bool) -> Outcome {
        Outcome.failure(
            of: job,
            reason: reason,
            isFinal: isFinal,
            random: Double.random(in: 0..<1),
            strategy: configuration.backoffStrategy
        )
    }

    private func interrupt(_ active: ActiveJob, _ interruption: JobInterruption) async {
        switch interruption {
        case .delay(let wait): end(active, .delay(max(0, wait)))
        case .rateLimited(let wait):
            do throws(JobQueueError) { try await queue.limit(for: wait) } catch {
                observer(.trouble(error))
            }
            end(active, .giveBack)
        case .waitingForChildren: await park(active)
        }
    }

    /// Keeps the outcome until it is recorded; the lock is renewed up to then.
    func end(_ active: ActiveJob, _ outcome: Outcome) {
        state.ended()
        held[active.token]?.task = nil
        outcomes.append((active.token, outcome))
        EventLoop.shared.flushLater(self)
    }

    /// The job waits for its children and is no longer this worker's.
    private func park(_ active: ActiveJob) async {
        do throws(JobQueueError) {
            if try await queue.waitForChildren(active.job.id, token: active.token) {
                state.ended()
                held[active.token] = nil
                EventLoop.shared.flushLater(self)
            } else {
                end(active, .delay(0))
            }
        } catch {
            end(active, failure(of: active.job, reason: "\(error)", isFinal: false))
        }
    }
}
