internal import EventLoop
internal import FoundationEssentials
internal import RedisClient

/// The jobs in a worker's hands: runs them, keeps their locks, and keeps their outcomes until they
/// are recorded.
@LoopActor
final class Workbench {
    struct Held {
        let active: ActiveJob
        var task: Task<Void, Never>?
        var renewed: MonotonicTime
        let begun: MonotonicTime
        /// Why it is to end, where somebody cancelled it.
        var cancellation: String?
    }

    /// An outcome that is not recorded yet.
    struct Waiting {
        let active: ActiveJob
        let outcome: Outcome

        var conclusion: Conclusion {
            Conclusion(job: active.job, token: active.token, outcome: outcome)
        }
    }

    let configuration: WorkerConfiguration
    private let processor: Processor
    let observer: @LoopActor (Worker.Event) -> Void
    /// Tells this worker's locks from all others'.
    let tokenPrefix = UUID().uuidString
    private var tokens: Int64 = 0
    var held: [String: Held] = [:]
    private(set) var outcomes: [Waiting] = []
    /// Whether jobs may be begun; those taken meanwhile go back.
    var takesJobs = true
    private var isEnding = false
    /// Is told of every job that no longer occupies a place.
    var onEnd: @LoopActor (ActiveJob) -> Void = { _ in }

    init(
        _ configuration: WorkerConfiguration,
        observer: @escaping @LoopActor (Worker.Event) -> Void,
        processor: @escaping Processor
    ) {
        self.configuration = configuration
        self.observer = observer
        self.processor = processor
    }

    var count: Int { held.count }

    // MARK: Exchanges

    /// Records outcomes of `queue` and takes `wanted` jobs of it.
    ///
    /// - Returns: how many came, and why not more.
    func exchange(
        _ batch: [Waiting],
        taking wanted: Int,
        of queue: Queue
    ) async throws(JobQueueError) -> (jobs: [ActiveJob], answer: WorkerStateMachine.Answer) {
        let first = tokens
        tokens += Int64(wanted)
        do throws(JobQueueError) {
            let reply = try await queue.exchange(
                batch.map(\.conclusion),
                taking: wanted,
                as: configuration,
                token: tokenPrefix,
                first: first
            )
            for (waiting, error) in zip(batch, reply.errors) { settle(waiting, error) }
            let jobs = reply.jobs.map { ActiveJob(job: $1, token: $0, queue: queue) }
            return (jobs, jobs.count == wanted ? .full : reply.answer)
        } catch {
            outcomes.insert(contentsOf: batch, at: 0)
            observer(.trouble(error))
            throw error
        }
    }

    /// Up to `limit` outcomes of the queue with this base; nil for the queue of the oldest.
    func takeOutcomes(_ limit: Int, base: String? = nil) -> [Waiting] {
        guard let base = base ?? outcomes.first?.active.queue.keys.base else { return [] }
        var taken: [Waiting] = []
        outcomes.removeAll { waiting in
            guard taken.count < limit, waiting.active.queue.keys.base == base else { return false }
            taken.append(waiting)
            return true
        }
        return taken
    }

    /// The job is out of this worker's hands now.
    private func settle(_ waiting: Waiting, _ error: JobQueueError?) {
        held[waiting.active.token] = nil
        let job = waiting.active.job
        if let error {
            observer(.lost(job, error))
            return
        }
        switch waiting.outcome {
        case .completed: observer(.completed(job))
        case .failed(let reason, _): observer(.failed(job, reason: reason, .fail))
        case .retry(let reason, _): observer(.failed(job, reason: reason, .retryNow))
        case .retryAfter(let wait, let reason, _):
            observer(.failed(job, reason: reason, .retryAfter(wait)))
        case .delay, .giveBack: break
        }
    }

    // MARK: Running

    /// Starts a job that was just taken.
    func begin(_ active: ActiveJob) {
        let now = MonotonicTime.now()
        held[active.token] = Held(active: active, task: nil, renewed: now, begun: now)
        if !takesJobs {
            end(active, .giveBack)
        } else if let reason = refusal(of: active.job) {
            end(active, failure(of: active.job, reason: reason, isFinal: true))
        } else {
            held[active.token]?.task = Task { await run(active) }
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
            if active.job.scheduler != nil { await advanceScheduler(of: active) }
            let value = try await processor(active)
            end(active, .completed(value.isEmpty ? "null" : value))
        } catch let interruption as JobInterruption {
            await interrupt(active, interruption)
        } catch {
            // A worker that is ended by force leaves the job to others.
            if isEnding { return }
            let cancellation = held[active.token]?.cancellation
            let isFinal = error is UnrecoverableError || cancellation != nil
            let reason = cancellation ?? "\(error)"
            end(active, failure(of: active.job, reason: reason, isFinal: isFinal))
        }
    }

    /// Plans the next run; this one goes on whatever comes of it.
    private func advanceScheduler(of active: ActiveJob) async {
        do throws(JobQueueError) {
            try await active.queue.advanceScheduler(of: active.job)
        } catch {
            observer(.trouble(error))
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
            do throws(JobQueueError) { try await active.queue.limit(for: wait) } catch {
                observer(.trouble(error))
            }
            end(active, .giveBack)
        case .waitingForChildren: await park(active)
        }
    }

    /// Keeps the outcome until it is recorded; the lock is renewed up to then.
    private func end(_ active: ActiveJob, _ outcome: Outcome) {
        held[active.token]?.task = nil
        outcomes.append(Waiting(active: active, outcome: outcome))
        onEnd(active)
    }

    /// The job waits for its children and is no longer this worker's.
    private func park(_ active: ActiveJob) async {
        do throws(JobQueueError) {
            if try await active.queue.waitForChildren(active.job.id, token: active.token) {
                held[active.token] = nil
                onEnd(active)
            } else {
                end(active, .delay(0))
            }
        } catch {
            end(active, failure(of: active.job, reason: "\(error)", isFinal: false))
        }
    }

    /// Cancels what still runs; it stays active for others to find.
    func cancelAll() {
        isEnding = true
        for entry in held.values { entry.task?.cancel() }
    }
}
