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

    private let reported: StreamConsumer
    private let reporting: RedisBlockingConnection
    private let happened: EventReaders
    private let logger: Logger

    /// A processor with connections of its own.
    ///
    /// - Parameters:
    ///   - consumer: this process's name within the group.
    ///   - claimIdle: how long an entry rests with a silent process before another takes it.
    init(
        redis: RedisClient,
        configuration: ServiceConfiguration,
        postgres: PostgresClient,
        consumer: String,
        claimIdle: Duration,
        logger: Logger
    ) {
        self.logger = logger
        let note: @LoopActor (StreamEvent) -> Void = { logger.note($0, reader: Processor.group) }
        reporting = RedisBlockingConnection(configuration.redis.serving(EventStreams.analytics))
        // What callers report stands nowhere else: there is nothing to read it again from.
        reported = StreamConsumer(
            redis: redis,
            blocking: reporting,
            stream: EventStreams.analytics,
            group: Processor.group,
            consumer: consumer,
            claimIdle: claimIdle,
            gathering: Processor.gathering,
            observer: note,
            handler: { try await Processor.count($0, "analytics", postgres) }
        )
        happened = EventReaders(
            redis: redis,
            configuration: configuration.redis,
            postgres: postgres,
            streams: configuration.eventStreams,
            group: Processor.group,
            worker: consumer,
            claimIdle: claimIdle,
            gathering: Processor.gathering,
            observer: note,
            handler: { try await Processor.count($0, "switchboard", postgres) }
        )
    }

    /// How many events are not counted yet; nil when Redis does not say.
    func lag() async -> Int64? {
        guard let reported = await reported.lag(), let happened = await happened.lag() else {
            return nil
        }
        return reported + happened
    }

    /// - Throws: when the database does not say which streams there are.
    func start() async throws {
        do {
            try await reporting.start()
        } catch {
            // It goes on trying by itself.
            logger.warning("events are not read yet", metadata: ["reason": "\(error)"])
        }
        reported.start()
        try await happened.start()
    }

    func stop() async {
        await reported.stop()
        await happened.stop()
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
