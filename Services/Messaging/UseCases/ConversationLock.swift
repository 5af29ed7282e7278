internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Telemetry

/// The conversation's lock as Redis shows it: `lock:conversation:{tenant}:<id>`.
///
/// The lock itself is the one live row of `messaging.ai_jobs`; this is its mirror for everybody who
/// looks, and ends by itself. Without Redis the row alone does.
@LoopActor
struct ConversationLock {
    let store: (any LockStore)?
    let ttl: Duration
    /// The name of this process.
    let instance: String

    nonisolated static func key(_ tenant: String, _ conversation: UUID) -> String {
        "lock:conversation:{\(tenant)}:\(conversation.text)"
    }

    /// Shows that `job` holds the lock now.
    func show(_ caller: Caller, conversation: UUID, lockID: String, job: String) async {
        let value: JSON = [
            "t": .string(lockID), "o": .string(instance), "j": .string(job),
            "at": .int(WallClock.milliseconds()),
        ]
        guard let store else { return Degradation.note("conversation_lock") }
        let key = ConversationLock.key(caller.code, conversation)
        do {
            if try await store.acquire(key, value: value.text, ttl: ttl) { return }
            // The row says that the lock is this job's: what is shown is a leftover.
            if let leftover = try await store.holder(of: key) {
                try await store.release(key, value: leftover.value)
            }
            _ = try await store.acquire(key, value: value.text, ttl: ttl)
        } catch {
            Degradation.note("conversation_lock")
        }
    }

    /// What is shown, and for how long yet.
    func holder(_ caller: Caller, conversation: UUID) async -> LockHolder? {
        guard let store else { return nil }
        do {
            return try await store.holder(of: ConversationLock.key(caller.code, conversation))
        } catch {
            Degradation.note("conversation_lock")
            return nil
        }
    }

    /// Takes down what is shown of a lock that was released from outside.
    func clear(_ caller: Caller, conversation: UUID) async {
        guard let store, let shown = await holder(caller, conversation: conversation) else {
            return
        }
        do {
            try await store.release(
                ConversationLock.key(caller.code, conversation),
                value: shown.value
            )
        } catch {
            Degradation.note("conversation_lock")
        }
    }

    /// Puts the end of the mirror off while the job's worker lives.
    func renew(tenant: String, conversation: UUID, lockID: String) async {
        await withOwn(tenant, conversation, lockID) { store, key, value throws(CoordinationError) in
            _ = try await store.renew(key, value: value, ttl: ttl)
        }
    }

    /// Takes the mirror down at the job's end, unless it shows another lock by now.
    func release(tenant: String, conversation: UUID, lockID: String) async {
        await withOwn(tenant, conversation, lockID) { store, key, value throws(CoordinationError) in
            try await store.release(key, value: value)
        }
    }

    /// Does something with the mirror if it shows this lock.
    private func withOwn(
        _ tenant: String,
        _ conversation: UUID,
        _ lockID: String,
        _ act: @LoopActor (any LockStore, String, String) async throws(CoordinationError) -> Void
    ) async {
        guard let store else { return }
        let key = ConversationLock.key(tenant, conversation)
        do {
            guard let shown = try await store.holder(of: key),
                (try? JSON(parsing: Array(shown.value.utf8)))?["t"]?.stringValue == lockID
            else { return }
            try await act(store, key, shown.value)
        } catch {
            Degradation.note("conversation_lock")
        }
    }
}
