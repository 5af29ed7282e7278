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
    /// How many generations are remembered; above it they are learnt anew.
    private static let knownMax = 10_000

    private let redis: RedisClient
    /// The generation that each group had: a guess.
    private var known: [String: Int64] = [:]
    /// What the server is being asked.
    private var questions: [String: GenerationQuestion] = [:]

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
    /// With the right guess that is one MGET: a fraction of what the script costs the server.
    public func get(
        _ group: String,
        _ key: String
    ) async throws(CoordinationError) -> CacheLookup {
        if let generation = known[group] {
            let lookup = try await look(group, key, at: generation)
            if lookup.generation == generation { return lookup }
        }
        return try await read(group, key)
    }

    /// Asks once for all who want to know in the same tick of the loop.
    public func generation(of group: String) async throws(CoordinationError) -> Int64 {
        if let question = questions[group], question.isOpen { return try await question.answer() }
        return try await ask(group)
    }

    @inline(never)  // Its frame would be part of what every reader holds while it waits.
    private func ask(_ group: String) async throws(CoordinationError) -> Int64 {
        let question = GenerationQuestion()
        questions[group] = question
        let answer: GenerationQuestion.Answer
        do {
            let reply = try await redis.send(["GET", .string("cg:\(group)")])
            answer = .success(reply.integer ?? 0)
        } catch {
            answer = .failure(CoordinationError(operation: "cache", message: "\(error)"))
        }
        // Another one may stand there since.
        if questions[group] === question { questions[group] = nil }
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
        return learnt(group, reply)
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
        return learnt(group, reply)
    }

    /// The generation and, if there is one, the value.
    private func learnt(_ group: String, _ reply: RedisValue) -> CacheLookup {
        let parts = reply.array ?? []
        let lookup = CacheLookup(
            generation: parts.first?.integer ?? 0,
            value: parts.count > 1 ? parts[1].bytes : nil
        )
        if known.count >= RedisGenerationCache.knownMax { known = [:] }
        known[group] = lookup.generation
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
