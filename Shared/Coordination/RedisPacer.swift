public import EventLoop
public import RedisClient

/// Pacing shared by all instances, by Redis's clock.
@LoopActor
public final class RedisPacer: Pacer {
    private let redis: RedisClient

    /// A pacer in `redis`.
    public nonisolated init(_ redis: RedisClient) {
        self.redis = redis
    }

    /// The slots of a key: a hash, `a` the theoretical arrival time, `b` the end of a block, both in
    /// µs.
    ///
    /// `look` answers how many µs to wait, and the arrival with which to `take` the slot when that is
    /// nothing.
    static let slots = """
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local function look(key, interval, burst)
          local pace = redis.call('HMGET', key, 'a', 'b')
          local arrival = math.max(tonumber(pace[1] or 0), now)
          local blocked = tonumber(pace[2] or 0)
          return math.max(arrival - now - interval * (burst - 1), blocked - now), arrival
        end
        local function take(key, interval, arrival)
          redis.call('HSET', key, 'a', string.format('%.0f', arrival + interval))
          redis.call('PEXPIRE', key, math.ceil((arrival + interval - now) / 1000) + 1)
        end

        """

    /// KEYS[1] as above.
    ///
    /// ARGV: interval in µs, burst. Returns µs to wait; 0 means that the slot is taken.
    private static let reserving = RedisScript(
        slots + """
            local interval = tonumber(ARGV[1])
            local wait, arrival = look(KEYS[1], interval, tonumber(ARGV[2]))
            if wait > 0 then return wait end
            take(KEYS[1], interval, arrival)
            return 0
            """
    )

    /// KEYS[1] as above, ARGV[1] µs.
    ///
    /// Returns 1 when the block got longer.
    private static let blocking = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local ending = now + tonumber(ARGV[1])
        if tonumber(redis.call('HGET', KEYS[1], 'b') or 0) >= ending then return 0 end
        redis.call('HSET', KEYS[1], 'b', string.format('%.0f', ending))
        local left = math.ceil((ending - now) / 1000) + 1
        if redis.call('PTTL', KEYS[1]) < left then redis.call('PEXPIRE', KEYS[1], left) end
        return 1
        """
    )

    /// Reserves a slot in one script call.
    public func reserve(
        _ key: String,
        interval: Duration,
        burst: Int
    ) async throws(CoordinationError) -> Duration {
        let reply = try await answered("pace") { () async throws(RedisError) in
            try await redis.run(
                RedisPacer.reserving,
                keys: [key],
                arguments: [.int(interval.nanoseconds / 1000), .int(Int64(max(1, burst)))]
            )
        }
        guard let wait = reply.integer else {
            throw CoordinationError(operation: "pace", message: "odd reply \(reply)")
        }
        return .microseconds(wait)
    }

    /// Blocks the key in one script call.
    public func block(_ key: String, for time: Duration) async throws(CoordinationError) {
        _ = try await answered("pace") { () async throws(RedisError) in
            try await redis.run(
                RedisPacer.blocking,
                keys: [key],
                arguments: [.int(time.nanoseconds / 1000)]
            )
        }
    }
}
