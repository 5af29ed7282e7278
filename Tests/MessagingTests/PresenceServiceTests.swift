import Coordination
import EventLoop
import Testing

@testable import messaging

/// Presence of which a test decides whether it can be asked.
@LoopActor
private final class Switchable: Presence {
    let store = MemoryPresence()
    var isAway = false

    private func check() throws(CoordinationError) {
        if isAway {
            throw CoordinationError(operation: "presence", message: "away")
        }
    }

    func beat(
        tenant: String,
        _ connections: [PresenceConnection],
        ttl: Duration
    ) async throws(CoordinationError) {
        try check()
        try await store.beat(tenant: tenant, connections, ttl: ttl)
    }

    func leave(
        tenant: String,
        _ connection: PresenceConnection
    ) async throws(CoordinationError) {
        try check()
        try await store.leave(tenant: tenant, connection)
    }

    func remaining(
        tenant: String,
        _ connections: [PresenceConnection]
    ) async throws(CoordinationError) -> [Duration] {
        try check()
        return try await store.remaining(tenant: tenant, connections)
    }
}

@Suite("PresenceService", .timeLimit(.minutes(1)))
@LoopActor
struct PresenceServiceTests {
    private let anna = PresenceConnection(user: "anna", id: "1")
    private let ben = PresenceConnection(user: "ben", id: "2")
    private let eva = PresenceConnection(user: "eva", id: "3")

    private func users(_ service: PresenceService) async -> [String] {
        await service.present("t", among: [anna, ben, eva]).keys.sorted()
    }

    @Test("while Redis is away those of other instances stay for as long as a sign of life is good")
    func lastKnown() async throws {
        let shared = Switchable()
        let service = PresenceService(shared: shared, ttl: .milliseconds(400))
        // Ben's signs of life come through another instance.
        try await shared.beat(tenant: "t", [ben], ttl: .milliseconds(400))
        await service.beat("t", [anna])
        #expect(await users(service) == ["anna", "ben"])
        shared.isAway = true
        await service.beat("t", [eva])
        #expect(await users(service) == ["anna", "ben", "eva"])
        await service.leave("t", anna)
        #expect(await users(service) == ["ben", "eva"])
        try await EventLoop.shared.sleep(for: .milliseconds(250))
        await service.beat("t", [eva])
        try await EventLoop.shared.sleep(for: .milliseconds(250))
        #expect(await users(service) == ["eva"])
    }

    @Test("who had gone when Redis was last asked does not come back with its outage")
    func gone() async throws {
        let shared = Switchable()
        let service = PresenceService(shared: shared, ttl: .seconds(90))
        try await shared.beat(tenant: "t", [ben], ttl: .seconds(90))
        #expect(await users(service) == ["ben"])
        try await shared.leave(tenant: "t", ben)
        #expect(await users(service) == [])
        shared.isAway = true
        #expect(await users(service) == [])
    }
}
