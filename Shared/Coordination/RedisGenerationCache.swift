public import EventLoop
public import RedisClient

/// The cache of all instances.
///
/// `cg:<group>` holds the generation, `qc:<group>:<generation>:<key>` a value. A group begins with
/// its tenant's tag, so all of its keys share a slot.
@LoopActor
public final class RedisGenerationCache: GenerationCache {
    /// How many groups' generations are remembered; above it they are learnt anew.
    private static let seenMax = 10_000

    private let redis: RedisClient
    /// The generations that groups had when they were last looked at.
    ///
    /// Only a guess at which value to ask for: a look is answered by what the server says then.
    private var seen: [String: Int64] = [:]

    /// A cache in `redis`.
    public nonisolated init(_ redis: RedisClient) {
        self.redis = redis
    }

    /// KEYS[1] the generation, KEYS[2] the beginning of the value's key; ARGV[1] its end.
    ///
    /// Returns the generation and, if there is one, the value.
    private static let reading = RedisScript(
        """
        local generation = redis.call('GET', KEYS[1]) or '0'
        local value = redis.call('GET', KEYS[2] .. ':' .. generation .. ':' .. ARGV[1])
        if value then return {generation, value} end
        return {generation}
        """
    )

    /// KEYS the generations; ARGV[1] milliseconds.
    private static let bumping = RedisScript(
        """
        for _, key in ipairs(KEYS) do
          redis.call('INCR', key)
          redis.call('PEXPIRE', key, ARGV[1])
        end
        return #KEYS
        """
    )

    /// Reads generation and value at one instant.
    ///
    /// With the right guess that is one MGET, a fraction of what the script costs the server.
    public func get(
        _ group: String,
        _ key: String
    ) async throws(CoordinationError) -> CacheLookup {
        if let guess = seen[group] {
            let lookup = try await look(group, key, at: guess)
            if lookup.generation == guess { return lookup }
        }
        let reply = try await answered("cache") { () async throws(RedisError) in
            try await redis.run(
                RedisGenerationCache.reading,
                keys: ["cg:\(group)", "qc:\(group)"],
                arguments: [.string(key)]
            )
        }
        let parts = reply.array ?? []
        let generation = parts.first?.integer ?? 0
        if seen.count >= RedisGenerationCache.seenMax { seen.removeAll() }
        seen[group] = generation
        return CacheLookup(generation: generation, value: parts.count > 1 ? parts[1].bytes : nil)
    }

    /// The group's generation, and the value that it has if that is `generation`.
    private func look(
        _ group: String,
        _ key: String,
        at generation: Int64
    ) async throws(CoordinationError) -> CacheLookup {
        let reply = try await answered("cache") { () async throws(RedisError) in
            try await redis.send([
                "MGET", .string("cg:\(group)"), .string("qc:\(group):\(generation):\(key)"),
            ])
        }
        let parts = reply.array ?? []
        return CacheLookup(
            generation: parts.first?.integer ?? 0,
            value: parts.count > 1 ? parts[1].bytes : nil
        )
    }

    /// Keeps a value under the generation it was read in.
    public func set(
        _ group: String,
        _ key: String,
        _ value: [UInt8],
        generation: Int64,
        ttl: Duration
    ) async throws(CoordinationError) {
        _ = try await answered("cache") { () async throws(RedisError) in
            try await redis.send([
                "SET", .string("qc:\(group):\(generation):\(key)"), .bytes(value), "PX",
                .int(ttl.milliseconds),
            ])
        }
    }

    /// Counts the groups' generations up.
    public func invalidate(_ groups: [String]) async throws(CoordinationError) {
        _ = try await answered("cache") { () async throws(RedisError) in
            try await redis.run(
                RedisGenerationCache.bumping,
                keys: groups.map { "cg:\($0)" },
                arguments: [.int(CacheGeneration.ttl.milliseconds)]
            )
        }
    }
}
