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
    /// ARGV: member, limit, window in ms. Returns {1 admitted or 0, members now, ms to wait, stamp,
    /// the stamp before or 0}. Only an admitted hit moves the expiry.
    private static let slidingLog = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local limit, window = tonumber(ARGV[2]), tonumber(ARGV[3])
        redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
        local count = redis.call('ZCARD', KEYS[1])
        local before = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
        if before > 0 or count < limit then
          local stamp = math.max(now, before + 1)
          redis.call('ZADD', KEYS[1], stamp, ARGV[1])
          redis.call('PEXPIRE', KEYS[1], window + stamp - now)
          return {1, count + (before > 0 and 0 or 1), 0, stamp, before}
        end
        local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
        if not oldest[2] then return {0, count, window, 0, 0} end
        return {0, count, math.max(1, oldest[2] + window - now), 0, 0}
        """
    )

    /// KEYS[1] a sorted set of members by time.
    ///
    /// ARGV: member, its stamp, the stamp before or 0. Returns 1 when it was taken back.
    private static let slidingBack = RedisScript(
        """
        local at = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
        if at ~= tonumber(ARGV[2]) then return 0 end
        if ARGV[3] == '0' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
        redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
        return 1
        """
    )

    /// KEYS[1] a sorted set of members by time.
    ///
    /// ARGV: member, window in ms. Returns its stamp.
    private static let slidingLater = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local at = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
        local stamp = math.max(now, at + 1)
        redis.call('ZADD', KEYS[1], stamp, ARGV[1])
        redis.call('PEXPIRE', KEYS[1], ARGV[2] + stamp - now)
        return stamp
        """
    )

    /// KEYS[1] a counter.
    ///
    /// ARGV: member (unused), limit, window in ms. Returns as above; the stamp is the window's end.
    /// The counter gets its expiry with its first hit, or when it has none; later hits leave it.
    private static let fixedWindow = RedisScript(
        """
        local limit, window = tonumber(ARGV[2]), tonumber(ARGV[3])
        local count = tonumber(redis.call('GET', KEYS[1]) or '0')
        local left = redis.call('PTTL', KEYS[1])
        if count >= limit and left > 0 then return {0, count, left, 0, 0} end
        count = redis.call('INCR', KEYS[1])
        if count == 1 or left < 0 then
          redis.call('PEXPIRE', KEYS[1], window)
          left = window
        end
        if count > limit then return {0, count, window, 0, 0} end
        local time = redis.call('TIME')
        return {1, count, 0, time[1] * 1000 + math.floor(time[2] / 1000) + left, 0}
        """
    )

    /// KEYS[1] a counter.
    ///
    /// ARGV: the end of the hit's window, the window in ms. Returns 1 when it was taken back. The end
    /// is not known to the millisecond; another window's is a whole window away.
    private static let fixedBack = RedisScript(
        """
        local count = tonumber(redis.call('GET', KEYS[1]) or '0')
        local time = redis.call('TIME')
        local ends = time[1] * 1000 + math.floor(time[2] / 1000) + redis.call('PTTL', KEYS[1])
        if count < 1 or math.abs(ends - ARGV[1]) > ARGV[2] / 2 then return 0 end
        redis.call('DECR', KEYS[1])
        return 1
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
        guard let parts = reply.array, parts.count == 5, let admitted = parts[0].integer,
            let count = parts[1].integer, let wait = parts[2].integer,
            let stamp = parts[3].integer, let before = parts[4].integer
        else { throw CoordinationError(operation: "rate_limit", message: "odd reply \(reply)") }
        return RateVerdict(
            admitted: admitted == 1,
            count: Int(count),
            retryAfter: .milliseconds(wait),
            place: admitted == 1
                ? RatePlace(stamp: stamp, before: before == 0 ? nil : before) : nil
        )
    }

    /// Takes a hit back in one script call.
    public func giveBack(
        _ key: String,
        member: String,
        _ place: RatePlace,
        window: Duration
    ) async throws(CoordinationError) {
        switch algorithm {
        case .slidingLog:
            try await change(
                RedisRateLimiter.slidingBack,
                key,
                [.string(member), .int(place.stamp), .int(place.before ?? 0)]
            )
        case .fixedWindow:
            try await change(
                RedisRateLimiter.fixedBack,
                key,
                [.int(place.stamp), .int(window.milliseconds)]
            )
        }
    }

    /// Puts a hit off in one script call.
    public func putOff(
        _ key: String,
        member: String,
        window: Duration
    ) async throws(CoordinationError) {
        guard algorithm == .slidingLog else { return }
        try await change(
            RedisRateLimiter.slidingLater,
            key,
            [.string(member), .int(window.milliseconds)]
        )
    }

    private func change(
        _ script: RedisScript,
        _ key: String,
        _ arguments: [RedisArgument]
    ) async throws(CoordinationError) {
        _ = try await answered("rate_limit") { () async throws(RedisError) in
            try await redis.run(script, keys: [key], arguments: arguments)
        }
    }
}
