public import EventLoop
public import RedisClient

/// A lock and the slots of what it is for, taken in one step: all of them, or none.
///
/// What ``RedisLockStore`` and ``RedisPacer`` do one after the other, on the same keys, in one round
/// trip; whoever has to wait for one slot loses none of the others. A lock with another tag than the
/// slots lies elsewhere on a cluster: it is taken first then, and given back when a slot is not free.
@LoopActor
public final class RedisClaims {
    /// A slot of a key; see ``Pacer``.
    public struct Slot: Sendable, Hashable {
        /// The pacer's key.
        public let key: String
        /// The time between two slots when nothing was saved up.
        public let interval: Duration
        /// How many may be taken at once after a quiet time; at least 1.
        public let burst: Int

        /// The next slot of `key`.
        public init(_ key: String, interval: Duration, burst: Int) {
            self.key = key
            self.interval = interval
            self.burst = burst
        }

        var arguments: [RedisArgument] {
            [.int(interval.nanoseconds / 1000), .int(Int64(max(1, burst)))]
        }
    }

    /// What came of it.
    public enum Outcome: Sendable, Hashable {
        /// Lock and slots are the caller's.
        case taken
        /// Somebody holds the lock; nothing was taken.
        case locked(LockHolder)
        /// The slot at this place is taken for so long; nothing was.
        case refused(slot: Int, wait: Duration)
    }

    private let redis: RedisClient
    private let locks: RedisLockStore

    /// Claims in `redis`.
    public nonisolated init(_ redis: RedisClient) {
        self.redis = redis
        locks = RedisLockStore(redis)
    }

    /// KEYS: the lock, then each slot's.
    ///
    /// ARGV: the lock's value, milliseconds; interval in µs and burst of each slot. Returns {} when all
    /// is taken, {value, milliseconds} of a lock that is held, or {place from 0, µs to wait} of a slot
    /// that is not free.
    private static let taking = RedisScript(
        """
        local holder = redis.call('GET', KEYS[1])
        if holder then return {holder, redis.call('PTTL', KEYS[1])} end

        """ + RedisPacer.slots + """
            local arrivals = {}
            for i = 2, #KEYS do
              local wait
              wait, arrivals[i] = look(KEYS[i], tonumber(ARGV[i * 2 - 1]), tonumber(ARGV[i * 2]))
              if wait > 0 then return {i - 2, wait} end
            end
            for i = 2, #KEYS do take(KEYS[i], tonumber(ARGV[i * 2 - 1]), arrivals[i]) end
            redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            return {}
            """,
        name: "claim"
    )

    /// KEYS: each slot's.
    ///
    /// ARGV: interval in µs and burst of each. Returns as above, {} when all slots are taken.
    private static let reserving = RedisScript(
        RedisPacer.slots + """
            local arrivals = {}
            for i = 1, #KEYS do
              local wait
              wait, arrivals[i] = look(KEYS[i], tonumber(ARGV[i * 2 - 1]), tonumber(ARGV[i * 2]))
              if wait > 0 then return {i - 1, wait} end
            end
            for i = 1, #KEYS do take(KEYS[i], tonumber(ARGV[i * 2 - 1]), arrivals[i]) end
            return {}
            """,
        name: "claim-slots"
    )

    /// Takes `lock` for `ttl` and a slot of each of `slots`, in one script call if they lie together.
    ///
    /// - Parameters:
    ///   - value: what the holder leaves in the lock; must begin with its unique token.
    ///   - slots: of different keys.
    /// - Throws: ``CoordinationError`` when Redis is away; whether anything was taken is not known.
    public func take(
        _ lock: String,
        value: String,
        ttl: Duration,
        slots: [Slot]
    ) async throws(CoordinationError) -> Outcome {
        guard RedisKeySlot.shareSlot([lock] + slots.map(\.key)) else {
            return try await takeApart(lock, value: value, ttl: ttl, slots: slots)
        }
        var arguments: [RedisArgument] = [.string(value), .int(ttl.milliseconds)]
        for slot in slots { arguments += slot.arguments }
        let reply = try await answered("claim") { () async throws(RedisError) in
            try await redis.run(
                RedisClaims.taking,
                keys: [lock] + slots.map(\.key),
                arguments: arguments
            )
        }
        guard let pair = reply.array, pair.isEmpty || pair.count == 2 else {
            throw CoordinationError(operation: "claim", message: "odd reply \(reply)")
        }
        return try RedisClaims.outcome(pair, reply)
    }

    /// The lock first, as it is the one that another may have for long.
    private func takeApart(
        _ lock: String,
        value: String,
        ttl: Duration,
        slots: [Slot]
    ) async throws(CoordinationError) -> Outcome {
        guard try await locks.acquire(lock, value: value, ttl: ttl) else {
            let holder = try await locks.holder(of: lock)
            return .locked(holder ?? LockHolder(value: "", remaining: .zero))
        }
        let outcome: Outcome
        do throws(CoordinationError) {
            let reply = try await answered("claim") { () async throws(RedisError) in
                try await redis.run(
                    RedisClaims.reserving,
                    keys: slots.map(\.key),
                    arguments: slots.flatMap(\.arguments)
                )
            }
            outcome = try RedisClaims.outcome(reply.array ?? [reply], reply)
        } catch {
            _ = try? await locks.release(lock, value: value)
            throw error
        }
        if outcome != .taken { try await locks.release(lock, value: value) }
        return outcome
    }

    private static func outcome(
        _ pair: [RedisValue],
        _ reply: RedisValue
    ) throws(CoordinationError) -> Outcome {
        if pair.isEmpty { return .taken }
        if pair.count == 2, case .int(let place) = pair[0], let wait = pair[1].integer {
            return .refused(slot: Int(place), wait: .microseconds(wait))
        }
        guard pair.count == 2, let value = pair[0].text, let left = pair[1].integer else {
            throw CoordinationError(operation: "claim", message: "odd reply \(reply)")
        }
        return .locked(LockHolder(value: value, remaining: .milliseconds(left)))
    }
}
