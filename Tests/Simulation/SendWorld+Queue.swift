import EventLoop

@testable import dispatch_worker

/// The queue between the row and the workers: its jobs get lost, come twice, and are made again.
extension SendWorld {
    static let jobLock = 30_000
    static let dispatchLockTTL = 300_000
    static let eventLead = Int(DispatchRepository.eventLeadMilliseconds)
    static let grace = 2_000

    /// Redis loses all it has.
    mutating func forgetEverything() {
        lock = nil
        dispatchLock = nil
        jobs = [:]
        hasEvent = false
    }

    // MARK: Dispatching

    /// The event of an accepted request is handled: lock, commit, job.
    ///
    /// It may die between any two. Then the event comes again, meets the lock of the dead, and is taken for done.
    mutating func dispatch() {
        guard let at = dispatcher else {
            guard hasEvent else { return }
            let isLocked = dispatchLock.map { $0.generation >= row.generation && $0.until > now }
            guard isLocked != true else { return hasEvent = false }
            dispatchLock = (row.generation, now + SendWorld.dispatchLockTTL)
            dispatcher = Dispatcher(generation: row.generation)
            return
        }
        if !isHealing, chance(1, 8) { return dispatcher = nil }
        guard at.isCommitted else {
            _ = row.dispatch(generation: at.generation, now: now)
            dispatcher?.isCommitted = true
            return
        }
        dispatcher = nil
        hasEvent = false
        guard SendRow.waiting.contains(row.status), row.generation == at.generation else { return }
        enqueue(at.generation, dueAt: row.nextAttemptAt)
    }

    /// A job that is there stays as it is.
    private mutating func enqueue(_ generation: Int, dueAt: Int) {
        if jobs[generation] == nil { jobs[generation] = Job(dueAt: dueAt) }
    }

    /// What keeps jobs: the look for those known to be missing, the sweep, the check for dead workers.
    mutating func keepJobs() {
        for (generation, job) in jobs where job.holder != nil && job.lockUntil <= now {
            jobs[generation] = Job(dueAt: now)
        }
        if mutant != .noLook, row.isUnqueued(lead: SendWorld.eventLead, now: now) { bringForward() }
        if mutant != .noSweep, row.isOverdue(grace: SendWorld.grace, now: now) {
            enqueue(row.generation, dueAt: now)
        }
    }

    private mutating func bringForward() {
        let generation = row.generation
        if row.status == .accepted {
            _ = row.dispatch(generation: generation, now: now)
            if !isHealing, chance(1, 8) { return }
            return enqueue(generation, dueAt: now)
        }
        // Whoever holds it may put it off yet.
        guard jobs[generation]?.holder == nil else { return }
        jobs[generation] = Job(dueAt: now)
        if !isHealing, chance(1, 8) { return }
        row.noteQueued(generation: generation, now: now)
    }

    // MARK: Taking and ending

    /// The generation of a job that `holder` may run; one whose request is not to be sent now is put
    /// off, or ends.
    mutating func take(_ holder: Int) -> Int? {
        let ready = jobs.filter { $0.value.holder == nil && $0.value.dueAt <= now }.keys.min()
        guard let generation = ready else { return nil }
        // What was read of the row may be old by now: then the commit decides.
        let isStale = !isHealing && chance(1, 4)
        if !isStale {
            guard row.generation == generation, !row.isEnded, row.status != .unknown else {
                jobs[generation] = nil
                return nil
            }
            if row.status != .sending, row.nextAttemptAt > now {
                jobs[generation] = Job(dueAt: row.nextAttemptAt)
                return nil
            }
        }
        jobs[generation]?.holder = holder
        jobs[generation]?.lockUntil = now + SendWorld.jobLock
        return generation
    }

    /// A worker that runs renews its lock.
    mutating func holdJob(of worker: Worker) {
        guard jobs[worker.generation]?.holder == worker.token else { return }
        jobs[worker.generation]?.lockUntil = now + SendWorld.jobLock
    }

    /// Only who holds a job ends it.
    mutating func endJob(of worker: Worker) {
        guard jobs[worker.generation]?.holder == worker.token else { return }
        jobs[worker.generation] = worker.retryIn.map { Job(dueAt: now + $0) }
    }
}

extension SendWorld.Worker {
    /// What a step's outcome means for the job, as the processor has it.
    mutating func note(_ fact: SendAttempt.Fact) {
        switch (step, fact) {
        case (_, .broken): retryIn = 1_000
        case (.postpone(let wait), .done): retryIn = max(1, Int(wait.milliseconds))
        case (.record(let plan), .recorded(let status)):
            let wait = plan.ending.wait.map { Int($0.milliseconds) }
            retryIn = status == "retry_wait" ? wait ?? 0 : nil
        default: break
        }
    }
}
