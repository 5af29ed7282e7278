internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import struct Platform.UnexpectedAnswer
internal import PostgresClient

/// A conversation to be found or made.
struct NewConversation: Sendable {
    let channelCode: String
    let contact: String
    let contactName: String?
    let externalID: String?
    let bot: UUID?
    let title: String?
}

/// Conversations, their threads and their AI jobs, in the database.
@LoopActor
struct ConversationRepository {
    let postgres: PostgresClient

    func open(_ caller: Caller, _ new: NewConversation) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.open_conversation($1, $2, $3, $4, $5, $6, $7, $8)",
                [
                    .uuid(caller.tenant), .string(new.channelCode), .string(new.contact),
                    PostgresValue(new.contactName), PostgresValue(new.externalID),
                    PostgresValue(new.bot), PostgresValue(new.title), .string(caller.actor),
                ],
                idempotent: true
            ).one()
        )
    }

    func find(_ caller: Caller, _ id: UUID) async throws -> [UInt8]? {
        try await postgres.read(
            """
            select messaging.conversation_json(c, k) item from messaging.conversations c
            join messaging.contacts k on k.tenant_id = c.tenant_id and k.id = c.contact_id
            where c.tenant_id = $1 and c.id = $2
            """,
            [.uuid(caller.tenant), .uuid(id)]
        ).first?.utf8("item")
    }

    /// The contact of a conversation; `nil` when there is no such conversation.
    func contact(_ caller: Caller, _ id: UUID) async throws -> UUID? {
        try await party(caller, id)?.contact
    }

    /// The contact of a conversation, and whether it is open; `nil` when there is no such one.
    func party(_ caller: Caller, _ id: UUID) async throws -> (contact: UUID, isOpen: Bool)? {
        let rows = try await postgres.read(
            """
            select contact_id, state = 'open' is_open from messaging.conversations
            where tenant_id = $1 and id = $2
            """,
            [.uuid(caller.tenant), .uuid(id)]
        )
        guard let row = rows.first else { return nil }
        return (try row.uuid("contact_id"), try row.bool("is_open"))
    }

    /// Ends a conversation.
    ///
    /// See `messaging.close_conversation`.
    func close(
        _ caller: Caller,
        _ id: UUID,
        reason: String?
    ) async throws -> (outcome: Outcome, cancelledJob: UUID?) {
        let row = try await postgres.query(
            "select * from messaging.close_conversation($1, $2, $3, $4, $5, $6)",
            [
                .uuid(caller.tenant), .string(caller.code), .uuid(id), .string(caller.actor),
                PostgresValue(reason), .string(caller.requestID),
            ],
            idempotent: true
        ).one()
        return (try Outcome(row), try row.optionalUUID("job"))
    }

    /// Newest first; `contact` is the id that the channel gave, or ours.
    func list(
        _ caller: Caller,
        contact: String?,
        state: String?,
        page: Page
    ) async throws -> PostgresRows {
        try await postgres.query(
            """
            select messaging.conversation_json(c, k) item, c.id::text as key
            from messaging.conversations c
            join messaging.contacts k on k.tenant_id = c.tenant_id and k.id = c.contact_id
            where c.tenant_id = $1 and ($2::text is null or k.external_id = $2 or k.id::text = $2)
              and ($3::text is null or c.state = $3) and ($4::uuid is null or c.id < $4)
            order by c.id desc limit $5
            """,
            [
                .uuid(caller.tenant), PostgresValue(contact), PostgresValue(state),
                PostgresValue(try page.afterID()), .int(page.limit + 1),
            ],
            idempotent: true
        )
    }

    /// The threads written to last, first.
    func threads(
        _ caller: Caller,
        _ conversation: UUID,
        includeArchived: Bool,
        page: Page
    ) async throws -> PostgresRows {
        try await postgres.query(
            """
            select messaging.thread_json(t) item, t.id::text as key from messaging.threads t
            where t.tenant_id = $1 and t.conversation_id = $2 and ($3 or t.archived_at is null)
              and ($4::uuid is null or (t.last_message_at, t.id) <
                (select x.last_message_at, x.id from messaging.threads x
                  where x.tenant_id = $1 and x.id = $4))
            order by t.last_message_at desc, t.id desc limit $5
            """,
            [
                .uuid(caller.tenant), .uuid(conversation), .bool(includeArchived),
                PostgresValue(try page.afterID()), .int(page.limit + 1),
            ],
            idempotent: true
        )
    }

    /// The states of conversations, each of a tenant, for choices of threads; one read for all.
    ///
    /// `nil` where there is no such conversation.
    func snapshots(
        _ conversations: [(tenant: UUID, conversation: UUID)]
    ) async throws -> [ThreadSnapshot?] {
        let rows = try await postgres.read(
            """
            select messaging.conversation_snapshot(u.tenant, u.conversation) snapshot
            from unnest($1::uuid[], $2::uuid[]) with ordinality u (tenant, conversation, place)
            order by u.place
            """,
            [.uuids(conversations.map(\.tenant)), .uuids(conversations.map(\.conversation))]
        )
        guard rows.count == conversations.count else {
            throw UnexpectedAnswer(function: "conversation_snapshot")
        }
        return try rows.map { row in
            try row.optionalUTF8("snapshot").map { try ThreadSnapshot(parsing: $0) }
        }
    }

    /// Lets the owner follow a session.
    ///
    /// See `messaging.apply_assignment`.
    func applyAssignment(
        _ caller: Caller,
        _ change: OwnerChange
    ) async throws -> (outcome: String, cancelledJob: UUID?) {
        let row = try await postgres.query(
            "select * from messaging.apply_assignment($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            [
                .uuid(caller.tenant), .string(caller.code), .uuid(change.conversation),
                .uuid(change.session), .int(change.version), .string(change.state),
                PostgresValue(change.owner), PostgresValue(change.assignee), .string(caller.actor),
                PostgresValue(change.reason), .string(caller.requestID),
            ],
            idempotent: true
        ).one()
        return (try row.string("outcome"), try row.optionalUUID("job"))
    }
}

/// A session that changed hands.
struct OwnerChange: Sendable {
    let conversation: UUID
    let session: UUID
    let version: Int
    let state: String
    /// `bot`, `human` or `none`; `nil` when it follows from the state.
    let owner: String?
    let assignee: UUID?
    let reason: String?
}
