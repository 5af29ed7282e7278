internal import EventLoop
internal import JSON
internal import Logging
internal import Outbox
internal import Platform
internal import PostgresClient
internal import RedisClient

/// Counts events by minute and hour: those that callers report, and those of the product itself.
///
/// Several processes share the work as one group of consumers. An entry is acknowledged after its
/// count was committed; one that comes again is known by its id and changes nothing.
@LoopActor
final class Processor {
    static let group = "reports"
    /// A report is by the minute, and each batch costs a statement and a commit.
    static let gathering: Duration = .milliseconds(250)

    private let redis: RedisClient
    private let blocking: [RedisBlockingConnection]
    private let consumers: [StreamConsumer]
    private let logger: Logger

    /// A processor with connections of its own.
    ///
    /// - Parameters:
    ///   - consumer: this process's name within the group.
    ///   - claimIdle: how long an entry rests with a silent process before another takes it.
    init(
        redis: RedisClient,
        configuration: RedisConfiguration,
        postgres: PostgresClient,
        consumer: String,
        claimIdle: Duration,
        logger: Logger
    ) {
        self.redis = redis
        self.logger = logger
        let streams = [
            ("analytics", EventStreams.analytics), ("switchboard", EventStreams.switchboard),
        ]
        let note: @LoopActor (StreamEvent) -> Void = { logger.note($0, reader: Processor.group) }
        var blocking: [RedisBlockingConnection] = []
        consumers = streams.map { source, stream in
            let connection = RedisBlockingConnection(configuration)
            blocking.append(connection)
            return StreamConsumer(
                redis: redis,
                blocking: connection,
                stream: stream,
                group: Processor.group,
                consumer: consumer,
                claimIdle: claimIdle,
                gathering: Processor.gathering,
                // What callers report stands nowhere else.
                replay: stream == EventStreams.switchboard
                    ? StreamReplay(
                        postgres: postgres,
                        stream: stream,
                        reader: Processor.group,
                        worker: consumer,
                        observer: note
                    ) : nil,
                observer: note,
                handler: { try await Processor.count($0, source, postgres) }
            )
        }
        self.blocking = blocking
    }

    /// How many events of both streams are not counted yet; nil when Redis does not say.
    func lag() async -> Int64? {
        var sum: Int64 = 0
        for consumer in consumers {
            guard let lag = await consumer.lag() else { return nil }
            sum += lag
        }
        return sum
    }

    func start() async {
        for connection in blocking {
            do {
                try await connection.start()
            } catch {
                // It goes on trying by itself.
                logger.warning("events are not read yet", metadata: ["reason": "\(error)"])
            }
        }
        for consumer in consumers { consumer.start() }
    }

    func stop() async {
        for consumer in consumers { await consumer.stop() }
    }

    private static func count(
        _ entries: [StreamEntry],
        _ source: String,
        _ postgres: PostgresClient
    ) async throws {
        let events = entries.map { entry -> JSON in
            let fields = entry.fields
            return [
                "id": JSON(fields["id"]), "tenant": JSON(fields["tenant"]),
                "source": .string(source), "name": JSON(fields["name"]), "at": JSON(fields["at"]),
            ]
        }
        _ = try await postgres.query(
            "select assignment.count_events($1::jsonb)",
            [.json(JSON.array(events).text)],
            idempotent: true
        )
    }
}
