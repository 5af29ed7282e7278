internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient

/// AI jobs as the API makes, shows and ends them.
///
/// The database's row is the truth. While the database is away jobs live in this process and are
/// shown in Redis; see ``OfflineJobs``.
@LoopActor
final class BackgroundJobManager {
    private let jobs: AIJobRepository
    private let locks: MessageLockManager
    private let mirror: JobMirror
    private let offline: OfflineJobs
    private let runner: BotRunner
    private let debounce: Duration

    init(
        jobs: AIJobRepository,
        locks: MessageLockManager,
        mirror: JobMirror,
        offline: OfflineJobs,
        runner: BotRunner,
        debounce: Duration
    ) {
        self.jobs = jobs
        self.locks = locks
        self.mirror = mirror
        self.offline = offline
        self.runner = runner
        self.debounce = debounce
    }

    /// Takes the conversation's lock and makes a job, or joins the one that is there; without the
    /// database the job lives in this process.
    ///
    /// - Throws: a 404; a 503 when neither the database nor any store can hold a lock.
    func createAIProcessingJob(
        _ caller: Caller,
        _ request: HandleRequest,
        bot: BotConfiguration
    ) async throws -> (start: JobStart, isOffline: Bool) {
        do {
            let outcome = try await jobs.start(caller, request, debounce: debounce)
            return (try await settle(caller, request.conversation, outcome), false)
        } catch let error as PostgresError where error.isUnavailable {
            return (try await offline.start(caller, request, bot: bot), true)
        }
    }

    private func settle(
        _ caller: Caller,
        _ conversation: UUID,
        _ outcome: Outcome
    ) async throws -> JobStart {
        let answer = try JSON(parsing: outcome.answer)
        let pending = Int(answer["pending_count"]?.intValue ?? 0)
        switch outcome.name {
        case "started":
            let job = answer["ai_job_id"]?.stringValue ?? ""
            let lockID = answer["lock_id"]?.stringValue ?? ""
            runner.wake()
            await created(caller, conversation, job: job, lockID: lockID)
            return .started(
                job: job,
                lockID: lockID,
                consolidated: Int(answer["consolidated_messages"]?.intValue ?? 1)
            )
        case "locked": return .locked(buffered: true, pending: pending)
        case "bot_inactive": return .inactive
        case "human": return .human
        case "closed": throw Problem.conversationClosed
        default: throw Problem.notFound
        }
    }

    /// A job was made: shows its lock and its state.
    func created(_ caller: Caller, _ conversation: UUID, job: String, lockID: String) async {
        guard let id = UUID(text: job) else { return }
        // Together: one wait instead of two.
        async let lock: Void = locks.show(
            caller,
            conversation: conversation,
            lockID: lockID,
            job: job
        )
        async let state: Void = mirror.show(
            caller.code,
            id,
            ["status": "pending", "conversation_id": .string(conversation.text)]
        )
        _ = await (lock, state)
    }

    /// A job ended by what somebody wrote: its call is aborted and its lock taken down.
    func ended(_ caller: Caller, _ conversation: UUID, job: String?) async {
        if let id = job.flatMap(UUID.init(text:)) {
            runner.abort(id)
            await mirror.show(caller.code, id, ["status": "cancelled"])
        }
        await locks.clear(caller, conversation: conversation)
    }

    /// A job with its state, result and error.
    ///
    /// - Throws: a 404; a 503 when the job is not known here and the database is away.
    func getJobStatus(_ caller: Caller, _ id: UUID) async throws -> Response {
        do {
            if let row = try await jobs.find(caller, id) { return .json(bytes: row) }
        } catch let error as PostgresError where error.isUnavailable {
            guard let shown = await shown(caller, id) else { throw error }
            return .json(.object(shown))
        }
        guard let shown = await shown(caller, id) else { throw Problem.notFound }
        return .json(.object(shown))
    }

    private func shown(_ caller: Caller, _ id: UUID) async -> JSONObject? {
        if let job = offline.find(caller, id) { return job }
        return await mirror.find(caller.code, id).map(JobMirror.withoutGhost)
    }

    /// Ends a live job: its call is aborted wherever it runs, and its answer is never posted.
    ///
    /// - Throws: a 404; a 409 when it has ended.
    func cancelJob(_ caller: Caller, _ id: UUID) async throws -> Response {
        let outcome: Outcome
        do {
            outcome = try await jobs.stop(
                caller,
                job: id,
                status: "cancelled",
                reason: "cancelled by request"
            )
        } catch let error as PostgresError where error.isUnavailable {
            guard let job = await offline.cancel(caller, id) else { throw error }
            return .json(.object(job))
        }
        switch outcome.name {
        case "ended":
            let job = try JSON(parsing: outcome.answer)
            let conversation = job["conversation_id"]?.stringValue.flatMap(UUID.init(text:))
            if let conversation { await ended(caller, conversation, job: id.text) }
            return .json(bytes: outcome.answer)
        case "over":
            let state = try JSON(parsing: outcome.answer)["status"]?.stringValue ?? "ended"
            throw Problem.conflict("job_has_ended", "the job is \(state)")
        default:
            guard let job = await offline.cancel(caller, id) else { throw Problem.notFound }
            return .json(.object(job))
        }
    }

    /// Releases a conversation's lock for an administrator: its job is superseded, and what that was
    /// to answer is left to the next one.
    ///
    /// Returns `false` when it was free.
    func releaseConversationLock(
        _ caller: Caller,
        _ conversation: UUID,
        reason: String
    ) async throws -> Bool {
        let outcome = try await jobs.stop(
            caller,
            conversation: conversation,
            status: "superseded",
            reason: reason
        )
        guard outcome.name == "ended" else { return false }
        await superseded(caller, conversation, try JSON(parsing: outcome.answer)["id"]?.stringValue)
        return true
    }

    private func superseded(_ caller: Caller, _ conversation: UUID, _ job: String?) async {
        if let id = job.flatMap(UUID.init(text:)) {
            runner.abort(id)
            await mirror.show(caller.code, id, ["status": "superseded"])
        }
        await locks.clear(caller, conversation: conversation)
    }

    /// Releases the tenant's locks that are older than `age`.
    ///
    /// Returns how many.
    func cleanupOldLocks(_ caller: Caller, olderThan age: Duration) async throws -> Int {
        let released = try await jobs.cleanup(caller, olderThan: age)
        for conversation in released { await superseded(caller, conversation, nil) }
        var count = released.count
        for record in try await orphanedRecords(caller) where record.age >= age {
            guard await locks.release(record) else { continue }
            try await jobs.noteRelease(caller, record)
            count += 1
        }
        return count
    }

    /// The tenant's locks: those of live jobs, and records of jobs that do not live.
    func heldLocks(_ caller: Caller, limit: Int) async throws -> [JSON] {
        let live = try await jobs.liveLocks(caller, limit: limit)
        return live + (try await orphanedRecords(caller)).map(\.document)
    }

    /// Lock records that show a job which is not there: what was left by a process that died while
    /// the database was away, or between two steps.
    private func orphanedRecords(_ caller: Caller) async throws -> [ShownLock] {
        let shown = await locks.shown(caller)
        let live = try await jobs.liveLockIDs(caller, shown.map(\.record.lockID))
        var orphans: [ShownLock] = []
        for lock in shown where !live.contains(lock.record.lockID) {
            // One of a job that was made without the database lives in some process.
            let id = lock.record.job.flatMap(UUID.init(uuidString:))
            let job = if let id { await self.shown(caller, id) } else { JSONObject?.none }
            if job?["status"] != "processing" { orphans.append(lock) }
        }
        return orphans
    }

    /// The processes that work on jobs.
    func getWorkerStatus() async throws -> [JSON] {
        try await jobs.workers(lostAfter: runner.lease)
    }
}
