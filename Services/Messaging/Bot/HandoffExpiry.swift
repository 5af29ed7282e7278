internal import EventLoop
internal import FoundationEssentials
internal import HTTPClient
internal import JSON
internal import Logging
internal import Platform
internal import PostgresClient

/// Gives conversations back to the bot that people got and never wrote in, where the tenant wants it.
///
/// assignment-engine ends the session, and its news make the bot the owner again. Nothing waits in an
/// outbox meanwhile: who writes before the engine was reached keeps the conversation.
@LoopActor
final class HandoffExpiry {
    /// How many conversations one look takes.
    static let batch: Int64 = 32
    /// After so long a conversation is tried again.
    static let lease: Duration = .seconds(30)

    private let postgres: PostgresClient
    private let services: ServiceClient
    private let interval: Duration
    private let logger: Logger
    private lazy var looks = RepeatedWork(every: interval) { [weak self] in await self?.look() }

    /// - Parameter interval: between two looks.
    init(
        postgres: PostgresClient,
        services: ServiceClient,
        interval: Duration,
        logger: Logger
    ) {
        self.postgres = postgres
        self.services = services
        self.interval = interval
        self.logger = logger
    }

    /// Looks at once, and then again and again.
    func start() { looks.start(after: .zero) }

    /// Waits for the look that is under way.
    func stop() async { await looks.end() }

    private struct Handoff {
        let tenant: UUID
        let code: String
        let conversation: UUID
        let session: UUID

        init(_ row: PostgresRow) throws {
            tenant = try row.uuid("tenant_id")
            code = try row.string("tenant")
            conversation = try row.uuid("conversation_id")
            session = try row.uuid("session_id")
        }
    }

    private func look() async {
        do {
            for handoff in try await claim() { try await end(handoff) }
        } catch {
            logger.warning("handoffs: the look failed", metadata: ["reason": "\(error)"])
        }
    }

    private func claim() async throws -> [Handoff] {
        try await postgres.query(
            "select * from messaging.claim_handoffs($1, $2 * interval '1 ms')",
            [.int(HandoffExpiry.batch), .int(HandoffExpiry.lease.milliseconds)]
        ).map { try Handoff($0) }
    }

    private func end(_ handoff: Handoff) async throws {
        let answer = try await services.post(
            "assignment-engine",
            "/v1/sessions/\(handoff.session.text)/return-to-bot",
            tenant: handoff.code,
            body: JSON.object(["reason": "nobody wrote in time"]).serialized(),
            idempotencyKey: "handoff-expired-\(handoff.session.text)"
        )
        // A session that is over, or unknown, has nothing to give back.
        guard (200..<300).contains(answer.status) || [404, 409].contains(answer.status) else {
            return logger.warning(
                "a conversation could not be given back to the bot",
                metadata: [
                    "session_id": "\(handoff.session.text)", "status": "\(answer.status)",
                ]
            )
        }
        _ = try await postgres.query(
            "select messaging.settle_handoff($1, $2, $3)",
            [.uuid(handoff.tenant), .uuid(handoff.conversation), .uuid(handoff.session)],
            idempotent: true
        )
    }
}
