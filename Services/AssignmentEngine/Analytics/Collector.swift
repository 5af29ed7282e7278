internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Outbox
internal import Platform
internal import RedisClient

/// Something that a caller reports.
struct ReportedEvent: Sendable {
    /// Counted once under this id.
    let id: UUID
    let name: String
    /// Milliseconds since 1970.
    let at: Int64
    let properties: JSON
}

/// Publishes what callers report to the stream `analytics:events`.
///
/// Its client is its own: it shares nothing with the turns of the assignment but the server.
@LoopActor
final class Collector {
    /// Events that one request may bring.
    static let eventsPerRequest = 1000

    /// Events that may wait to be counted: half of what the stream keeps, so that none is thrown
    /// away unread while several processes take them.
    static let waitingMax = EventStreams.analyticsLengthLimit / 2

    private let redis: RedisClient?
    private let backlog: StreamBacklog?

    init(redis: RedisClient?) {
        self.redis = redis
        backlog = redis.map {
            StreamBacklog(
                redis: $0,
                stream: EventStreams.analytics,
                group: Processor.group,
                limit: Collector.waitingMax
            )
        }
    }

    /// Appends events in order; returns once Redis has all of them.
    ///
    /// - Throws: `RedisError` when it does not; the caller reports them again, and those that were
    ///   taken are known by their ids. A 503 when too many wait to be counted; none is taken then.
    func collect(_ tenant: Tenant, _ events: [ReportedEvent]) async throws {
        guard let redis, let backlog else {
            throw RedisError(.notConnected, command: "XADD", message: "redis is disabled")
        }
        guard await backlog.takes(events.count) else {
            throw Problem.unavailable(
                "more than \(Collector.waitingMax) events wait to be counted; report these again later",
                code: "events_backlog"
            )
        }
        let replies = try await redis.pipeline(
            events.map { event in
                [
                    "XADD", .string(EventStreams.analytics), "MAXLEN", "~",
                    .int(EventStreams.analyticsLengthLimit), "*", "id", .string(event.id.text),
                    "name", .string(event.name), "tenant", .string(tenant.code),
                    "at", .string(RFC3339.string(event.at)),
                    "data", .string(event.properties.text),
                ]
            }
        )
        for reply in replies {
            if let message = reply.errorMessage {
                throw RedisError(.server, command: "XADD", message: message)
            }
        }
    }
}
