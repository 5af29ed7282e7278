public import EventLoop
public import RedisClient

/// A counter that all instances share and that outlives them: `assignment:rr:<contextKey>`.
///
/// `INCR` alone decides; the time to live of a week is refreshed beside it, in one transaction.
@LoopActor
public final class RedisRoundRobinContextProvider: RoundRobinContextProvider {
    /// `redis`.
    public let name = "redis"
    /// How long an unused counter is kept, in seconds.
    public static let ttlSeconds: Int64 = 604_800

    private let redis: RedisClient

    /// Counters in `redis`.
    public nonisolated init(_ redis: RedisClient) {
        self.redis = redis
    }

    /// The key of a context.
    ///
    /// It has no braces: the context is a UUID and the key stands alone.
    public nonisolated static func key(_ contextKey: String) -> String {
        "assignment:rr:\(contextKey)"
    }

    /// Counts in Redis: the n-th call answers `(n - 1) % candidateCount`.
    public func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        precondition(candidateCount > 0, "there is nobody to choose from")
        let key = RedisRoundRobinContextProvider.key(contextKey)
        let replies = try await answered("round_robin") { () async throws(RedisError) in
            try await redis.transaction([
                ["INCR", .string(key)],
                ["EXPIRE", .string(key), .int(RedisRoundRobinContextProvider.ttlSeconds)],
            ])
        }
        // A failed EXPIRE never fails an assignment; only the counter's own answer counts.
        guard let count = replies.first?.integer, count > 0 else {
            throw CoordinationError(
                operation: "round_robin",
                message: "odd reply \(replies.first ?? .null)"
            )
        }
        return Int((count - 1) % Int64(candidateCount))
    }
    /// Looks at the counter without touching it.
    public func peekNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        precondition(candidateCount > 0, "there is nobody to choose from")
        let key = RedisRoundRobinContextProvider.key(contextKey)
        let reply = try await answered("round_robin") { () async throws(RedisError) in
            try await redis.send(["GET", .string(key)])
        }
        return Int((reply.text.flatMap(Int64.init) ?? 0) % Int64(candidateCount))
    }
}
