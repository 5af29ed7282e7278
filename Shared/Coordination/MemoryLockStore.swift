public import EventLoop

/// Locks of this process alone: for one instance without Redis, and for tests.
@LoopActor
public final class MemoryLockStore: LockStore {
    /// Above this many locks the expired ones are dropped before another is taken.
    public static let sweepAbove = 10_000

    private struct Held {
        var value: String
        var until: MonotonicTime
    }

    private var held: [String: Held] = [:]
    private let now: @LoopActor () -> MonotonicTime

    /// A store whose clock is `now`.
    public nonisolated init(now: @escaping @LoopActor () -> MonotonicTime = MonotonicTime.now) {
        self.now = now
    }

    /// Takes a free or expired lock.
    public func acquire(
        _ key: String,
        value: String,
        ttl: Duration
    ) async throws(CoordinationError) -> Bool {
        let now = now()
        if let current = held[key], current.until > now { return false }
        if held.count >= MemoryLockStore.sweepAbove { held = held.filter { $0.value.until > now } }
        held[key] = Held(value: value, until: now + ttl)
        return true
    }

    /// Frees a lock of the same value.
    @discardableResult
    public func release(_ key: String, value: String) async throws(CoordinationError) -> Bool {
        guard let current = held[key], current.value == value else { return false }
        held[key] = nil
        return current.until > now()
    }

    /// Puts off the end of a live lock of the same value.
    public func renew(
        _ key: String,
        value: String,
        ttl: Duration
    ) async throws(CoordinationError) -> Bool {
        let now = now()
        guard let current = held[key], current.value == value, current.until > now else {
            return false
        }
        held[key]?.until = now + ttl
        return true
    }

    /// Changes the value of a live lock of the same value.
    public func replace(
        _ key: String,
        value: String,
        with newValue: String
    ) async throws(CoordinationError) -> Bool {
        guard let current = held[key], current.value == value, current.until > now() else {
            return false
        }
        held[key]?.value = newValue
        return true
    }

    /// The live holder.
    public func holder(of key: String) async throws(CoordinationError) -> LockHolder? {
        let now = now()
        guard let current = held[key], current.until > now else { return nil }
        return LockHolder(value: current.value, remaining: current.until - now)
    }

    /// The live keys that begin so.
    public func keys(
        beginningWith prefix: String,
        limit: Int
    ) async throws(CoordinationError) -> [String] {
        let now = now()
        let live = held.filter { $0.value.until > now && $0.key.hasPrefix(prefix) }
        return Array(live.keys.prefix(limit))
    }
}
