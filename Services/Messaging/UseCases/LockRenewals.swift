internal import Coordination
internal import EventLoop
internal import Telemetry

/// A lock that this process has.
@LoopActor
final class HeldLock {
    let key: String
    /// What the holder left there; no two holders leave the same.
    let value: String
    /// Whether it ran out, or is another's: the work is no longer ours.
    fileprivate(set) var isLost = false

    init(key: String, value: String) {
        self.key = key
        self.value = value
    }
}

/// Puts the ends of locks off while they are held, each third of their time.
///
/// One timer for all of them: most locks are freed long before anything has to be renewed, and cost
/// an entry in a table.
@LoopActor
final class LockRenewals {
    private let store: any LockStore
    private let ttl: Duration
    private var held: [ObjectIdentifier: HeldLock] = [:]
    private var isUnderWay = false

    init(_ store: any LockStore, ttl: Duration) {
        self.store = store
        self.ttl = ttl
    }

    /// The lock is held from now on.
    func begin(_ lock: HeldLock) {
        held[ObjectIdentifier(lock)] = lock
        if !isUnderWay { renewLater() }
    }

    /// The lock is to be freed.
    func end(_ lock: HeldLock) { held[ObjectIdentifier(lock)] = nil }

    private func renewLater() {
        isUnderWay = !held.isEmpty
        guard isUnderWay else { return }
        EventLoop.shared.schedule(after: ttl / 3) { [weak self] in
            Task { await self?.renew() }
        }
    }

    private func renew() async {
        for (id, lock) in held where held[id] != nil {
            do {
                let isOurs = try await store.renew(lock.key, value: lock.value, ttl: ttl)
                // Freed meanwhile, it is nobody's loss.
                guard !isOurs, held.removeValue(forKey: id) != nil else { continue }
                lock.isLost = true
            } catch {
                // A store that is away takes nothing from us: only its "no" does.
                Degradation.note("lock")
                break
            }
        }
        renewLater()
    }
}
