public import EventLoop
public import RedisClient

/// Which tenants have work, and from when on: shared by all producers and workers of one kind of
/// queue.
///
/// Nobody can block on thousands of queues; workers block on the ring's one marker. An entry is
/// taken out only if nobody rang since it was read, so that a job added meanwhile is not forgotten;
/// what rings never (other clients' producers) is found by a sweep.
@LoopActor
public final class TenantRing {
    let redis: RedisClient
    /// The ring's name: a sorted set of tenant and due time in ms, with `…:rung` and `…:marker`
    /// beside it.
    public let key: String

    /// The ring of what begins with `name`; on a cluster all its keys share a slot by the braces,
    /// which are those of the name if it has some.
    public init(_ name: String, redis: RedisClient) {
        self.redis = redis
        key = RedisKeySlot.tag(of: name) == nil ? "{\(name)}:ring" : "\(name):ring"
    }

    private var keys: [String] { [key, "\(key):rung", "\(key):marker"] }

    /// Tells that tenants have work, now or from `due` on (ms since 1970).
    public func ring(_ tenants: [String], due: Int64 = 0) async throws(JobQueueError) {
        guard !tenants.isEmpty else { return }
        _ = try await run(
            TenantRing.ringing,
            [.int(due)] + tenants.map { .string($0) }
        )
    }

    /// Puts tenants into the ring.
    ///
    /// KEYS: the ring, its generations, its marker. ARGV: due, tenants. A tenant that is due earlier stays so.
    private static let ringing = RedisScript(
        """
        for i = 2, #ARGV do
          -- Numbers of one counter, so that none comes twice for a tenant that was taken out.
          redis.call('HSET', KEYS[2], ARGV[i], redis.call('HINCRBY', KEYS[2], '', 1))
          redis.call('ZADD', KEYS[1], 'LT', ARGV[1], ARGV[i])
        end
        if ARGV[1] == '0' then
          redis.call('ZADD', KEYS[3], 0, '0')
        else
          local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
          redis.call('ZADD', KEYS[3], head, '1')
        end
        return 0
        """,
        name: "ring"
    )

    /// What a look at the ring showed.
    struct Look {
        /// Tenants that are due, with the generation that they were rung in.
        var due: [(tenant: String, generation: String)] = []
        /// When the next other one is due.
        var next: Int64?
    }

    /// The tenants that are due.
    func look(now: Int64, limit: Int) async throws(JobQueueError) -> Look {
        let answer = try await run(TenantRing.looking, [.int(now), .int(Int64(limit))])
        guard let parts = answer.array, parts.count == 2 else {
            throw JobQueueError(.oddAnswer, "the ring answered \(answer)")
        }
        let due = parts[0].pairs.compactMap { tenant, generation in
            tenant.text.map { (tenant: $0, generation: generation.text ?? "0") }
        }
        return Look(
            due: due,
            next: parts[1].text.flatMap { Double($0) }.map { Score.due(ofMarker: $0) }
        )
    }

    /// Looks who is due.
    ///
    /// KEYS as above. ARGV: now, how many. Returns {tenant, generation, …} and the next due time.
    private static let looking = RedisScript(
        """
        local found = {}
        local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
        for _, tenant in ipairs(due) do
          found[#found + 1] = tenant
          found[#found + 1] = redis.call('HGET', KEYS[2], tenant) or '0'
        end
        local next = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES',
          'LIMIT', 0, 1)[2]
        return {found, next or false}
        """,
        name: "ring-look"
    )

    /// Settles a tenant whose queue had nothing more: it is due at `next`, or out of the ring.
    ///
    /// - Returns: false when somebody rang since the look, so that the entry stays as it is.
    func settle(
        _ tenant: String,
        generation: String,
        next: Int64?
    ) async throws(JobQueueError) -> Bool {
        let arguments: [RedisArgument] = [
            .string(tenant), .string(generation), next.map { .int($0) } ?? .string(""),
        ]
        return try await run(TenantRing.settling, arguments).integer == 1
    }

    /// Moves or removes an entry that nobody rang since.
    ///
    /// KEYS as above. ARGV: tenant, generation, due (empty: none). Returns 1 when it was settled.
    private static let settling = RedisScript(
        """
        if (redis.call('HGET', KEYS[2], ARGV[1]) or '0') ~= ARGV[2] then return 0 end
        if ARGV[3] == '' then
          redis.call('ZREM', KEYS[1], ARGV[1])
          redis.call('HDEL', KEYS[2], ARGV[1])
        else
          redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
          redis.call('ZADD', KEYS[3], ARGV[3], '1')
        end
        return 1
        """,
        name: "ring-settle"
    )

    private func run(
        _ script: RedisScript,
        _ arguments: [RedisArgument]
    ) async throws(JobQueueError) -> RedisValue {
        do {
            return try await redis.run(
                script,
                keys: keys,
                arguments: arguments,
                within: Queue.callLimit
            )
        } catch {
            throw JobQueueError(error)
        }
    }
}
