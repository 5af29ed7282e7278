public import EventLoop
public import RedisClient

/// Presence shared by all instances: a sorted set of a tenant's connections by when they run out.
///
/// Time is the server's, so that no instance's clock decides who is there.
@LoopActor
public final class RedisPresence: Presence {
    private let redis: RedisClient

    /// Presence in `redis`.
    public nonisolated init(_ redis: RedisClient) {
        self.redis = redis
    }

    /// KEYS[1] the set; ARGV[1] milliseconds, the rest the members.
    ///
    /// Connections that ran out are dropped on the way, at most 100 at a time.
    private static let beating = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - 60000, 'LIMIT', 0, 100)
        if #old > 0 then redis.call('ZREM', KEYS[1], unpack(old)) end
        for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
        redis.call('PEXPIRE', KEYS[1], math.max(ARGV[1] + 60000, redis.call('PTTL', KEYS[1])))
        return 1
        """
    )

    /// KEYS[1] the set; ARGV the members.
    ///
    /// Returns for each how many milliseconds it still has, 0 for none.
    private static let asking = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local left = {}
        for i, score in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(ARGV))) do
          left[i] = score and math.max(0, score - now) or 0
        end
        return left
        """
    )

    /// Members that one call of the script asks for: Lua unpacks no more than some thousands.
    private static let batch = 1000

    /// Notes a sign of life.
    public func beat(
        tenant: String,
        _ connections: [PresenceConnection],
        ttl: Duration
    ) async throws(CoordinationError) {
        _ = try await answered("presence") { () async throws(RedisError) in
            try await redis.run(
                RedisPresence.beating,
                keys: [key(tenant)],
                arguments: [.int(ttl.milliseconds)] + connections.map { .string($0.member) }
            )
        }
    }

    /// Forgets a connection.
    public func leave(
        tenant: String,
        _ connection: PresenceConnection
    ) async throws(CoordinationError) {
        _ = try await answered("presence") { () async throws(RedisError) in
            try await redis.send(["ZREM", .string(key(tenant)), .string(connection.member)])
        }
    }

    /// Asks for many connections at once.
    public func remaining(
        tenant: String,
        _ connections: [PresenceConnection]
    ) async throws(CoordinationError) -> [Duration] {
        var result: [Duration] = []
        for start in stride(from: 0, to: connections.count, by: RedisPresence.batch) {
            let end = min(start + RedisPresence.batch, connections.count)
            let members = connections[start..<end].map { RedisArgument.string($0.member) }
            let reply = try await answered("presence") { () async throws(RedisError) in
                try await redis.run(
                    RedisPresence.asking,
                    keys: [key(tenant)],
                    arguments: members
                )
            }
            result += (reply.array ?? []).map { .milliseconds($0.integer ?? 0) }
        }
        return result
    }

    private func key(_ tenant: String) -> String { "presence:{\(tenant)}:users" }
}
