public import EventLoop
public import RedisClient

/// Locks shared by all instances: `SET key value NX PX ttl`, and compare-and-delete.
@LoopActor
public final class RedisLockStore: LockStore {
    private let redis: RedisClient

    /// Locks in `redis`.
    public nonisolated init(_ redis: RedisClient) {
        self.redis = redis
    }

    /// KEYS[1] the lock, ARGV[1] its value.
    ///
    /// Returns 1 when it was ours and is free now, else 0.
    private static let releasing = RedisScript(
        """
        if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
        return 0
        """
    )

    /// KEYS[1] the lock, ARGV[1] its value, ARGV[2] milliseconds.
    ///
    /// Returns 1 when it was ours.
    private static let renewing = RedisScript(
        """
        if redis.call('GET', KEYS[1]) == ARGV[1] then
          return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        end
        return 0
        """
    )

    /// KEYS[1] the lock, ARGV[1] its value, ARGV[2] the new one.
    ///
    /// Returns 1 when it was ours.
    private static let replacing = RedisScript(
        """
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
        return 1
        """
    )

    /// KEYS[1] the lock.
    ///
    /// Returns its value and its time to live in milliseconds, or nothing.
    private static let looking = RedisScript(
        """
        local value = redis.call('GET', KEYS[1])
        if not value then return {} end
        return {value, redis.call('PTTL', KEYS[1])}
        """
    )

    /// Takes the lock in one command.
    public func acquire(
        _ key: String,
        value: String,
        ttl: Duration
    ) async throws(CoordinationError) -> Bool {
        let reply = try await answered("lock") { () async throws(RedisError) in
            try await redis.send([
                "SET", .string(key), .string(value), "NX", "PX", .int(ttl.milliseconds),
            ])
        }
        return reply != .null
    }

    /// Frees the lock if it is ours.
    @discardableResult
    public func release(_ key: String, value: String) async throws(CoordinationError) -> Bool {
        try await answered("lock") { () async throws(RedisError) in
            try await redis.run(
                RedisLockStore.releasing,
                keys: [key],
                arguments: [.string(value)]
            )
        } == .int(1)
    }

    /// Renews the lock if it is ours.
    public func renew(
        _ key: String,
        value: String,
        ttl: Duration
    ) async throws(CoordinationError) -> Bool {
        try await answered("lock") { () async throws(RedisError) in
            try await redis.run(
                RedisLockStore.renewing,
                keys: [key],
                arguments: [.string(value), .int(ttl.milliseconds)]
            )
        } == .int(1)
    }

    /// Changes the lock's value if it is ours.
    public func replace(
        _ key: String,
        value: String,
        with newValue: String
    ) async throws(CoordinationError) -> Bool {
        try await answered("lock") { () async throws(RedisError) in
            try await redis.run(
                RedisLockStore.replacing,
                keys: [key],
                arguments: [.string(value), .string(newValue)]
            )
        } == .int(1)
    }

    /// The holder and its remaining time, read at one instant.
    public func holder(of key: String) async throws(CoordinationError) -> LockHolder? {
        let reply = try await answered("lock") { () async throws(RedisError) in
            try await redis.run(RedisLockStore.looking, keys: [key], arguments: [])
        }
        guard let pair = reply.array, pair.count == 2, let value = pair[0].text,
            let remaining = pair[1].integer
        else { return nil }
        return LockHolder(value: value, remaining: .milliseconds(remaining))
    }

    /// How many keys one step of a search looks at.
    static let scanStep: Int64 = 1000

    /// The keys that begin so, step by step, so that Redis is never held up.
    public func keys(
        beginningWith prefix: String,
        limit: Int
    ) async throws(CoordinationError) -> [String] {
        var found: Set<String> = []
        let scan = redis.scan(
            matching: RedisLockStore.literal(prefix) + "*",
            count: RedisLockStore.scanStep
        )
        while found.count < limit {
            let keys = try await answered("lock") { () async throws(RedisError) in
                try await scan.next()
            }
            guard let keys else { break }
            found.formUnion(keys)
        }
        return Array(found)
    }

    /// A text in which nothing stands for anything else in a pattern of Redis.
    private static func literal(_ text: String) -> String {
        text.map { "*?[]\\^".contains($0) ? "\\\($0)" : "\($0)" }.joined()
    }
}

/// Runs a Redis call and names the operation in its failure.
///
/// Part of its callers, so that naming costs no further switch to the loop and back.
@inline(__always)
@LoopActor
func answered<Value: Sendable>(
    _ operation: String,
    _ call: @LoopActor () async throws(RedisError) -> Value
) async throws(CoordinationError) -> Value {
    do {
        return try await call()
    } catch {
        throw CoordinationError(operation: operation, message: "\(error)")
    }
}
