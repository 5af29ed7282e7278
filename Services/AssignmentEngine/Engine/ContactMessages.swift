internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Outbox
internal import Platform
internal import PostgresClient
internal import RedisClient

/// Follows what contacts write: where a team wants it, a session whose owner is gone queues again
/// when its contact speaks.
@LoopActor
final class ContactMessages {
    static let group = "assignment-engine"

    private let blocking: RedisBlockingConnection
    private let consumer: StreamConsumer

    /// A reader with a connection of its own.
    init(
        redis: RedisClient,
        configuration: RedisConfiguration,
        postgres: PostgresClient,
        sessions: SessionRepository,
        service: AssignmentService,
        claimIdle: Duration,
        logger: Logger
    ) {
        blocking = RedisBlockingConnection(configuration)
        let name = UUID().text
        let note: @LoopActor (StreamEvent) -> Void = {
            logger.note($0, reader: ContactMessages.group)
        }
        consumer = StreamConsumer(
            redis: redis,
            blocking: blocking,
            stream: EventStreams.switchboard,
            group: ContactMessages.group,
            consumer: name,
            claimIdle: claimIdle,
            replay: StreamReplay(
                postgres: postgres,
                stream: EventStreams.switchboard,
                reader: ContactMessages.group,
                worker: name,
                observer: note
            ),
            observer: note,
            handler: { try await ContactMessages.handle($0, sessions, service) }
        )
    }

    func start() async {
        // It goes on trying by itself.
        try? await blocking.start()
        consumer.start()
    }

    func stop() async {
        await consumer.stop()
    }

    private static func handle(
        _ entry: StreamEntry,
        _ sessions: SessionRepository,
        _ service: AssignmentService
    ) async throws {
        guard entry.fields["name"] == "message.created", let code = entry.fields["tenant"],
            let data = entry.fields["data"].flatMap({ try? JSON(parsing: Array($0.utf8)) }),
            data["sender_kind"]?.stringValue == "contact",
            let conversation = data["conversation_id"]?.uuidValue,
            let (tenant, session) = try await sessions.contactWrote(code, conversation)
        else { return }
        _ = try await service.run(tenant, session, source: .timer)
    }
}
