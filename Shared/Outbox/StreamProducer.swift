public import EventLoop
internal import FoundationEssentials
internal import JSON
public import RedisClient

/// The names of the event streams; nobody spells a key elsewhere.
public enum EventStreams {
    /// What happened in the product.
    public static let switchboard = "switchboard:events"
    /// What callers report.
    public static let analytics = "analytics:events"
    /// How many entries a stream keeps, about: some 30 MB.
    ///
    /// What it has no room for is read again from the outbox; see ``StreamReplay``.
    public static let lengthLimit: Int64 = 100_000
    /// How many entries the stream of what callers report keeps, about: a minute of the busiest that
    /// is planned for, since nothing else holds them until they are counted.
    public static let analyticsLengthLimit: Int64 = 300_000

    /// The stream of a tenant's events.
    ///
    /// One partition so far; a hot one is split here.
    public static func stream(for tenant: String) -> String { switchboard }
}

/// Puts events onto Redis streams.
@LoopActor
public final class StreamProducer {
    private let redis: RedisClient?

    /// A producer into `redis`.
    ///
    /// Without one there is no stream, and nobody reads one: events then are only in the table.
    public init(_ redis: RedisClient?) {
        self.redis = redis
    }

    /// Appends events in order, in one pipeline.
    ///
    /// - Throws: `RedisError` when any of them was not taken; the caller publishes all of them again,
    ///   and consumers know those that they have by id.
    public func publish(_ events: [OutboxRow]) async throws(RedisError) {
        guard let redis else { return }
        let replies = try await redis.pipeline(events.map(command))
        for reply in replies {
            if let message = reply.errorMessage {
                throw RedisError(.server, command: "XADD", message: message)
            }
        }
    }

    private func command(_ event: OutboxRow) -> [RedisArgument] {
        let command: [RedisArgument] = [
            "XADD", .string(EventStreams.stream(for: event.tenant)), "MAXLEN", "~",
            .int(EventStreams.lengthLimit), "*",
            "id", .string(event.eventID.text),
            "name", .string(event.target),
            "tenant", .string(event.tenant),
            "key", .string(event.key),
            "version", .int(event.keyVersion),
            "at", .string(RFC3339.string(event.createdAt)),
            "data", .string(event.payload),
        ]
        guard let traceparent = event.traceparent else { return command }
        return command + ["traceparent", .string(traceparent)]
    }
}
