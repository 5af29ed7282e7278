internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Jobs that are made while the database is away.
///
/// Each runs in this process, holds its lock in the shared store, and is shown in Redis for an hour.
/// Their answers are read at the job and are never posted into a conversation.
@LoopActor
final class OfflineJobs {
    /// Jobs that one process works on at once.
    static let runningLimit = 32
    /// Ended jobs that are remembered here, for a process without Redis.
    static let endedLimit = 1000

    private struct Entry {
        let tenant: UUID
        var document: JSONObject
        /// What came in while the job ran, and how much of it: its next turn.
        var next: HandleRequest?
        var nextCount = 0
    }

    private let locks: MessageLockManager
    private let mirror: JobMirror
    private let tries: OfflineTries
    private let settings: BotSettings
    private var entries: [UUID: Entry] = [:]
    private var running: [UUID: Task<Void, Never>] = [:]
    private var ended: [UUID] = []

    init(
        locks: MessageLockManager,
        mirror: JobMirror,
        providers: AIProviders,
        settings: BotSettings
    ) {
        self.locks = locks
        self.mirror = mirror
        tries = OfflineTries(providers: providers, settings: settings)
        self.settings = settings
    }

    /// Takes the lock in the shared store and begins to work.
    func start(
        _ caller: Caller,
        _ request: HandleRequest,
        bot: BotConfiguration
    ) async throws -> JobStart {
        guard bot.answers else { return .inactive }
        guard running.count < OfflineJobs.runningLimit else {
            throw Problem.unavailable("too many jobs without the database")
        }
        switch try await takeLock(caller, request.conversation) {
        case .acquired(let record):
            let id = UUID()
            let isOurs = await locks.updateLockWithAIJob(
                caller.code,
                request.conversation,
                record,
                job: id
            )
            guard isOurs else { throw Problem.unavailable("the conversation's lock was lost") }
            await begin(caller, request, bot, id: id, lockID: record.lockID, consolidated: 1)
            return .started(job: id.text, lockID: record.lockID, consolidated: 1)
        case .exists(let info):
            return join(info, caller, request)
        }
    }

    /// A lock whose job's process is dead is taken from it: nobody else would before its time ends.
    private func takeLock(
        _ caller: Caller,
        _ conversation: UUID
    ) async throws -> MessageLockManager.Acquisition {
        let first = try await locks.checkAndAcquireLock(caller, conversation)
        guard case .exists(let info) = first, let id = info.job.flatMap(UUID.init(text:)),
            entries[id] == nil, let shown = await mirror.find(caller.code, id),
            JobMirror.withoutGhost(shown)["status"] == "expired"
        else { return first }
        await locks.releaseLock(
            tenant: caller.code,
            conversation: conversation,
            lockID: info.lockID
        )
        return try await locks.checkAndAcquireLock(caller, conversation)
    }

    /// A request that meets a job of this process is its next turn; one elsewhere cannot take it.
    private func join(_ info: LockInfo, _ caller: Caller, _ request: HandleRequest) -> JobStart {
        guard let id = info.job.flatMap(UUID.init(text:)), running[id] != nil,
            entries[id]?.tenant == caller.tenant
        else { return .locked(buffered: false, pending: 0) }
        entries[id]?.next = request
        entries[id]?.nextCount += 1
        return .locked(buffered: true, pending: entries[id]?.nextCount ?? 0)
    }

    private func begin(
        _ caller: Caller,
        _ request: HandleRequest,
        _ bot: BotConfiguration,
        id: UUID,
        lockID: String,
        consolidated: Int
    ) async {
        let now = JSON.string(RFC3339.string(WallClock.milliseconds()))
        entries[id] = Entry(
            tenant: caller.tenant,
            document: [
                "id": .string(id.text), "conversation_id": .string(request.conversation.text),
                "status": "processing", "consolidated_messages": .int(Int64(consolidated)),
                "attempts": 1, "result": nil, "error": nil, "created_at": now, "started_at": now,
                "finished_at": nil, "config_source": .string(bot.source.rawValue),
            ]
        )
        await show(caller, id)
        let work = bot.request(request.turns, consolidated: consolidated, jobID: id)
        running[id] = Task {
            await run(caller, request, bot, work, id: id, lockID: lockID)
            running[id] = nil
        }
    }

    private func run(
        _ caller: Caller,
        _ request: HandleRequest,
        _ bot: BotConfiguration,
        _ work: AIRequest,
        id: UUID,
        lockID: String
    ) async {
        let heart = RepeatedWork(every: settings.heartbeat) { [self] in
            await beat(caller, request.conversation, id, lockID)
        }
        heart.start()
        let end = await tries.end(bot, work, tenant: caller.code) { [self] attempt in
            entries[id]?.document["attempts"] = .int(Int64(attempt))
        }
        // Else it might show the lock again after that was freed.
        await heart.end()
        await finish(caller, request, bot, id: id, lockID: lockID, end)
    }

    /// Ends a job; what came in meanwhile is the next one, under the same lock.
    private func finish(
        _ caller: Caller,
        _ request: HandleRequest,
        _ bot: BotConfiguration,
        id: UUID,
        lockID: String,
        _ end: JSONObject
    ) async {
        for (name, value) in end.members { entries[id]?.document[name] = value }
        entries[id]?.document["finished_at"] = .string(
            RFC3339.string(WallClock.milliseconds())
        )
        await show(caller, id)
        ended.append(id)
        if ended.count > OfflineJobs.endedLimit { entries[ended.removeFirst()] = nil }
        // Read after the last wait: a request may have joined until now.
        if let next = entries[id]?.next, let count = entries[id]?.nextCount, !Task.isCancelled {
            entries[id]?.next = nil
            let following = UUID()
            await begin(caller, next, bot, id: following, lockID: lockID, consolidated: count)
            await locks.show(
                caller,
                conversation: request.conversation,
                lockID: lockID,
                job: following.text
            )
            return
        }
        await locks.releaseLock(
            tenant: caller.code,
            conversation: request.conversation,
            lockID: lockID
        )
    }

    /// Keeps the lock, shows a sign of life, and ends the job when somebody took the lock away or
    /// asked for its end.
    private func beat(
        _ caller: Caller,
        _ conversation: UUID,
        _ id: UUID,
        _ lockID: String
    ) async {
        await locks.keep(tenant: caller.code, conversation: conversation, lockID: lockID, job: id)
        let isHeld = await locks.isHeld(
            tenant: caller.code,
            conversation: conversation,
            lockID: lockID
        )
        let isUnwanted = await mirror.find(caller.code, id)?["cancel_requested"] == true
        if !isHeld || isUnwanted { return running[id]?.cancel() ?? () }
        await show(caller, id)
    }

    private func show(_ caller: Caller, _ id: UUID) async {
        guard var document = entries[id]?.document else { return }
        document["alive_until"] = .int(
            WallClock.milliseconds() + settings.lease.milliseconds
        )
        await mirror.show(caller.code, id, document)
    }

    // MARK: From outside

    func find(_ caller: Caller, _ id: UUID) -> JSONObject? {
        guard let entry = entries[id], entry.tenant == caller.tenant else { return nil }
        return entry.document
    }

    /// Ends a job of this process, or asks the one that works on it.
    ///
    /// Returns the job; `nil` when none is known.
    func cancel(_ caller: Caller, _ id: UUID) async -> JSONObject? {
        if let entry = entries[id], entry.tenant == caller.tenant {
            running[id]?.cancel()
            await running[id]?.value
            return find(caller, id)
        }
        guard let shown = await mirror.find(caller.code, id) else { return nil }
        guard shown["alive_until"] != nil, shown["status"] == "processing" else {
            return JobMirror.withoutGhost(shown)
        }
        await mirror.show(caller.code, id, ["cancel_requested": true])
        return JobMirror.withoutGhost(shown)
    }

    /// Aborts what runs; the locks are freed.
    func stop() async {
        for task in Array(running.values) {
            task.cancel()
            await task.value
        }
    }
}
