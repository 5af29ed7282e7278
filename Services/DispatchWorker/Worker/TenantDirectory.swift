internal import EventLoop
internal import FoundationEssentials
internal import JobQueue
internal import PostgresClient

/// The tenants whose messages are sent: their ids by code, and how each is served.
@LoopActor
final class TenantDirectory {
    /// How many ids are remembered; above it the memory starts anew.
    nonisolated static let idsMax = 10_000
    /// How often terms are read again.
    nonisolated static let refreshInterval: Duration = .seconds(10)
    /// How many tenants' queues one sweep looks into; the next one goes on behind them.
    nonisolated static let sweepMax = 1_000
    /// How many of a tenant's messages may wait unless its policy says otherwise.
    nonisolated static let queuedMaxDefault = 1_000_000

    private let postgres: PostgresClient
    private var ids: [String: UUID] = [:]
    private var policies: [String: Policy] = [:]
    private var readAt: MonotonicTime?
    private var lastSwept = ""

    private struct Policy {
        var terms = TenantQueues.Terms()
        var queuedMax = TenantDirectory.queuedMaxDefault
    }

    init(_ postgres: PostgresClient) { self.postgres = postgres }

    /// A tenant's id; nil when there is no such tenant.
    func id(of tenant: String) async throws -> UUID? {
        if let known = ids[tenant] { return known }
        let rows = try await postgres.read(
            "select id from platform.tenants where code = $1",
            [.string(tenant)]
        )
        guard let id = try rows.first?.uuid("id") else { return nil }
        if ids.count >= TenantDirectory.idsMax { ids.removeAll() }
        ids[tenant] = id
        return id
    }

    /// How a tenant is served, as it was last read.
    func terms(of tenant: String) -> TenantQueues.Terms {
        policies[tenant]?.terms ?? TenantQueues.Terms()
    }

    /// How many of a tenant's messages may wait.
    func queuedMax(of tenant: String) -> Int {
        policies[tenant]?.queuedMax ?? TenantDirectory.queuedMaxDefault
    }

    /// Reads what tenants have set, unless that was done lately.
    func refresh() async throws {
        let now = EventLoop.shared.now
        if let readAt, now - readAt < TenantDirectory.refreshInterval { return }
        readAt = now
        let rows = try await postgres.query(
            """
            select t.code, p.weight, p.max_in_flight, p.max_queued
              from dispatch.policies p join platform.tenants t on t.id = p.tenant_id
            """,
            [],
            idempotent: true
        )
        var read: [String: Policy] = [:]
        for row in rows {
            var policy = Policy()
            policy.terms.weight = try row.int("weight")
            policy.terms.inFlightMax = try row.int("max_in_flight")
            policy.queuedMax = try row.int("max_queued")
            read[try row.string("code")] = policy
        }
        policies = read
    }

    /// Has the next ``refresh()`` read everything.
    func forgetPolicies() { readAt = nil }

    /// The next tenants whose queues are to be looked into, in the order of their codes, from the
    /// beginning again after the last.
    func toSweep() async throws -> [String] {
        let codes = try await postgres.query(
            "select code from platform.tenants where code > $1 order by code limit $2",
            [.string(lastSwept), .int(TenantDirectory.sweepMax)],
            idempotent: true
        ).map { try $0.string("code") }
        lastSwept = codes.count < TenantDirectory.sweepMax ? "" : codes[codes.count - 1]
        return codes
    }
}
