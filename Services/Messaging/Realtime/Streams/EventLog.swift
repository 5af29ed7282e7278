internal import EventLoop
internal import FoundationEssentials
internal import PostgresClient

/// The ordered log of what happens in conversations.
///
/// See `0006_messaging_live.sql`.
@LoopActor
struct EventLog {
    let postgres: PostgresClient

    /// Some events of a conversation.
    struct Page: Sendable {
        /// The seq of the newest event there is.
        let head: Int64
        /// In order.
        let events: [LiveEvent]
        /// Whether events between the reader's place and these are gone.
        let hasGap: Bool
    }

    /// The seq of the newest event; `nil` when there is no such conversation.
    func head(_ key: LiveKey) async throws -> Int64? {
        try await postgres.read(
            "select event_seq from messaging.conversations where tenant_id = $1 and id = $2",
            [.uuid(key.tenant), .uuid(key.conversation)]
        ).first?.int64("event_seq")
    }

    /// The first events after `since`; `nil` when there is no such conversation.
    func events(_ key: LiveKey, after since: Int64, limit: Int) async throws -> Page? {
        let rows = try await postgres.query(
            "select * from messaging.events_after($1, $2, $3, $4)",
            [.uuid(key.tenant), .uuid(key.conversation), .int(since), .int(limit)],
            idempotent: true
        )
        guard let head = try rows.first?.int64("head") else { return nil }
        var events: [LiveEvent] = []
        for row in rows where try row.optionalInt64("seq") != nil {
            events.append(
                LiveEvent(
                    seq: try row.int64("seq"),
                    type: try row.string("type"),
                    body: try row.utf8("event")
                )
            )
        }
        let first = events.first?.seq ?? head + 1
        return Page(head: head, events: events, hasGap: first != since + 1)
    }

    /// The seqs of the newest events of many conversations; those that are not there are left out.
    func heads(_ keys: [LiveKey]) async throws -> [UUID: Int64] {
        let rows = try await postgres.query(
            """
            select c.id, c.event_seq from unnest($1::uuid[], $2::uuid[]) k (tenant, id)
            join messaging.conversations c on c.tenant_id = k.tenant and c.id = k.id
            """,
            [.uuids(keys.map(\.tenant)), .uuids(keys.map(\.conversation))],
            idempotent: true
        )
        var heads: [UUID: Int64] = [:]
        for row in rows { heads[try row.uuid("id")] = try row.int64("event_seq") }
        return heads
    }
}
