internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import PostgresClient
internal import Telemetry

/// What administrators and callers see of locks.
extension MessageLockManager {
    /// Who holds the lock; `nil` when it is free.
    ///
    /// - Throws: a 404 when there is no such conversation.
    func getLockInfo(_ caller: Caller, _ conversation: UUID) async throws -> LockInfo? {
        let key = MessageLockManager.key(caller.code, conversation)
        let shown = await first(nil) { store throws(CoordinationError) in
            try await store.holder(of: key)
        }
        let found: (exists: Bool, job: LiveJob?)
        do {
            found = try await jobs.live(caller, conversation: conversation)
        } catch let error as PostgresError where error.isUnavailable {
            return shown.map(info(of:))
        }
        guard found.exists else { throw Problem.notFound }
        guard let job = found.job else { return nil }
        let record = shown.flatMap { LockRecord($0.value) }
        let isOwn = record?.lockID == job.lockID.text
        return LockInfo(
            lockID: job.lockID.text,
            job: job.id.text,
            holder: job.worker ?? (isOwn ? record?.instance : nil),
            age: .milliseconds(job.ageMilliseconds),
            remaining: isOwn ? shown?.remaining : nil,
            pendingCount: job.pendingCount
        )
    }

    /// How many records are looked at.
    static let shownMax = 1000

    /// What the stores show of a tenant's locks.
    func shown(_ caller: Caller) async -> [ShownLock] {
        let prefix = MessageLockManager.prefix(caller.code)
        var found: [ShownLock] = []
        for store in stores {
            do {
                let keys = try await store.keys(
                    beginningWith: prefix,
                    limit: MessageLockManager.shownMax
                )
                for key in keys.prefix(MessageLockManager.shownMax) {
                    guard let conversation = UUID(uuidString: String(key.dropFirst(prefix.count))),
                        let value = try await store.holder(of: key)?.value,
                        let record = LockRecord(value)
                    else { continue }
                    found.append(
                        ShownLock(
                            conversation: conversation,
                            key: key,
                            value: value,
                            record: record
                        )
                    )
                }
            } catch {
                Degradation.note("conversation_lock")
            }
        }
        return found
    }

    /// Takes down a record if it is still this one.
    func release(_ lock: ShownLock) async -> Bool {
        for store in stores where (try? await store.release(lock.key, value: lock.value)) == true {
            return true
        }
        return false
    }

    func info(of holder: LockHolder) -> LockInfo {
        let record = LockRecord(holder.value)
        return LockInfo(
            lockID: record?.lockID ?? "",
            job: record?.job,
            holder: record?.instance,
            age: .milliseconds(record.map { max(0, WallClock.milliseconds() - $0.takenAt) } ?? 0),
            remaining: holder.remaining,
            pendingCount: 0
        )
    }
}
