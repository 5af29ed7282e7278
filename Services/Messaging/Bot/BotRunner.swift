internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform

/// Lets the bot answer, beside the requests: claims due jobs, asks the provider, posts the answer.
///
/// Any number of processes share the jobs. A job is held by a lease that its heartbeat renews; what
/// a worker that lost it says afterwards is not written, because its fence no longer holds.
@LoopActor
final class BotRunner {
    /// Jobs that one process works on at once.
    static let jobsLimit = 32
    /// Between two looks at the table when nobody wakes the runner.
    static let pollInterval: Duration = .seconds(1)
    /// Between two sweeps for jobs whose worker died.
    static let sweepInterval: Duration = .seconds(5)
    /// Signs of life of a job within its lease.
    static let beatsPerLease = 4

    private let jobs: BotJobs
    private let lock: ConversationLock
    private let mirror: JobMirror
    private let secrets: SecretBox
    private let providers: [String: any AIProvider]
    private let committed: @LoopActor () -> Void
    private let logger: Logger
    private var running: [UUID: Task<Void, Never>] = [:]
    private var isStopped = false
    private let wakeup = Wakeup()
    private var lastSweep = MonotonicTime(nanoseconds: 0)
    private var worker: Task<Void, Never>?

    /// - Parameters:
    ///   - providers: by the name in a core AI's `meta_data.provider`.
    ///   - committed: called after every commit, so that events leave at once.
    init(
        jobs: BotJobs,
        lock: ConversationLock,
        mirror: JobMirror,
        secrets: SecretBox,
        providers: [String: any AIProvider],
        logger: Logger,
        committed: @escaping @LoopActor () -> Void
    ) {
        self.jobs = jobs
        self.lock = lock
        self.mirror = mirror
        self.secrets = secrets
        self.providers = providers
        self.logger = logger
        self.committed = committed
    }

    /// How many jobs this process works on.
    var inFlight: Int { running.count }

    func start() {
        worker = Task { await run() }
    }

    /// Takes no more jobs, and aborts those that run: their leases end and others take them over.
    func stop() async {
        isStopped = true
        wake()
        await worker?.value
        for task in running.values { task.cancel() }
        while !running.isEmpty { try? await EventLoop.shared.sleep(for: .milliseconds(10)) }
    }

    /// A job may be due.
    func wake() { wakeup.wake() }

    /// Aborts the provider's call of a job that was cancelled here.
    func abort(_ job: UUID) {
        running[job]?.cancel()
    }

    private func run() async {
        while !isStopped {
            var pause = BotRunner.pollInterval
            do {
                try await sweepIfDue()
                let room = BotRunner.jobsLimit - running.count
                let claimed = room > 0 ? try await jobs.claim(limit: room) : []
                for work in claimed { begin(work) }
                if claimed.isEmpty, let due = try await jobs.nextDue() {
                    pause = min(pause, due + .milliseconds(2))
                }
            } catch {
                logger.warning("bot: jobs could not be claimed", metadata: ["reason": "\(error)"])
            }
            if !isStopped { await wakeup.rest(atMost: pause) }
        }
    }

    private func sweepIfDue() async throws {
        let now = MonotonicTime.now()
        guard now - lastSweep > BotRunner.sweepInterval else { return }
        lastSweep = now
        try await jobs.sweep()
        committed()
    }

    private func begin(_ document: JSON) {
        let work: JobWork
        do {
            work = try JobWork(document, secrets: secrets)
        } catch {
            // The lease ends by itself and the attempts with it: the job ends as expired.
            logger.error("bot: a job could not be read", metadata: ["reason": "\(error)"])
            return
        }
        running[work.id] = Task {
            await perform(work)
            running[work.id] = nil
            wake()
        }
    }

    private func perform(_ work: JobWork) async {
        await mirror.show(work, status: "processing")
        let heart = Task { await beat(work) }
        defer { heart.cancel() }
        let status: String
        do {
            guard let provider = providers[work.provider] else {
                throw AIProviderError(
                    isFinal: true,
                    description: "there is no provider '\(work.provider)'"
                )
            }
            try await FaultPoints.reached("ai_job.claimed")
            let answer = try await provider.answer(work.request)
            try await FaultPoints.reached("ai_job.answered")
            let outcome = try await jobs.finish(work, answer)
            try await FaultPoints.reached("ai_job.finished")
            status = outcome
        } catch let error as AIProviderError {
            status = await failed(work, error)
        } catch {
            // The database is away: the lease ends and the job is worked on again.
            logger.warning("bot: an answer could not be written", metadata: note(work, "\(error)"))
            return
        }
        committed()
        await mirror.show(work, status: status)
        await lock.release(
            tenant: work.tenant,
            conversation: work.conversationID,
            lockID: work.lockID
        )
    }

    private func failed(_ work: JobWork, _ error: AIProviderError) async -> String {
        logger.warning("bot: no answer", metadata: note(work, error.description))
        do {
            return try await jobs.fail(
                work,
                error.description,
                isFinal: error.isFinal,
                pause: error.retryAfter
            )
        } catch {
            logger.warning("bot: a failure could not be kept", metadata: note(work, "\(error)"))
            return "lost"
        }
    }

    /// Signs of life; a job that is no longer ours is aborted.
    private func beat(_ work: JobWork) async {
        while !Task.isCancelled {
            do {
                try await EventLoop.shared.sleep(for: jobs.lease / BotRunner.beatsPerLease)
                guard try await jobs.heartbeat(work) else { return abort(work.id) }
                await lock.renew(
                    tenant: work.tenant,
                    conversation: work.conversationID,
                    lockID: work.lockID
                )
            } catch {
                // Cancelled, or the database is away; the lease outlives a few missed beats.
                continue
            }
        }
    }

    private func note(_ work: JobWork, _ reason: String) -> Logger.Metadata {
        ["ai_job_id": "\(work.id.text)", "tenant": "\(work.tenant)", "reason": "\(reason)"]
    }
}
