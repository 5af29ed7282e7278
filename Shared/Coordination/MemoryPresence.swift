public import EventLoop

/// Presence of this process alone: for one instance without Redis, and for tests.
@LoopActor
public final class MemoryPresence: Presence {
    /// Above this many connections those that ran out are dropped before another is noted.
    public static let sweepAbove = 10_000

    private struct Key: Hashable {
        let tenant: String
        let connection: PresenceConnection
    }

    private var until: [Key: MonotonicTime] = [:]
    private let now: @LoopActor () -> MonotonicTime

    /// A store whose clock is `now`.
    public nonisolated init(now: @escaping @LoopActor () -> MonotonicTime = MonotonicTime.now) {
        self.now = now
    }

    /// Notes a sign of life.
    public func beat(
        tenant: String,
        _ connections: [PresenceConnection],
        ttl: Duration
    ) async throws(CoordinationError) {
        let now = now()
        if until.count >= MemoryPresence.sweepAbove { until = until.filter { $0.value > now } }
        for connection in connections {
            until[Key(tenant: tenant, connection: connection)] = now + ttl
        }
    }

    /// Forgets a connection.
    public func leave(
        tenant: String,
        _ connection: PresenceConnection
    ) async throws(CoordinationError) {
        until[Key(tenant: tenant, connection: connection)] = nil
    }

    /// Asks for many connections at once.
    public func remaining(
        tenant: String,
        _ connections: [PresenceConnection]
    ) async throws(CoordinationError) -> [Duration] {
        let now = now()
        return connections.map { connection in
            guard let end = until[Key(tenant: tenant, connection: connection)], end > now else {
                return .zero
            }
            return end - now
        }
    }
}
