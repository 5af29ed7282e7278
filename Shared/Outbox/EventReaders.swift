public import EventLoop
public import PostgresClient
public import RedisClient

/// A process's share in a group that reads what happens in the product: a reader for each partition.
@LoopActor
public final class EventReaders {
    private let redis: RedisClient
    private let configuration: RedisConfiguration
    private let postgres: PostgresClient
    private let streams: EventStreams
    private let group: String
    private let worker: String
    private let claimIdle: Duration
    private let gathering: Duration
    private let observer: @LoopActor (StreamEvent) -> Void
    private let handler: @LoopActor ([StreamEntry]) async throws -> Void
    private var consumers: [StreamConsumer] = []

    /// Readers of `group`.
    ///
    /// - Parameters:
    ///   - configuration: of the same Redis, for a connection of each reader's own.
    ///   - streams: those that events are put onto now.
    ///   - worker: this process's name within the group.
    ///   - claimIdle: how long an entry rests unacknowledged before another process takes it.
    ///   - gathering: see ``StreamConsumer``.
    ///   - handler: handles the entries of a partition in their order; throws when they are to come again.
    public init(
        redis: RedisClient,
        configuration: RedisConfiguration,
        postgres: PostgresClient,
        streams: EventStreams,
        group: String,
        worker: String,
        claimIdle: Duration = .seconds(60),
        gathering: Duration = .zero,
        observer: @escaping @LoopActor (StreamEvent) -> Void,
        handler: @escaping @LoopActor ([StreamEntry]) async throws -> Void
    ) {
        self.redis = redis
        self.configuration = configuration
        self.postgres = postgres
        self.streams = streams
        self.group = group
        self.worker = worker
        self.claimIdle = claimIdle
        self.gathering = gathering
        self.observer = observer
        self.handler = handler
    }

    /// Begins to read every partition that events were ever put onto.
    ///
    /// So the number can be changed from one process to the next: what is still in a partition that
    /// nobody fills any more, and what others already put into a new one, is read. A partition that is
    /// new since waits for the group's next process to start.
    ///
    /// - Throws: ``PostgresError`` when the database does not say which these are.
    public func start() async throws(PostgresError) {
        let partitions = try await postgres.query(
            "select platform.event_partitions($1) as partitions",
            [.int(streams.partitions)],
            idempotent: true
        ).one().int("partitions")
        for stream in EventStreams(partitions: partitions).all {
            let blocking = RedisBlockingConnection(configuration.serving(stream))
            do {
                try await blocking.start()
            } catch {
                // It goes on trying by itself.
                observer(.unavailable("\(error)"))
            }
            consumers.append(consumer(of: stream, blocking))
        }
        for consumer in consumers { consumer.start() }
    }

    /// Ends after the entries under way.
    public func stop() async {
        for consumer in consumers { await consumer.stop() }
    }

    /// How many entries the group has not been given yet, in all partitions; nil when Redis does not say.
    public func lag() async -> Int64? {
        var sum: Int64 = 0
        for consumer in consumers {
            guard let lag = await consumer.lag() else { return nil }
            sum += lag
        }
        return consumers.isEmpty ? nil : sum
    }

    private func consumer(of stream: String, _ blocking: RedisBlockingConnection) -> StreamConsumer
    {
        StreamConsumer(
            redis: redis,
            blocking: blocking,
            stream: stream,
            group: group,
            consumer: worker,
            claimIdle: claimIdle,
            gathering: gathering,
            replay: StreamReplay(
                postgres: postgres,
                stream: stream,
                reader: group,
                worker: worker,
                observer: observer
            ),
            observer: observer,
            handler: handler
        )
    }
}
