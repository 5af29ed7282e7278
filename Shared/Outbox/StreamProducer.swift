public import EventLoop
internal import FoundationEssentials
internal import JSON
public import RedisClient

/// Puts events onto Redis streams.
@LoopActor
public final class StreamProducer {
    private let redis: RedisClient?
    private let streams: EventStreams

    /// A producer into `redis`.
    ///
    /// Without one there is no stream, and nobody reads one: events then are only in the table.
    public init(_ redis: RedisClient?, _ streams: EventStreams = EventStreams()) {
        self.redis = redis
        self.streams = streams
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
            "XADD", .string(streams.stream(for: event.tenant)), "MAXLEN", "~",
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
