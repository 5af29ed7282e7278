internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import RedisClient

/// Tenants that are too large for one node of a cluster: their jobs, locks and projections are spread
/// by the request's id over eight buckets, `{acme#0}` to `{acme#7}`, in place of the one tag `{acme}`.
///
/// `DISPATCH_LARGE_TENANTS` names them. Processes that were started with different lists must agree:
/// each writes the tenants of its own list into the sorted set `dispatch:large`, with the time, and
/// all go by what stands there. A tenant that nobody has named for a minute gets new keys with its one
/// tag again. What is left under the other kind is served meanwhile, and until a week has passed. For
/// some seconds two processes may see it differently, and a request have two jobs or two locks: they
/// prove nothing, the states in PostgreSQL decide.
@LoopActor
final class TenantBuckets {
    /// How many buckets a large tenant has.
    nonisolated static let count = 8
    /// One set for all tenants: what all processes read.
    nonisolated static let key = "dispatch:large"
    /// How many tenants may be large.
    nonisolated static let tenantsMax = 1000
    /// How often the set is written and read.
    static let refreshInterval: Duration = .seconds(5)
    /// For how long a tenant is large after a process named it.
    nonisolated static let named: Duration = .seconds(60)
    /// For how long after that it is looked whether buckets still hold something.
    nonisolated static let draining: Duration = .seconds(7 * 86_400)

    private let redis: RedisClient
    private let own: Set<String>
    /// When each tenant was last named, in ms since 1970.
    private var seen: [String: Int64] = [:]
    private var readAt: MonotonicTime?

    /// - Parameter own: the tenants that this process was told of.
    init(_ redis: RedisClient, own: Set<String>) {
        self.redis = redis
        self.own = own
    }

    // MARK: Tags

    /// The tag of the bucket of a request.
    nonisolated static func bucket(_ tenant: String, _ id: UUID) -> String {
        // FNV-1a: the same in every process, which Swift's own hash is not.
        let hash = id.text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return "\(tenant)#\(hash % UInt64(count))"
    }

    /// The tenant of a tag; no tenant's code has the sign between them.
    nonisolated static func tenant(ofTag tag: String) -> String {
        tag.firstIndex(of: "#").map { String(tag[..<$0]) } ?? tag
    }

    /// The tag of new keys of a request.
    func tag(_ tenant: String, _ id: UUID) -> String {
        isLarge(tenant) ? TenantBuckets.bucket(tenant, id) : tenant
    }

    /// The tags that keys of a request may have, that of new ones first.
    func tags(_ tenant: String, _ id: UUID) -> [String] {
        let bucket = TenantBuckets.bucket(tenant, id)
        if isLarge(tenant) { return [bucket, tenant] }
        return seen[tenant] == nil ? [tenant] : [tenant, bucket]
    }

    /// The tags of all queues in which jobs of a tenant may be.
    func queues(of tenant: String) -> [String] {
        guard isLarge(tenant) || seen[tenant] != nil else { return [tenant] }
        return [tenant] + (0..<TenantBuckets.count).map { "\(tenant)#\($0)" }
    }

    private func isLarge(_ tenant: String) -> Bool {
        if own.contains(tenant) { return true }
        guard let named = seen[tenant] else { return false }
        return WallClock.milliseconds() - named < TenantBuckets.named.milliseconds
    }

    // MARK: Agreeing

    /// Tells the others of this process's own tenants, and hears of theirs, unless that was done
    /// lately.
    ///
    /// - Throws: why Redis does not answer; what was heard before holds on.
    func refresh() async throws(RedisError) {
        let time = EventLoop.shared.now
        if let readAt, time - readAt < TenantBuckets.refreshInterval { return }
        let now = WallClock.milliseconds()
        let oldest = now - TenantBuckets.draining.milliseconds
        let key = RedisArgument.string(TenantBuckets.key)
        var commands: [[RedisArgument]] = [
            ["ZREMRANGEBYSCORE", key, "-inf", .int(oldest)],
            ["ZRANGE", key, "0", "-1", "WITHSCORES"],
        ]
        if !own.isEmpty {
            let named = own.sorted().flatMap { [RedisArgument.int(now), .string($0)] }
            // A clock that is behind takes nothing back.
            commands.insert(["ZADD", key, "GT"] + named, at: 0)
        }
        let answers = try await redis.pipeline(commands)
        if let message = answers.lazy.compactMap(\.errorMessage).first {
            throw RedisError(.server, command: "ZADD", message: message)
        }
        var seen: [String: Int64] = [:]
        for (tenant, named) in answers.last?.pairs ?? [] {
            guard let tenant = tenant.text, let named = named.text.flatMap(Double.init) else {
                continue
            }
            seen[tenant] = Int64(named)
        }
        self.seen = seen
        readAt = time
    }
}
