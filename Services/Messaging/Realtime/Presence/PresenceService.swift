internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import Telemetry

/// Who is there: signs of life in Redis; while it is away, those that this instance saw, and for as
/// long as a sign of life is good those that Redis last knew of.
@LoopActor
final class PresenceService {
    private let shared: (any Presence)?
    /// The signs of life that came through this instance.
    private let own = MemoryPresence()
    /// Those who were there when Redis was last asked.
    private let lastKnown = MemoryPresence()
    /// How long a sign of life is good for.
    let ttl: Duration

    init(shared: (any Presence)?, ttl: Duration) {
        self.shared = shared
        self.ttl = ttl
    }

    /// Notes a sign of life of connections, in one command.
    func beat(_ tenant: String, _ connections: [PresenceConnection]) async {
        guard !connections.isEmpty else { return }
        try? await own.beat(tenant: tenant, connections, ttl: ttl)
        await attempt { try await $0.beat(tenant: tenant, connections, ttl: ttl) }
    }

    func leave(_ tenant: String, _ connection: PresenceConnection) async {
        try? await own.leave(tenant: tenant, connection)
        try? await lastKnown.leave(tenant: tenant, connection)
        await attempt { try await $0.leave(tenant: tenant, connection) }
    }

    /// Those of the connections that are there, by their users, with the time that they still have.
    func present(
        _ tenant: String,
        among connections: [PresenceConnection]
    ) async -> [String: [Duration]] {
        let left = await remaining(tenant, connections)
        var users: [String: [Duration]] = [:]
        for (connection, time) in zip(connections, left) where time > .zero {
            users[connection.user, default: []].append(time)
        }
        return users
    }

    private func remaining(
        _ tenant: String,
        _ connections: [PresenceConnection]
    ) async -> [Duration] {
        do {
            guard let shared else { return try await own.remaining(tenant: tenant, connections) }
            let left = try await shared.remaining(tenant: tenant, connections)
            for (connection, time) in zip(connections, left) where time <= .zero {
                try await lastKnown.leave(tenant: tenant, connection)
            }
            let there = zip(connections, left).filter { $0.1 > .zero }.map(\.0)
            try await lastKnown.beat(tenant: tenant, there, ttl: ttl)
            return left
        } catch {
            Degradation.note("presence")
        }
        // The memory of this process does not fail.
        let seen = (try? await own.remaining(tenant: tenant, connections)) ?? []
        let known = (try? await lastKnown.remaining(tenant: tenant, connections)) ?? []
        return zip(seen, known).map(max)
    }

    private func attempt(
        _ call: @LoopActor (any Presence) async throws -> Void
    ) async {
        guard let shared else { return Degradation.note("presence") }
        do {
            try await call(shared)
        } catch {
            Degradation.note("presence")
        }
    }
}
