internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import struct Platform.UnexpectedAnswer
internal import PostgresClient

/// Where a message is to go, and on which state of the threads that was decided.
struct PlacedChoice: Sendable {
    let choice: ThreadChoice
    let version: Int64
    /// Take it although the threads have changed since.
    let isForced: Bool
}

/// What a write of a message came to.
struct MessageOutcome: Sendable {
    let outcome: Outcome
    /// With `stale_choice`: the threads as they are now.
    let snapshot: ThreadSnapshot?

    init(_ row: PostgresRow) throws {
        outcome = try Outcome(row)
        snapshot = try row.optionalUTF8("snapshot").map { try ThreadSnapshot(parsing: $0) }
    }
}

/// Messages in the database.
///
/// See `0002_messaging.sql` for what each function promises.
@LoopActor
struct MessageRepository {
    let postgres: PostgresClient

    /// Stores messages of several conversations, each named once, in one statement and one flush.
    ///
    /// What is wrong with one message is its outcome; an error is that of the whole statement, of
    /// which nothing stays then. Without `waits` a conversation that somebody else holds is busy.
    func post(
        _ groups: [PlacedPosts],
        waits: Bool,
        mailbox: MessagingConfiguration
    ) async throws -> [PostResult] {
        let rows = try await postgres.query(
            """
            select * from messaging.post_batch($1, $2::interval, $3::interval, $4, $5, $6)
            """,
            [
                .string(ThreadScore.algorithm), interval(mailbox.debounce),
                interval(mailbox.debounceMax), .int(mailbox.debounceCount),
                .utf8(PlacedPosts.document(groups)), .bool(waits),
            ]
        )
        var results: [PostResult] = []
        var next = rows.startIndex
        for (index, group) in groups.enumerated() {
            let first = next
            while next < rows.endIndex, try rows[next].int("place") == index + 1 { next += 1 }
            results.append(try MessageRepository.result(rows[first..<next], of: group))
        }
        return results
    }

    private static func result(
        _ rows: PostgresRows.SubSequence,
        of group: PlacedPosts
    ) throws -> PostResult {
        guard let first = rows.first else { throw UnexpectedAnswer(function: "post_batch") }
        switch try first.string("outcome") {
        case "busy": return .busy
        case "stale_choice": return .stale(try ThreadSnapshot(parsing: first.utf8("snapshot")))
        default: break
        }
        guard rows.count == group.posts.count else {
            throw UnexpectedAnswer(function: "post_batch")
        }
        return .written(try rows.map { try Outcome(posted: $0) })
    }

    func assign(
        _ caller: Caller,
        _ message: UUID,
        text: String,
        features: TextFeatures,
        _ placed: PlacedChoice
    ) async throws -> MessageOutcome {
        try MessageOutcome(
            try await postgres.query(
                """
                select * from messaging.auto_assign(
                  $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                """,
                [
                    .uuid(caller.tenant), .string(caller.code), .uuid(message),
                    .string(placed.choice.method.rawValue), PostgresValue(placed.choice.thread),
                    .double(placed.choice.score), .int(placed.version), .bool(placed.isForced),
                    .string(ThreadTitle.make(from: text)), .string(ThreadScore.algorithm),
                    .bytes(features.packedTerms), .strings(features.mentions),
                    .string(caller.actor),
                    placed.choice.explanation.map { .json($0.text) } ?? .null,
                ],
                idempotent: true
            ).one()
        )
    }

    /// A stored message with the state of its conversation, as JSON; `nil` when there is none.
    func snapshot(_ caller: Caller, _ message: UUID) async throws -> JSON? {
        let row = try await postgres.read(
            "select messaging.message_snapshot($1, $2) snapshot",
            [.uuid(caller.tenant), .uuid(message)]
        ).one()
        return try row.optionalUTF8("snapshot").map { try JSON(parsing: $0) }
    }

    /// The message that a job was made for, with its assignment, if it has one.
    func assignmentJob(_ caller: Caller, _ message: UUID) async throws -> JSON? {
        let rows = try await postgres.read(
            """
            select jsonb_build_object('conversation_id', m.conversation_id,
              'assignment', messaging.assignment_json(m, false)) job
            from messaging.messages m
            where m.tenant_id = $1 and m.id = $2 and m.by_job and m.deleted_at is null
            """,
            [.uuid(caller.tenant), .uuid(message)]
        )
        return try rows.first.map { try JSON(parsing: $0.utf8("job")) }
    }

    /// Notes that a message is being worked on, for `ttl` at most; where locks cannot say so.
    func beginProcessing(_ caller: Caller, _ message: UUID, ttl: Duration) async throws {
        _ = try await postgres.query(
            "select messaging.begin_processing($1, $2, $3::interval)",
            [.uuid(caller.tenant), .uuid(message), interval(ttl)],
            idempotent: true
        )
    }

    /// Notes that it is not any more.
    func endProcessing(_ caller: Caller, _ message: UUID) async throws {
        _ = try await postgres.query(
            "delete from messaging.message_processing where tenant_id = $1 and message_id = $2",
            [.uuid(caller.tenant), .uuid(message)],
            idempotent: true
        )
    }

    /// Whether that is noted.
    func isBeingProcessed(_ caller: Caller, _ message: UUID) async throws -> Bool {
        try await !postgres.read(
            """
            select 1 from messaging.message_processing
            where tenant_id = $1 and message_id = $2 and until > now()
            """,
            [.uuid(caller.tenant), .uuid(message)]
        ).isEmpty
    }

    func find(_ caller: Caller, _ id: UUID) async throws -> [UInt8]? {
        try await postgres.read(
            """
            select messaging.message_json(m) item from messaging.messages m
            where m.tenant_id = $1 and m.id = $2 and m.deleted_at is null
            """,
            [.uuid(caller.tenant), .uuid(id)]
        ).first?.utf8("item")
    }

    /// Newest first.
    func list(
        _ caller: Caller,
        _ conversation: UUID,
        thread: UUID?,
        page: Page
    ) async throws -> PostgresRows {
        try await postgres.query(
            """
            select messaging.message_json(m) item, m.seq::text as key from messaging.messages m
            where m.tenant_id = $1 and m.conversation_id = $2 and m.deleted_at is null
              and ($3::uuid is null or m.thread_id = $3) and ($4::bigint is null or m.seq < $4)
            order by m.seq desc limit $5
            """,
            [
                .uuid(caller.tenant), .uuid(conversation), PostgresValue(thread),
                PostgresValue(try page.afterNumber()), .int(page.limit + 1),
            ],
            idempotent: true
        )
    }

    /// Puts the end of the burst off: the contact is still writing.
    func noteTyping(
        _ caller: Caller,
        _ conversation: UUID,
        mailbox: MessagingConfiguration
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.note_typing($1, $2, $3::interval, $4::interval)",
                [
                    .uuid(caller.tenant), .uuid(conversation), interval(mailbox.debounce),
                    interval(mailbox.debounceMax),
                ],
                idempotent: true
            ).one()
        )
    }

    private func interval(_ duration: Duration?) -> PostgresValue {
        duration.map { .string("\($0.milliseconds) ms") } ?? .null
    }
}

extension MessageRepository {
    func reply(_ caller: Caller, _ reply: NewReply) async throws -> Outcome {
        let key = reply.key
        return try Outcome(
            try await postgres.query(
                """
                select * from messaging.store_reply(
                  $1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10, $11, $12)
                """,
                [
                    .uuid(caller.tenant), .string(caller.code), .uuid(reply.conversation),
                    .string(reply.sender.kind.rawValue), .string(reply.sender.id),
                    .json(AnswerParts.stored(reply.text).text), PostgresValue(reply.thread),
                    .string(caller.actor), PostgresValue(key?.key), PostgresValue(key?.method),
                    PostgresValue(key?.path), key.map { .bytes($0.bodyHash) } ?? .null,
                ]
            ).one()
        )
    }

    func applyDelivery(_ caller: Caller, _ news: DeliveryNews) async throws -> String {
        try await postgres.query(
            "select outcome from messaging.apply_delivery($1, $2, $3, $4, $5, $6, $7, $8) outcome",
            [
                .uuid(caller.tenant), .string(caller.code), .uuid(news.request),
                .int(news.generation), .int(news.version), .string(news.status),
                PostgresValue(news.providerTS), PostgresValue(news.error),
            ],
            idempotent: true
        ).one().string("outcome")
    }
}
