public import EventLoop
public import RedisClient

/// Limits shared by all instances; Redis's own clock decides, so instances need not agree on time.
@LoopActor
public final class RedisRateLimiter: RateLimiter {
    private let redis: RedisClient
    private let algorithm: RateLimitAlgorithm

    /// A limiter in `redis`.
    public nonisolated init(_ redis: RedisClient, algorithm: RateLimitAlgorithm = .slidingLog) {
        self.redis = redis
        self.algorithm = algorithm
    }

    /// KEYS[1] a sorted set of members by time.
    ///
    /// ARGV: member, limit, window in ms. Returns {1 admitted or 0, members now, ms to wait}. Only
    /// an admitted hit moves the expiry.
    private static let slidingLog = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local limit, window = tonumber(ARGV[2]), tonumber(ARGV[3])
        redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
        local count = redis.call('ZCARD', KEYS[1])
        if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {1, count, 0} end
        if count < limit then
          redis.call('ZADD', KEYS[1], now, ARGV[1])
          redis.call('PEXPIRE', KEYS[1], window)
          return {1, count + 1, 0}
        end
        local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
        if not oldest[2] then return {0, count, window} end
        return {0, count, math.max(1, oldest[2] + window - now)}
        """
    )

    /// KEYS[1] a counter.
    ///
    /// ARGV: member (unused), limit, window in ms. Returns as above. The counter gets its expiry
    /// with its first hit, or when it has none; later hits leave it.
    private static let fixedWindow = RedisScript(
        """
        local limit, window = tonumber(ARGV[2]), tonumber(ARGV[3])
        local count = tonumber(redis.call('GET', KEYS[1]) or '0')
        local left = redis.call('PTTL', KEYS[1])
        if count >= limit and left > 0 then return {0, count, left} end
        count = redis.call('INCR', KEYS[1])
        if count == 1 or left < 0 then redis.call('PEXPIRE', KEYS[1], window) end
        if count > limit then return {0, count, window} end
        return {1, count, 0}
        """
    )

    /// Asks in one script call.
    public func admit(
        _ key: String,
        member: String,
        limit: Int,
        window: Duration
    ) async throws(CoordinationError) -> RateVerdict {
        let script =
            switch algorithm {
            case .slidingLog: RedisRateLimiter.slidingLog
            case .fixedWindow: RedisRateLimiter.fixedWindow
            }
        let reply = try await answered("rate_limit") { () async throws(RedisError) in
            try await redis.run(
                script,
                keys: [key],
                arguments: [.string(member), .int(Int64(limit)), .int(window.milliseconds)]
            )
        }
        guard let parts = reply.array, parts.count == 3, let admitted = parts[0].integer,
            let count = parts[1].integer, let wait = parts[2].integer
        else { throw CoordinationError(operation: "rate_limit", message: "odd reply \(reply)") }
        return RateVerdict(
            admitted: admitted == 1,
            count: Int(count),
            retryAfter: .milliseconds(wait)
        )
    }
}
