internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import PostgresClient

/// A change by hand of where messages belong.
struct ThreadReshape: Sendable {
    enum Kind: String, Sendable {
        /// The messages go into the thread.
        case move
        /// The messages leave the thread for a new one.
        case split
        /// All messages of the thread go into another.
        case merge
    }

    let kind: Kind
    let thread: UUID
    /// The other thread of a merge.
    let into: UUID?
    /// The messages of a move or a split.
    let messages: [UUID]
    /// The new thread of a split; `nil` takes the title from its first message.
    let title: String?
}

/// Corrections of threads and messages, in the database.
///
/// See `0005_messaging_threads.sql` for what each function promises.
@LoopActor
struct ThreadRepository {
    let postgres: PostgresClient

    func create(_ caller: Caller, in conversation: UUID, title: String) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.create_thread($1, $2, $3, $4, $5)",
                [
                    .uuid(caller.tenant), .uuid(conversation), .string(title),
                    .string(caller.actor), .string(caller.requestID),
                ]
            ).one()
        )
    }

    /// Gives a thread another title, or archives it or takes it back; `nil` changes nothing.
    func change(
        _ caller: Caller,
        _ thread: UUID,
        title: String? = nil,
        isArchived: Bool? = nil
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.change_thread($1, $2, $3, $4, $5, $6)",
                [
                    .uuid(caller.tenant), .uuid(thread), PostgresValue(title),
                    isArchived.map { .bool($0) } ?? .null, .string(caller.actor),
                    .string(caller.requestID),
                ],
                idempotent: true
            ).one()
        )
    }

    /// What the threads would hold after a change; `nil` when there is no such thread.
    func plan(_ caller: Caller, _ reshape: ThreadReshape) async throws -> ThreadPlan? {
        let row = try await postgres.query(
            "select messaging.reshape_plan($1, $2, $3, $4, $5) plan",
            [
                .uuid(caller.tenant), .string(reshape.kind.rawValue), .uuid(reshape.thread),
                PostgresValue(reshape.into), .uuids(reshape.messages),
            ],
            idempotent: true
        ).one()
        return try row.optionalUTF8("plan")
            .map { ThreadPlan(try JSON(parsing: $0, limits: .foreign)) }
    }

    /// Writes a change that rests on `plan`; `isForced` takes it although the threads have changed.
    func reshape(
        _ caller: Caller,
        _ reshape: ThreadReshape,
        _ plan: ThreadPlan,
        isForced: Bool
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                """
                select * from messaging.reshape_thread(
                  $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                """,
                [
                    .uuid(caller.tenant), .string(caller.code), .string(reshape.kind.rawValue),
                    .uuid(reshape.thread), PostgresValue(reshape.into), .uuids(reshape.messages),
                    .string(reshape.title ?? plan.title), .int(plan.version), .bool(isForced),
                    .json(plan.features.text), .string(caller.actor), .string(caller.requestID),
                ]
            ).one()
        )
    }

    /// What the thread of a message would hold once its text is `text`, or once it is deleted;
    /// `nil` when there is no such message.
    func plan(_ caller: Caller, message: UUID, text: String?) async throws -> ThreadPlan? {
        let row = try await postgres.query(
            "select messaging.change_plan($1, $2, $3) plan",
            [.uuid(caller.tenant), .uuid(message), PostgresValue(text)],
            idempotent: true
        ).one()
        return try row.optionalUTF8("plan")
            .map { ThreadPlan(try JSON(parsing: $0, limits: .foreign)) }
    }

    /// Writes a message's text anew, or deletes the message (`nil`); rests on `plan` as `reshape` does.
    func change(
        _ caller: Caller,
        message: UUID,
        text: String?,
        _ plan: ThreadPlan,
        isForced: Bool
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.change_message($1, $2, $3, $4, $5, $6, $7, $8)",
                [
                    .uuid(caller.tenant), .uuid(message), PostgresValue(text),
                    .string(caller.actor), .string(caller.requestID), .int(plan.version),
                    .bool(isForced), .json(plan.features.text),
                ]
            ).one()
        )
    }
}
