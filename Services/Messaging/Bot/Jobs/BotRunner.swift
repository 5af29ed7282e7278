internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform
internal import Tracing

/// Lets the bot answer, beside the requests: claims due jobs, asks the provider, posts the answer.
///
/// Any number of processes share the jobs. A job is held by a lease that its heartbeat renews; what
/// a worker that lost it says afterwards is not written, because its fence no longer holds.
@LoopActor
final class BotRunner {
    /// Between two looks at the table when nobody wakes the runner.
    static let pollInterval: Duration = .seconds(1)
    /// Between two looks at least: jobs that come due meanwhile are claimed together.
    static let claimInterval: Duration = .milliseconds(20)
    /// How often an answer is offered to a database that is away; then the lease decides.
    static let writesMax = 20
    static let writePause: Duration = .milliseconds(250)

    private let jobs: BotJobs
    private let locks: MessageLockManager
    private let mirror: JobMirror
    private let secrets: SecretBox
    private let providers: AIProviders
    private let committed: @LoopActor () -> Void
    /// Called after each job that ended here: its conversation may have an answer.
    var onEnded: (@LoopActor (JobWork) async -> Void)?
    private let logger: Logger
    private let running = RunningJobs()
    private var isStopped = false
    private let wakeup = Wakeup()
    private var lastSweep = MonotonicTime(nanoseconds: 0)
    private var worker: Task<Void, Never>?
    private let heart: BotHeart

    /// - Parameter committed: called after every commit, so that events leave at once.
    init(
        jobs: BotJobs,
        locks: MessageLockManager,
        mirror: JobMirror,
        secrets: SecretBox,
        providers: AIProviders,
        logger: Logger,
        committed: @escaping @LoopActor () -> Void
    ) {
        self.jobs = jobs
        self.locks = locks
        self.mirror = mirror
        self.secrets = secrets
        self.providers = providers
        self.logger = logger
        self.committed = committed
        heart = BotHeart(jobs: jobs, running: running, locks: locks, logger: logger)
    }

    /// How long a worker may give no sign of life.
    var lease: Duration { jobs.settings.lease }

    func start() {
        worker = Task { await run() }
        heart.start()
    }

    /// Takes no more jobs, and hands back those that run: others take them over at once.
    func stop() async {
        isStopped = true
        wake()
        await worker?.value
        await heart.stop()
        await running.stop()
    }

    /// A job may be due.
    func wake() { wakeup.wake() }

    /// Aborts the provider's call of a job that has ended otherwise.
    func abort(_ job: UUID) { running.abort(job) }

    /// A newer message is there: the provider need not go on with an answer that nobody will see.
    func newerMessage(than job: UUID) { running.newerMessage(than: job) }

    private func run() async {
        while !isStopped {
            var pause = BotRunner.pollInterval
            let began = MonotonicTime.now()
            do {
                try await sweep()
                let room = BotJobs.runningLimit - running.count
                if room > 0 {
                    let claimed = try await jobs.claim(limit: room, running: running.byTenant)
                    if !claimed.works.isEmpty { try await FaultPoints.reached("bot.claimed") }
                    for work in claimed.works { begin(work) }
                    if let due = claimed.nextDue { pause = min(pause, due + .milliseconds(2)) }
                }
            } catch {
                logger.warning("bot: jobs could not be claimed", metadata: ["reason": "\(error)"])
            }
            if !isStopped { await wakeup.rest(atMost: pause) }
            let early = began + BotRunner.claimInterval - MonotonicTime.now()
            if !isStopped, early > .zero { try? await EventLoop.shared.sleep(for: early) }
        }
    }

    /// What died workers left behind, once in a while.
    private func sweep() async throws {
        let now = MonotonicTime.now()
        guard now - lastSweep > jobs.settings.sweepInterval else { return }
        lastSweep = now
        let expired = try await jobs.sweep()
        committed()
        // Nobody is left who would take down what is shown of them.
        for job in expired {
            await mirror.show(job.tenant, job.id, ["status": "expired"])
            await locks.releaseLock(
                tenant: job.tenant,
                conversation: job.conversation,
                lockID: job.lockID
            )
        }
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
        running.begin(work, isSupersedable: jobs.isSupersedable(work)) { [self] in
            await withSpan("bot.job", .consumer, below: work.trace) { await perform(work) }
            wake()
        }
    }

    private func perform(_ work: JobWork) async {
        // Beside the call: who only looks must not delay the answer.
        async let shown: Void = show(work)
        let outcome = await attempt(work)
        if let outcome {
            // Nothing but a kill is asked for here: what is due is written.
            try? await FaultPoints.reached("bot.posted")
            committed()
            HandlerSteps.jobEnded(outcome)
            await onEnded?(work)
        }
        // Else the beginning could be shown after the end.
        await shown
        if let outcome { await ended(work, outcome) }
    }

    private func show(_ work: JobWork) async {
        async let lock: Void = locks.keep(work)
        async let state: Void = mirror.show(
            work.tenant,
            work.id,
            ["status": "processing", "attempts": .int(Int64(work.attempts))]
        )
        _ = await (lock, state)
    }

    /// One try: what became of the job, or `nil` when that could not be written.
    private func attempt(_ work: JobWork) async -> String? {
        do {
            try await FaultPoints.reached("bot.asking")
            let answer = try await withSpan("bot.ask", .client) {
                try await providers.answer(work)
            }
            try await FaultPoints.reached("bot.answered")
            return try await withSpan("bot.write") {
                try await write(work) { [jobs] in
                    let reply = BotReply(answer.text, marker: work.bot.handoverMarker)
                    return try await jobs.finish(work, answer, reply)
                }
            }
        } catch let error as AIProviderError {
            if !running.isOutdated(work) {
                logger.warning("bot: no answer", metadata: note(work, error.description))
            }
            return await failed(work, error)
        } catch {
            // The database is away: the lease ends and the job is worked on again.
            logger.warning("bot: an answer could not be written", metadata: note(work, "\(error)"))
            return nil
        }
    }

    /// Only who ended the job takes its lock down: after `lost` it may be another worker's.
    private func ended(_ work: JobWork, _ outcome: String) async {
        guard outcome != "lost", outcome != "retry" else { return }
        heart.processed += 1
        if outcome == "failed" { heart.failed += 1 }
        running.willRelease(work)
        let status = ["posted": "completed", "done": "completed"][outcome] ?? outcome
        async let state: Void = mirror.show(work.tenant, work.id, ["status": .string(status)])
        async let lock: Void = locks.releaseLock(
            tenant: work.tenant,
            conversation: work.conversationID,
            lockID: work.lockID
        )
        _ = await (state, lock)
    }

    private func failed(_ work: JobWork, _ error: AIProviderError) async -> String? {
        do {
            return try await write(work) { [jobs, isStopped, running] in
                // A process that ends has not tried: nothing counts against the job.
                if isStopped { return try await jobs.giveBack(work) }
                if running.isOutdated(work) { return try await jobs.supersede(work) }
                return try await jobs.fail(work, error)
            }
        } catch {
            logger.warning("bot: a failure could not be kept", metadata: note(work, "\(error)"))
            return nil
        }
    }

    /// Writes an end of a job, again and again while the database is away.
    private func write(
        _ work: JobWork,
        _ statement: @LoopActor () async throws -> String
    ) async throws -> String {
        for _ in 1..<BotRunner.writesMax where !isStopped {
            do {
                return try await statement()
            } catch {
                logger.warning("bot: the database is away", metadata: note(work, "\(error)"))
                try? await EventLoop.shared.sleep(for: BotRunner.writePause)
            }
        }
        return try await statement()
    }

    private func note(_ work: JobWork, _ reason: String) -> Logger.Metadata {
        ["ai_job_id": "\(work.id.text)", "tenant": "\(work.tenant)", "reason": "\(reason)"]
    }
}
