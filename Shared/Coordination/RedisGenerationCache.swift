internal import Crypto
public import EventLoop
internal import FoundationEssentials
public import RedisClient

/// The cache of all instances.
///
/// `cg:<group>` holds the generation, `qc:<group>:<generation>:<SHA-1 of the key>` a value. A group
/// begins with its tenant's tag, so all of its keys share a slot.
@LoopActor
public final class RedisGenerationCache: GenerationCache {
    private let redis: RedisClient
    private let copies = LocalCopies()
    private let now: @LoopActor () -> MonotonicTime

    /// A cache in `redis`; `now` is the clock of what it remembers.
    public nonisolated init(
        _ redis: RedisClient,
        now: @escaping @LoopActor () -> MonotonicTime = MonotonicTime.now
    ) {
        self.redis = redis
        self.now = now
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
    /// With the right guess that is one GET where the value is at hand, else one MGET: a fraction of
    /// what the script costs the server.
    public func get(
        _ group: String,
        _ key: String
    ) async throws(CoordinationError) -> CacheLookup {
        guard let known = copies.group(group) else { return try await read(group, key) }
        if let value = known.value(of: key, now()) {
            if try await generation(of: group, known) == known.generation {
                return CacheLookup(generation: known.generation, value: value)
            }
        } else {
            let lookup = try await look(group, key, at: known.generation)
            if lookup.generation == known.generation { return lookup }
        }
        return try await read(group, key)
    }

    /// The generation at an instant after the call.
    private func generation(
        of group: String,
        _ known: LocalCopies.Group
    ) async throws(CoordinationError) -> Int64 {
        if let question = known.question, question.isOpen { return try await question.answer() }
        let question = GenerationQuestion()
        known.question = question
        let answer: GenerationQuestion.Answer
        do {
            let reply = try await redis.send(["GET", .string("cg:\(group)")])
            answer = .success(reply.integer ?? 0)
        } catch {
            answer = .failure(CoordinationError(operation: "cache", message: "\(error)"))
        }
        // Another one may stand there since.
        if known.question === question { known.question = nil }
        question.end(answer)
        return try answer.get()
    }

    /// The group's generation, and the value that it has if that is `generation`.
    private func look(
        _ group: String,
        _ key: String,
        at generation: Int64
    ) async throws(CoordinationError) -> CacheLookup {
        let value = RedisGenerationCache.value(group, generation, key)
        let reply = try await answered("cache") { () async throws(RedisError) in
            try await redis.send(["MGET", .string("cg:\(group)"), .string(value)])
        }
        return learnt(group, key, reply)
    }

    /// Both, whatever the generation is.
    private func read(
        _ group: String,
        _ key: String
    ) async throws(CoordinationError) -> CacheLookup {
        let reply = try await answered("cache") { () async throws(RedisError) in
            try await redis.run(
                RedisGenerationCache.reading,
                keys: ["cg:\(group)", "qc:\(group)"],
                arguments: [.string(RedisGenerationCache.digest(of: key))]
            )
        }
        return learnt(group, key, reply)
    }

    /// The generation and, if there is one, the value.
    private func learnt(_ group: String, _ key: String, _ reply: RedisValue) -> CacheLookup {
        let parts = reply.array ?? []
        let lookup = CacheLookup(
            generation: parts.first?.integer ?? 0,
            value: parts.count > 1 ? parts[1].bytes : nil
        )
        copies.learn(group, key, lookup, now())
        return lookup
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
                "SET", .string(RedisGenerationCache.value(group, generation, key)),
                .bytes(value), "PX", .int(ttl.milliseconds),
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

    private nonisolated static func value(
        _ group: String,
        _ generation: Int64,
        _ key: String
    ) -> String { "qc:\(group):\(generation):\(digest(of: key))" }

    /// SHA-1 in hex: a key is as long as it likes, and what it is made of is not for Redis.
    private nonisolated static func digest(of key: String) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(2 * Insecure.SHA1.byteCount)
        for byte in Insecure.SHA1.hash(data: Array(key.utf8)) {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
