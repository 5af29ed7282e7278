internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import PostgresClient
internal import Tracing

/// A sealed event that is to be worked on.
struct InboundWork: Sendable {
    let caller: Caller
    let id: UUID
    let eventID: String
    let channelCode: String
    let sealed: SealedSecret
    let attempts: Int
    let again: Int
    /// The step that took it in; nil where nobody records.
    let trace: TraceParent?
}

/// Events of other people's servers, in the database.
///
/// See `0008_messaging_inbound.sql`.
@LoopActor
struct InboundRepository {
    let postgres: PostgresClient
    let secrets: SecretBox

    /// The signing secrets of a Slack team's workspaces that have one of their own, and whose they are.
    func signingSecrets(of team: String) async throws -> [(tenant: String, secret: Secret)] {
        let rows = try await postgres.query(
            "select * from messaging.slack_secrets($1)",
            [.string(team)],
            idempotent: true
        )
        return try rows.map { row in
            let sealed = SealedSecret(
                keyID: try row.string("key_id"),
                bytes: try row.bytes("sealed")
            )
            let tenant = try row.string("tenant")
            let place = "\(tenant)|slack_signing|\(try row.string("workspace_code"))"
            return (tenant, try secrets.open(sealed, context: place))
        }
    }

    /// Keeps an event, sealed; `stored`, `duplicate` or `unknown_team`.
    ///
    /// - Parameter tenant: whose secret signed it; `nil` when it was the installation's, with which
    ///   only those are told that have proven that the team is theirs.
    func receiveSlack(
        _ event: SlackEnvelope,
        body: [UInt8],
        tenant: String?,
        request: String
    ) async throws -> String {
        let sealed = try secrets.seal(
            Secret(String(decoding: body, as: UTF8.self)),
            context: InboundRepository.context(event.id)
        )
        return try await postgres.query(
            "select outcome from messaging.receive_slack($1, $2, $3, $4, $5, $6, $7, $8) outcome",
            [
                .string(event.team), .string(event.channel), .string(event.id),
                PostgresValue(event.app), .string(sealed.keyID), .bytes(sealed.bytes),
                tenant.map { .strings([$0]) } ?? .null, .string(request),
            ],
            idempotent: true
        ).one().string("outcome")
    }

    /// Takes events that are due.
    func claim(limit: Int, lease: Duration) async throws -> [InboundWork] {
        try await postgres.query(
            "select * from messaging.claim_inbound($1, $2::interval)",
            [.int(limit), .string("\(lease.milliseconds) ms")]
        ).map { row in
            let id = try row.uuid("id")
            return InboundWork(
                caller: Caller(
                    tenant: try row.uuid("tenant_id"),
                    code: try row.string("tenant"),
                    actor: "slack",
                    requestID: id.text
                ),
                id: id,
                eventID: try row.string("event_id"),
                channelCode: try row.optionalString("channel_code") ?? "",
                sealed: SealedSecret(
                    keyID: try row.string("key_id"),
                    bytes: try row.bytes("sealed")
                ),
                attempts: try row.int("attempts"),
                again: try row.int("again"),
                trace: try row.optionalString("traceparent").flatMap { TraceParent(text: $0) }
            )
        }
    }

    /// What an event said.
    func open(_ work: InboundWork) throws -> [UInt8] {
        let text = try secrets.open(
            work.sealed,
            context: InboundRepository.context(work.eventID)
        )
        return Array(text.reveal().utf8)
    }

    /// Notes what became of an event; without a state it is tried again after `pause`.
    func settle(
        _ work: InboundWork,
        state: String?,
        reason: String?,
        message: UUID? = nil,
        pause: Duration = .zero
    ) async throws {
        _ = try await postgres.query(
            "select messaging.settle_inbound($1, $2, $3, $4, $5, $6::interval)",
            [
                .uuid(work.caller.tenant), .uuid(work.id), PostgresValue(state),
                PostgresValue(reason), PostgresValue(message),
                .string("\(pause.milliseconds) ms"),
            ],
            idempotent: true
        )
    }

    /// Whether this event may make the message of a gesture: the first of the tenant that asks.
    func takeGesture(_ work: InboundWork, _ gesture: String) async throws -> Bool {
        try await postgres.query(
            "select messaging.take_gesture($1, $2, $3) mine",
            [.uuid(work.caller.tenant), .uuid(work.id), .string(gesture)],
            idempotent: true
        ).one().bool("mine")
    }

    /// The message of a conversation that a Slack timestamp names.
    func message(
        _ caller: Caller,
        _ conversation: UUID,
        externalID: String,
        ts: String
    ) async throws -> UUID? {
        try await postgres.query(
            "select messaging.slack_message($1, $2, $3, $4) id",
            [.uuid(caller.tenant), .uuid(conversation), .string(externalID), .string(ts)],
            idempotent: true
        ).one().optionalUUID("id")
    }

    /// Newest first.
    func list(_ caller: Caller, state: String?, page: Page) async throws -> PostgresRows {
        try await postgres.query(
            """
            select messaging.inbound_json(e) item, e.id::text as key
            from messaging.inbound_events e
            where e.tenant_id = $1 and ($2::text is null or e.state = $2)
              and ($3::uuid is null or e.id < $3)
            order by e.id desc limit $4
            """,
            [
                .uuid(caller.tenant), PostgresValue(state), PostgresValue(try page.afterID()),
                .int(page.limit + 1),
            ],
            idempotent: true
        )
    }

    /// Feeds an event in once more.
    func replay(
        _ caller: Caller,
        _ id: UUID,
        channel: String?,
        isForced: Bool
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.replay_inbound($1, $2, $3, $4, $5, $6)",
                [
                    .uuid(caller.tenant), .uuid(id), PostgresValue(channel), .bool(isForced),
                    .string(caller.actor), .string(caller.requestID),
                ]
            ).one()
        )
    }

    private static func context(_ event: String) -> String { "inbound|slack|\(event)" }
}
