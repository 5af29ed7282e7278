import EventLoop
import Testing

@testable import Coordination

@Suite("Presence", .timeLimit(.minutes(1)))
@LoopActor
struct PresenceTests {
    private func isThere(
        _ presence: any Presence,
        _ tenant: String,
        _ connections: PresenceConnection...
    ) async throws -> Bool {
        try await presence.remaining(tenant: tenant, connections).contains { $0 > .zero }
    }

    @Test(
        "one tab closes and the user stays; the last one closes and the user is gone",
        arguments: Kind.available
    )
    func tabs(kind: Kind) async throws {
        let presence = try await kind.presence()
        let tenant = TestRedis.tenant()
        let one = PresenceConnection(user: "anna", id: "1")
        let two = PresenceConnection(user: "anna", id: "2")
        try await presence.beat(tenant: tenant, [one], ttl: .seconds(90))
        try await presence.beat(tenant: tenant, [two], ttl: .seconds(90))
        try await presence.leave(tenant: tenant, one)
        #expect(try await isThere(presence, tenant, one, two))
        #expect(try await !isThere(presence, tenant, one))
        try await presence.leave(tenant: tenant, two)
        #expect(try await !isThere(presence, tenant, one, two))
    }

    @Test(
        "a connection that gives no sign is gone when its time is up; a sign puts that off",
        arguments: Kind.available
    )
    func crash(kind: Kind) async throws {
        let presence = try await kind.presence()
        let tenant = TestRedis.tenant()
        let silent = PresenceConnection(user: "ben", id: "1")
        let alive = PresenceConnection(user: "eva", id: "1")
        try await presence.beat(tenant: tenant, [silent], ttl: .milliseconds(120))
        for _ in 0..<8 {
            try await presence.beat(tenant: tenant, [alive], ttl: .milliseconds(120))
            try await EventLoop.shared.sleep(for: .milliseconds(20))
        }
        #expect(try await !isThere(presence, tenant, silent))
        #expect(try await isThere(presence, tenant, alive))
    }

    @Test(
        "tenants do not see each other, nor do ids that look alike once joined",
        arguments: Kind.available
    )
    func apart(kind: Kind) async throws {
        let presence = try await kind.presence()
        let tenant = TestRedis.tenant()
        let other = TestRedis.tenant()
        let odd = PresenceConnection(user: "a|b", id: "c")
        try await presence.beat(tenant: tenant, [odd], ttl: .seconds(90))
        #expect(try await isThere(presence, tenant, odd))
        #expect(try await !isThere(presence, other, odd))
        #expect(try await !isThere(presence, tenant, PresenceConnection(user: "a", id: "b|c")))
    }

    @Test("many connections are asked for at once, in their order", arguments: Kind.available)
    func many(kind: Kind) async throws {
        let presence = try await kind.presence()
        let tenant = TestRedis.tenant()
        let connections = (0..<2500).map { PresenceConnection(user: "u\($0)", id: "c") }
        let there = stride(from: 0, to: 2500, by: 500).map { connections[$0] }
        try await presence.beat(tenant: tenant, there, ttl: .seconds(90))
        let left = try await presence.remaining(tenant: tenant, connections)
        #expect(left.count == 2500)
        #expect(left.indices.filter { left[$0] > .zero } == [0, 500, 1000, 1500, 2000])
    }
}
