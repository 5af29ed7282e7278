internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Outbox
internal import Platform
internal import PostgresClient
internal import RedisClient

/// Follows what is said in conversations: what an agent writes is a reply, and a session whose owner is
/// gone queues again when its contact speaks, unless its team wants it kept.
@LoopActor
final class ConversationMessages {
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
            logger.note($0, reader: ConversationMessages.group)
        }
        consumer = StreamConsumer(
            redis: redis,
            blocking: blocking,
            stream: EventStreams.switchboard,
            group: ConversationMessages.group,
            consumer: name,
            claimIdle: claimIdle,
            replay: StreamReplay(
                postgres: postgres,
                stream: EventStreams.switchboard,
                reader: ConversationMessages.group,
                worker: name,
                observer: note
            ),
            observer: note,
            handler: { try await ConversationMessages.handle($0, sessions, service) }
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
            let at = entry.fields["at"].flatMap(RFC3339.parse),
            let data = entry.fields["data"].flatMap({ try? JSON(parsing: Array($0.utf8)) }),
            let sender = data["sender_kind"]?.stringValue.flatMap(Sender.init),
            let conversation = data["conversation_id"]?.uuidValue,
            let (tenant, session) = try await sessions.messageCame(
                code,
                conversation,
                sender,
                agent: data["sender_id"]?.uuidValue,
                at: at
            )
        else { return }
        _ = try await service.run(tenant, session, source: .timer)
    }
}

/// Whose words concern the owner of a session; a bot's do not.
enum Sender: String, Sendable {
    case contact, agent
}
