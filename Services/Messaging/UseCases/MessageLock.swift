internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Telemetry

/// The lock `lock:message:<id>` around the assignment of one message.
///
/// It saves double work; that a message gets one thread is the database's doing. So without Redis
/// the work goes on, and says so, unless the policy is another.
@LoopActor
struct MessageLock {
    let ttl: Duration
    private let store: (any LockStore)?
    private let instance: String
    private let policy: RedisPolicy
    private let renewals: LockRenewals?

    /// - Parameters:
    ///   - store: where the locks are; nil where nobody keeps any.
    ///   - instance: the name of this process.
    init(
        store: (any LockStore)?,
        ttl: Duration,
        instance: String = "messaging",
        policy: RedisPolicy = .proceed
    ) {
        self.store = store
        self.ttl = ttl
        self.instance = instance
        self.policy = policy
        renewals = store.map { LockRenewals($0, ttl: ttl) }
    }

    /// What became of a try.
    enum Hold: Sendable {
        /// It is ours, for as long as it is renewed.
        case held(HeldLock)
        /// Somebody else works on the message.
        case taken
        /// There is no store to ask.
        case open
        /// There is no store to ask, and nothing is to be done without.
        case refused

        /// Whether it was ours, and is somebody else's or nobody's now.
        @LoopActor var isLost: Bool {
            if case .held(let lock) = self { lock.isLost } else { false }
        }
    }

    /// Takes the lock of a message, if it is free; it is renewed until it is released.
    func acquire(_ message: UUID) async -> Hold {
        guard let store, let renewals else { return without() }
        let record = LockRecord(
            lockID: UUID.version4().text,
            instance: instance,
            job: nil,
            takenAt: WallClock.milliseconds()
        )
        let lock = HeldLock(key: key(message), value: record.text)
        do {
            guard try await store.acquire(lock.key, value: lock.value, ttl: ttl) else {
                return .taken
            }
            renewals.begin(lock)
            return .held(lock)
        } catch {
            return without()
        }
    }

    private func without() -> Hold {
        Degradation.note("lock")
        return policy == .proceed ? .open : .refused
    }

    /// Whether somebody holds the lock of a message; false when there is no store to ask.
    func isHeld(_ message: UUID) async -> Bool {
        guard let store else { return false }
        return (try? await store.holder(of: key(message))) != nil
    }

    /// Frees the lock if it is ours; one that cannot be freed ends by itself.
    func release(_ hold: Hold) async {
        guard case .held(let lock) = hold, let store, let renewals else { return }
        renewals.end(lock)
        do {
            try await store.release(lock.key, value: lock.value)
        } catch {
            Degradation.note("lock")
        }
    }

    private func key(_ message: UUID) -> String { "lock:message:\(message.text)" }
}
