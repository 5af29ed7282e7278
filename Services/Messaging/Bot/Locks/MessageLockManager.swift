internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient
internal import Telemetry

/// The lock of a conversation: one AI job at a time.
///
/// The database's lease is the one live row of `messaging.ai_jobs`: it decides, and it is all there
/// is while Redis is away. `lock:conversation:{tenant}:<id>` in Redis shows it to everybody, lasts
/// five minutes unless renewed, and is the lock itself for jobs that are made while the database is
/// away. A process that is alone (`SINGLE_INSTANCE=1`) uses its memory where Redis does not answer.
@LoopActor
struct MessageLockManager {
    /// How often a lock is tried that ends between the try and the look at its holder.
    static let looksMax = 3

    /// What a try to take the lock came to.
    enum Acquisition: Sendable {
        case acquired(LockRecord)
        case exists(LockInfo)
    }

    /// In the order in which they are asked: Redis, then memory; either may be missing.
    let stores: [any LockStore]
    let ttl: Duration
    /// The name of this process.
    let instance: String
    let jobs: AIJobRepository

    nonisolated static func key(_ tenant: String, _ conversation: UUID) -> String {
        prefix(tenant) + conversation.text
    }

    /// How the keys of a tenant's locks begin.
    nonisolated static func prefix(_ tenant: String) -> String { "lock:conversation:{\(tenant)}:" }

    // MARK: Without the database

    /// Takes the lock in the shared store, or tells who has it.
    ///
    /// - Throws: a 503 when no store answers.
    func checkAndAcquireLock(_ caller: Caller, _ conversation: UUID) async throws -> Acquisition {
        let key = MessageLockManager.key(caller.code, conversation)
        let record = LockRecord(
            lockID: UUID().text,
            instance: instance,
            job: nil,
            takenAt: WallClock.milliseconds()
        )
        for store in stores {
            do {
                let taken = try await HandlerSteps.measure(.lock) {
                    try await acquire(store, key, record)
                }
                if let taken { return taken }
            } catch {
                Degradation.note("conversation_lock")
            }
        }
        throw Problem.unavailable("no store can hold the conversation's lock")
    }

    /// One store's answer; `nil` when the lock changed hands whenever somebody looked.
    private func acquire(
        _ store: any LockStore,
        _ key: String,
        _ record: LockRecord
    ) async throws(CoordinationError) -> Acquisition? {
        for _ in 1...MessageLockManager.looksMax {
            if try await store.acquire(key, value: record.text, ttl: ttl) {
                return .acquired(record)
            }
            if let holder = try await store.holder(of: key) { return .exists(info(of: holder)) }
        }
        return nil
    }

    /// Links a lock to its job; `false` when the lock is no longer this one.
    func updateLockWithAIJob(
        _ tenant: String,
        _ conversation: UUID,
        _ record: LockRecord,
        job: UUID
    ) async -> Bool {
        var linked = record
        linked.job = job.text
        let key = MessageLockManager.key(tenant, conversation)
        return await first(false) { store throws(CoordinationError) in
            try await store.replace(key, value: record.text, with: linked.text)
        }
    }

    // MARK: What is shown of a lock

    /// Shows that a job holds the lock now.
    func show(_ caller: Caller, conversation: UUID, lockID: String, job: String) async {
        let record = LockRecord(
            lockID: lockID,
            instance: instance,
            job: job,
            takenAt: WallClock.milliseconds()
        )
        let key = MessageLockManager.key(caller.code, conversation)
        await HandlerSteps.measure(.lock) {
            _ = await first(false) { store throws(CoordinationError) in
                if try await store.acquire(key, value: record.text, ttl: ttl) { return true }
                // The row says that the lock is this job's: what is shown is a leftover.
                if let leftover = try await store.holder(of: key) {
                    try await store.release(key, value: leftover.value)
                }
                return try await store.acquire(key, value: record.text, ttl: ttl)
            }
        }
    }

    /// Puts the end of the record off while the job's worker lives, and shows it again where it is
    /// not there: it ended while nobody worked, or Redis was away.
    func keep(_ work: JobWork) async {
        await keep(
            tenant: work.tenant,
            conversation: work.conversationID,
            lockID: work.lockID,
            job: work.id
        )
    }

    /// The same of a job that the database does not know.
    func keep(tenant: String, conversation: UUID, lockID: String, job: UUID) async {
        let key = MessageLockManager.key(tenant, conversation)
        let record = LockRecord(
            lockID: lockID,
            instance: instance,
            job: job.text,
            takenAt: WallClock.milliseconds()
        )
        _ = await first(false) { store throws(CoordinationError) in
            guard let shown = try await store.holder(of: key) else {
                return try await store.acquire(key, value: record.text, ttl: ttl)
            }
            guard LockRecord(shown.value)?.lockID == lockID else { return false }
            return try await store.renew(key, value: shown.value, ttl: ttl)
        }
    }

    /// Frees the lock if it is this one; another's stays.
    func releaseLock(tenant: String, conversation: UUID, lockID: String) async {
        let key = MessageLockManager.key(tenant, conversation)
        await withOwn(key, lockID) { store, value throws(CoordinationError) in
            try await store.release(key, value: value)
        }
    }

    /// Takes down what is shown of a lock that was released from outside.
    func clear(_ caller: Caller, conversation: UUID) async {
        let key = MessageLockManager.key(caller.code, conversation)
        for store in stores {
            do {
                guard let shown = try await store.holder(of: key) else { continue }
                try await store.release(key, value: shown.value)
            } catch {
                Degradation.note("conversation_lock")
            }
        }
    }

    /// Whether a lock of that conversation is still this one, as far as can be seen.
    func isHeld(tenant: String, conversation: UUID, lockID: String) async -> Bool {
        let key = MessageLockManager.key(tenant, conversation)
        return await first(true) { store throws(CoordinationError) in
            try await store.holder(of: key).flatMap { LockRecord($0.value) }?.lockID == lockID
        }
    }

    // MARK: Stores

    /// The answer of the first store that gives one.
    func first<Value: Sendable>(
        _ standIn: Value,
        _ act: @LoopActor (any LockStore) async throws(CoordinationError) -> Value
    ) async -> Value {
        for store in stores {
            do {
                return try await act(store)
            } catch {
                Degradation.note("conversation_lock")
            }
        }
        if stores.isEmpty { Degradation.note("conversation_lock") }
        return standIn
    }

    /// Does something with the record in every store where it shows this lock.
    private func withOwn(
        _ key: String,
        _ lockID: String,
        _ act: @LoopActor (any LockStore, String) async throws(CoordinationError) -> Void
    ) async {
        for store in stores {
            do {
                guard let shown = try await store.holder(of: key),
                    LockRecord(shown.value)?.lockID == lockID
                else { continue }
                try await act(store, shown.value)
            } catch {
                Degradation.note("conversation_lock")
            }
        }
    }
}
