public import EventLoop
public import RedisClient

/// How much of a stream a group has still to read: a stream keeps only so many entries, and throws
/// the oldest away, read or not.
@LoopActor
public final class StreamBacklog {
    /// How long what the server said is believed.
    private static let freshness: Duration = .milliseconds(500)

    private let redis: RedisClient
    private let stream: String
    private let group: String
    private let limit: Int64
    private var known: Int64 = 0
    private var learnt: MonotonicTime?

    /// The backlog of `group` in `stream`.
    ///
    /// - Parameter limit: entries that may wait; leave room below what the stream keeps, since other
    ///   processes add to it as well.
    public init(redis: RedisClient, stream: String, group: String, limit: Int64) {
        self.redis = redis
        self.stream = stream
        self.group = group
        self.limit = limit
    }

    /// Counts `entries` in and says true, or says false when they are too many.
    ///
    /// The server is asked when what it said is old, and before it is said to be too much. True as
    /// well when it does not know: no group reads there yet, or entries were deleted.
    public func takes(_ entries: Int) async -> Bool {
        let now = MonotonicTime.now()
        let isFresh = learnt.map { now - $0 < StreamBacklog.freshness } ?? false
        if !isFresh || known + Int64(entries) > limit {
            known = await StreamBacklog.lag(of: stream, group, in: redis) ?? 0
            learnt = now
        }
        guard known + Int64(entries) <= limit else { return false }
        known += Int64(entries)
        return true
    }

    /// How many entries of `stream` the group has not been given yet.
    ///
    /// `nil` when Redis is away or has lost count, as after entries were deleted.
    static func lag(of stream: String, _ group: String, in redis: RedisClient) async -> Int64? {
        guard let reply = try? await redis.send(["XINFO", "GROUPS", .string(stream)]) else {
            return nil
        }
        let groups = (reply.array ?? []).lazy.map(RedisFacts.init)
        return groups.first { $0["name"]?.text == group }?["lag"]?.integer
    }
}
