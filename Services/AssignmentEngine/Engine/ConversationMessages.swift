internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Outbox
internal import Platform
internal import PostgresClient
internal import RedisClient
internal import Tracing

/// Follows what is said in conversations: what an agent writes is a reply, and a session whose owner is
/// gone queues again when its contact speaks, unless its team wants it kept.
@LoopActor
final class ConversationMessages {
    static let group = "assignment-engine"

    private let readers: EventReaders

    /// A reader with connections of its own.
    init(
        redis: RedisClient,
        configuration: ServiceConfiguration,
        postgres: PostgresClient,
        sessions: SessionRepository,
        service: AssignmentService,
        claimIdle: Duration,
        logger: Logger
    ) {
        readers = EventReaders(
            redis: redis,
            configuration: configuration.redis,
            postgres: postgres,
            streams: configuration.eventStreams,
            group: ConversationMessages.group,
            worker: UUID().text,
            claimIdle: claimIdle,
            observer: { logger.note($0, reader: ConversationMessages.group) },
            handler: { try await ConversationMessages.handle($0, sessions, service) }
        )
    }

    /// How many events were not looked at yet; nil when Redis does not say.
    func lag() async -> Int64? { await readers.lag() }

    /// - Throws: when the database does not say which streams there are.
    func start() async throws { try await readers.start() }

    func stop() async { await readers.stop() }

    private static func handle(
        _ entries: [StreamEntry],
        _ sessions: SessionRepository,
        _ service: AssignmentService
    ) async throws {
        let said = entries.compactMap(Said.init)
        guard !said.isEmpty else { return }
        // Most of what is said has no session at all.
        for place in try await sessions.open(said.map { ($0.tenant, $0.conversation) }) {
            try await withSpan("event.handle", .consumer, below: said[place].trace) {
                guard let (tenant, session) = try await sessions.messageCame(said[place]) else {
                    return
                }
                _ = try await service.run(tenant, session, source: .timer)
            }
        }
    }
}

/// That somebody wrote whose words concern the owner of a session.
struct Said: Sendable {
    /// The tenant's code.
    let tenant: String
    let conversation: UUID
    let sender: Sender
    /// Which agent it was, where the sender's id is one.
    let agent: UUID?
    /// When, in milliseconds since 1970.
    let at: Int64
    /// The step that it came of.
    var trace: TraceParent?
}

extension Said {
    /// Nil for an event that tells something else.
    init?(_ entry: StreamEntry) {
        guard entry.fields["name"] == "message.created", let tenant = entry.fields["tenant"],
            let at = entry.fields["at"].flatMap(RFC3339.parse),
            let data = entry.fields["data"].flatMap({ try? JSON(parsing: Array($0.utf8)) }),
            let sender = data["sender_kind"]?.stringValue.flatMap(Sender.init),
            let conversation = data["conversation_id"]?.uuidValue
        else { return nil }
        self.tenant = tenant
        self.conversation = conversation
        self.sender = sender
        agent = data["sender_id"]?.uuidValue
        self.at = at
        trace = entry.trace
    }
}

/// Whose words concern the owner of a session; a bot's do not.
enum Sender: String, Sendable {
    case contact, agent
}
