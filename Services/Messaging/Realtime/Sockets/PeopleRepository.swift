internal import EventLoop
internal import FoundationEssentials
internal import PostgresClient

/// Contacts, and what users think, in the database.
///
/// See `0007_messaging_sessions.sql`.
@LoopActor
struct PeopleRepository {
    let postgres: PostgresClient

    func rename(_ caller: Caller, contact: UUID, to name: String) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.rename_contact($1, $2, $3, $4, $5)",
                [
                    .uuid(caller.tenant), .uuid(contact), .string(name), .string(caller.actor),
                    .string(caller.requestID),
                ],
                idempotent: true
            ).one()
        )
    }

    /// Notes a judgement; `created`, `updated` or `not_found`.
    func feedback(
        _ caller: Caller,
        of user: String,
        on message: UUID,
        rating: String,
        comment: String?
    ) async throws -> String {
        try await postgres.query(
            "select messaging.put_feedback($1, $2, $3, $4, $5, $6, $7) outcome",
            [
                .uuid(caller.tenant), .uuid(message), .string(user), .string(rating),
                PostgresValue(comment), .string(caller.actor), .string(caller.requestID),
            ],
            idempotent: true
        ).one().string("outcome")
    }
}
