internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient

/// A message request that is to be accepted, and what its acceptance depends on.
struct NewMessageRequest: Sendable {
    /// The id that the caller chose; nil makes one that grows with time.
    let id: UUID?
    /// The request's fields as `dispatch.accept` reads them.
    let fields: JSON
    /// The service that hears of the outcome.
    let reportTo: String?
    let traceparent: String
    let idempotency: IdempotentCall?
    /// Who asks.
    let audit: AuditNote
}

/// A caller's key and what it is bound to.
struct IdempotentCall: Sendable {
    let key: String
    let path: String
    let bodyHash: [UInt8]
}

/// What `dispatch.accept` did.
struct Acceptance: Sendable {
    enum Result: String {
        case created, replayed, reused
        case inProgress = "in_progress"
        case noChannel = "no_channel"
        case textTooLong = "text_too_long"
    }

    let result: Result
    /// The request as JSON text; empty when there is none.
    let document: [UInt8]
}

/// Message requests in the schema `dispatch`; every write is one function call.
@LoopActor
struct MessageRequestRepository {
    let postgres: PostgresClient
    /// Each a JSON text, as `dispatch.accept_many` reads it.
    private let accepting: GroupedStatement<String, Acceptance>

    init(postgres: PostgresClient) {
        self.postgres = postgres
        // What is accepted at the same moment shares a connection and a commit, so that callers leave
        // both to what is being sent.
        accepting = GroupedStatement(bytes: \.utf8.count) { requests in
            try await MessageRequestRepository.accept(requests, postgres)
        }
    }

    // The compiler (6.3.1, optimizing) cannot split the function below with this in it.
    @inline(never)
    private nonisolated static func array(of texts: [String]) -> String {
        "[\(texts.joined(separator: ","))]"
    }

    private static func accept(
        _ requests: [String],
        _ postgres: PostgresClient
    ) async throws -> [Acceptance] {
        try await postgres.query(
            """
            select a.answer->>'result' as result, (a.answer->'request')::text as request
              from dispatch.accept_many($1::jsonb) a order by a.place
            """,
            [.json(array(of: requests))]
        ).map { row in
            guard let result = Acceptance.Result(rawValue: try row.string("result")) else {
                throw UnexpectedAnswer(function: "dispatch.accept_many")
            }
            let document = try row.optionalString("request") ?? ""
            return Acceptance(result: result, document: Array(document.utf8))
        }
    }

    /// Stores a request together with its event and its idempotency key.
    func accept(_ tenant: Tenant, _ new: NewMessageRequest) async throws -> Acceptance {
        let request: JSON = [
            "tenant_id": .string(tenant.id.text), "tenant": .string(tenant.code),
            "id": JSON(new.id?.text), "fields": new.fields, "report_to": JSON(new.reportTo),
            "traceparent": .string(new.traceparent), "key": JSON(new.idempotency?.key),
            "path": JSON(new.idempotency?.path),
            "hash": JSON(new.idempotency.map { Data($0.bodyHash).base64EncodedString() }),
            "actor": .string(new.audit.actor), "request_id": .string(new.audit.requestID),
            // Each keeps the trace that it is part of, whoever's statement it is in.
            "trace": JSON(postgres.traceparent?()),
        ]
        return try await accepting.call(request.text)
    }

    /// Whether a request like this was stored already, or its key is known: it adds nothing.
    func isKnown(_ tenant: Tenant, _ new: NewMessageRequest) async throws -> Bool {
        try await postgres.read(
            """
            select exists (select 1 from dispatch.message_requests where tenant_id = $1 and id = $2)
                or exists (select 1 from platform.idempotency
                     where tenant_id = $1 and key = $3 and method = 'POST' and path = $4
                       and day >= (now() at time zone 'utc')::date - 1) as known
            """,
            [
                .uuid(tenant.id), PostgresValue(new.id), PostgresValue(new.idempotency?.key),
                PostgresValue(new.idempotency?.path),
            ]
        ).one().bool("known")
    }

    /// The request of this id with its attempts, or nil.
    func find(_ tenant: Tenant, _ id: UUID) async throws -> JSON? {
        let rows = try await postgres.read(
            """
            select dispatch.request_json(m, true) as answer from dispatch.message_requests m
             where m.tenant_id = $1 and m.id = $2
            """,
            [.uuid(tenant.id), .uuid(id)]
        )
        return try rows.first.map { try JSON(stored: $0) }
    }

    /// What a list is narrowed to.
    struct Filter: Sendable {
        var statuses: [String]?
        var channelCode: String?
        var templateCode: String?
        var error: String?
        /// A piece of the text.
        var query: String?
        /// Whether it may be sent now, as far as it knows itself: due, and no attempt was in vain.
        var isReady: Bool?
        var from: Int64?
        var to: Int64?
    }

    /// A page of requests, the newest ids first, one more than `limit`.
    func list(
        _ tenant: Tenant,
        _ filter: Filter,
        limit: Int,
        after: UUID?
    ) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select dispatch.request_json(m, false) as answer from dispatch.message_requests m
             where m.tenant_id = $1 and ($2::text[] is null or m.status = any ($2))
               and ($3::text is null or m.channel_code = $3)
               and ($4::text is null or position(lower($4) in lower(m.text)) > 0
                    or m.id::text = lower($4))
               and ($5::timestamptz is null or m.created_at >= $5)
               and ($6::timestamptz is null or m.created_at < $6)
               and ($7::uuid is null or m.id < $7)
               and ($9::text is null or m.template_code = $9)
               and ($10::text is null or m.last_error = $10)
               and ($11::boolean is null
                    or (m.status <> 'retry_wait' and m.next_attempt_at <= now()) = $11)
             order by m.id desc limit $8
            """,
            [
                .uuid(tenant.id), filter.statuses.map { .strings($0) } ?? .null,
                PostgresValue(filter.channelCode),
                PostgresValue(filter.query), filter.from.map { .time(milliseconds: $0) } ?? .null,
                filter.to.map { .time(milliseconds: $0) } ?? .null, PostgresValue(after),
                .int(Int64(limit + 1)), PostgresValue(filter.templateCode),
                PostgresValue(filter.error), filter.isReady.map { .bool($0) } ?? .null,
            ],
            idempotent: true
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// Stops a request; the answer is `{result, request}`, or null when there is none.
    func cancel(_ tenant: Tenant, _ id: UUID, _ note: AuditNote) async throws -> JSON {
        try JSON(
            stored: try await postgres.query(
                "select dispatch.cancel($1, $2, $3, $4, $5) as answer",
                [
                    .uuid(tenant.id), .uuid(id), .string(note.actor), PostgresValue(note.reason),
                    .string(note.requestID),
                ]
            ).one()
        )
    }

    /// Sends once more what has ended: `{result, request}`, or null when there is none.
    ///
    /// - Parameter force: also what was sent, or may have been.
    func resend(
        _ tenant: Tenant,
        _ id: UUID,
        force: Bool,
        _ note: AuditNote
    ) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.resend($1, $2, $3, $4, $5, $6) as answer",
            [
                .uuid(tenant.id), .uuid(id), .bool(force), .string(note.actor),
                PostgresValue(note.reason), .string(note.requestID),
            ]
        )
    }

    /// Has a request tried at once: `{result, request}`, or null when there is none.
    func retry(_ tenant: Tenant, _ id: UUID, _ note: AuditNote) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.retry($1, $2, $3, $4, $5) as answer",
            [
                .uuid(tenant.id), .uuid(id), .string(note.actor), PostgresValue(note.reason),
                .string(note.requestID),
            ]
        )
    }

    /// What a request in `unknown` becomes.
    struct Settlement: Sendable {
        enum State: String { case sent, failed, retryWait = "retry_wait" }

        let state: State
        var providerTS: String?
        var error: String?
    }

    /// Settles a request that is `unknown`; nil when it is not (any more), and `{missing}` when it
    /// cannot be settled without what that names.
    ///
    /// - Parameters:
    ///   - fence: the token of the attempt that was looked for; a look that was overtaken by another
    ///     attempt decides nothing.
    ///   - note: who decided, when it was a person.
    func settle(
        _ tenant: UUID,
        _ id: UUID,
        generation: Int,
        _ settlement: Settlement,
        fence: UUID? = nil,
        note: AuditNote? = nil
    ) async throws -> JSON? {
        let answer = try JSON(
            stored: try await postgres.query(
                "select dispatch.settle_unknown($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as answer",
                [
                    .uuid(tenant), .uuid(id), .int(Int64(generation)),
                    .string(settlement.state.rawValue), PostgresValue(settlement.providerTS),
                    PostgresValue(settlement.error), PostgresValue(fence),
                    PostgresValue(note?.actor),
                    PostgresValue(note?.reason), PostgresValue(note?.requestID),
                ]
            ).one()
        )
        return answer.present
    }
}
