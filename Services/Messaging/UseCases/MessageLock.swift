internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Telemetry

/// The lock `lock:message:<id>` around the assignment of one message.
///
/// It saves double work; that a message gets one thread is the database's doing. So without Redis
/// the work goes on, and says so.
@LoopActor
struct MessageLock {
    let store: (any LockStore)?
    let ttl: Duration

    /// What became of a try.
    enum Hold: Sendable {
        /// It is ours; the token releases it.
        case held(token: String)
        /// Somebody else works on the message.
        case taken
        /// There is no store to ask.
        case open
    }

    /// Takes the lock of a message, if it is free.
    func acquire(_ message: UUID) async -> Hold {
        guard let store else {
            Degradation.note("lock")
            return .open
        }
        let token = UUID.version4().text
        do {
            let isOurs = try await store.acquire(key(message), value: token, ttl: ttl)
            return isOurs ? .held(token: token) : .taken
        } catch {
            Degradation.note("lock")
            return .open
        }
    }

    /// Whether somebody holds the lock of a message; false when there is no store to ask.
    func isHeld(_ message: UUID) async -> Bool {
        guard let store else { return false }
        return (try? await store.holder(of: key(message))) != nil
    }

    /// Frees the lock if it is ours; one that cannot be freed ends by itself.
    func release(_ message: UUID, _ hold: Hold) async {
        guard case .held(let token) = hold, let store else { return }
        do {
            try await store.release(key(message), value: token)
        } catch {
            Degradation.note("lock")
        }
    }

    private func key(_ message: UUID) -> String { "lock:message:\(message.text)" }
}
