internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// What operators look at and do to many requests at once, in the schema `dispatch`.
@LoopActor
struct OperationsRepository {
    /// How many requests one call changes, and one statement of it.
    static let bulkMax = 10_000
    static let batchMax = 200
    /// How long one call goes on.
    static let bulkBudget: Duration = .seconds(8)
    /// How many causes are shown.
    static let causesMax = 200

    let postgres: PostgresClient

    // MARK: Pauses

    /// What is stopped.
    struct PauseDraft: Sendable {
        enum Scope: String, Sendable, CaseIterable {
            case tenant, workspace, channel, template, all
        }

        let scope: Scope
        let code: String?
        let reason: String
        let usesDeadlines: Bool
        /// Milliseconds since 1970.
        let expiresAt: Int64?
    }

    func pause(_ tenant: Tenant, _ draft: PauseDraft, _ note: AuditNote) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.pause($1, $2, $3, $4, $5, $6, $7, $8) as answer",
            [
                .uuid(tenant.id), .string(draft.scope.rawValue), PostgresValue(draft.code),
                .string(draft.reason), .bool(draft.usesDeadlines),
                draft.expiresAt.map { .time(milliseconds: $0) } ?? .null, .string(note.actor),
                .string(note.requestID),
            ]
        )
    }

    /// Ends a pause; nil when there is none.
    ///
    /// - Parameter global: whether pauses of all tenants are meant.
    func endPause(
        _ tenant: Tenant,
        _ id: UUID,
        global: Bool,
        _ note: AuditNote
    ) async throws -> JSON? {
        try await postgres.answer(
            """
            select dispatch.end_pause(case when $5 and exists (select 1 from dispatch.pauses x
                where x.tenant_id = '00000000-0000-0000-0000-000000000000' and x.id = $2)
              then '00000000-0000-0000-0000-000000000000' else $1::uuid end, $2, $3, $4) as answer
            """,
            [
                .uuid(tenant.id), .uuid(id), .string(note.actor), .string(note.requestID),
                .bool(global),
            ]
        ).present
    }

    /// The pauses that hold something of the tenant now.
    func pauses(_ tenant: Tenant) async throws -> [JSON] {
        try await postgres.query(
            """
            select dispatch.pause_json(x) as answer from dispatch.pauses x
             where x.tenant_id in ($1, '00000000-0000-0000-0000-000000000000')
               and x.ended_at is null and (x.expires_at is null or x.expires_at > now())
             order by x.created_at limit 200
            """,
            [.uuid(tenant.id)],
            idempotent: true
        ).map { try JSON(stored: $0) }
    }

    // MARK: Many requests at once

    /// Stops what carries a cancellation key: `{cancelled, requested, too_late, more}`.
    func cancel(_ tenant: Tenant, key: String, _ note: AuditNote) async throws -> JSON {
        var counts: [String: Int64] = ["cancelled": 0, "requested": 0, "too_late": 0]
        let isMore = try await inBatches { last in
            let answer = try await postgres.answer(
                "select dispatch.cancel_key($1, $2, $3, $4, $5, $6, $7) as answer",
                [
                    .uuid(tenant.id), .string(key), PostgresValue(last),
                    .int(OperationsRepository.batchMax), .string(note.actor),
                    PostgresValue(note.reason), .string(note.requestID),
                ]
            )
            for name in counts.keys { counts[name, default: 0] += answer[name]?.intValue ?? 0 }
            return answer
        }
        let told = counts.sorted { $0.key < $1.key }.map { ($0.key, JSON.int($0.value)) }
        return .object(JSONObject(told + [("more", .bool(isMore))]))
    }

    /// What a filter names, by cause: `{count, causes}`, with ``causesMax`` causes at most.
    func causes(_ tenant: Tenant, _ filter: JSON) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.causes($1, $2::jsonb, $3) as answer",
            [.uuid(tenant.id), .json(filter.text), .int(OperationsRepository.causesMax)],
            idempotent: true
        )
    }

    /// Sends what a filter names once more: `{replayed, last_at, more}`.
    func replay(
        _ tenant: Tenant,
        _ filter: JSON,
        perSecond: Double,
        _ note: AuditNote
    ) async throws -> JSON {
        var replayed: Int64 = 0
        var lastAt = JSON.null
        let isMore = try await inBatches { last in
            let answer = try await postgres.answer(
                "select dispatch.replay($1, $2::jsonb, $3, $4, $5, $6, $7, $8) as answer",
                [
                    .uuid(tenant.id), .json(filter.text), .double(perSecond),
                    PostgresValue(last), .int(OperationsRepository.batchMax),
                    .string(note.actor), PostgresValue(note.reason), .string(note.requestID),
                ]
            )
            replayed += answer["replayed"]?.intValue ?? 0
            if let time = answer["last_at"]?.present { lastAt = time }
            return answer
        }
        return ["replayed": .int(replayed), "last_at": lastAt, "more": .bool(isMore)]
    }

    /// Calls a statement again and again, each time with the `last` request of its answer, as long as
    /// there is one and the call's limits allow.
    ///
    /// - Returns: whether there may be more.
    private func inBatches(
        _ batch: @LoopActor (_ last: UUID?) async throws -> JSON
    ) async throws -> Bool {
        let end = EventLoop.shared.now + OperationsRepository.bulkBudget
        var looked = 0
        var last: UUID?
        repeat {
            let answer = try await batch(last)
            guard let id = answer["last"]?.stringValue.flatMap({ UUID(text: $0) }) else {
                return false
            }
            last = id
            looked += OperationsRepository.batchMax
        } while looked < OperationsRepository.bulkMax && EventLoop.shared.now < end
        return true
    }

    // MARK: Queues and workers

    /// Counts by state, and the age of the oldest that is due.
    func queue(_ tenant: Tenant) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.queue_json($1, $2) as answer",
            [.uuid(tenant.id), .string(tenant.code)],
            idempotent: true
        )
    }

    /// The processes that send.
    func workers() async throws -> [JSON] {
        try await postgres.query(
            """
            select dispatch.worker_json(w) as answer
              from dispatch.workers w order by w.started_at limit 200
            """,
            [],
            idempotent: true
        ).map { try JSON(stored: $0) }
    }

    /// Tells a process to take nothing more, or to go on; null when there is none of this id.
    func setWorker(
        _ tenant: Tenant,
        _ id: String,
        paused: Bool,
        _ note: AuditNote
    ) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.set_worker($1, $2, $3, $4, $5, $6) as answer",
            [
                .uuid(tenant.id), .string(id), .bool(paused), .string(note.actor),
                PostgresValue(note.reason), .string(note.requestID),
            ],
            idempotent: true
        )
    }

    // MARK: What a tenant keeps

    /// Changes what `policy` names.
    func setPolicy(_ tenant: Tenant, _ policy: JSONObject, _ note: AuditNote) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.put_policy($1, $2::jsonb, $3, $4) as answer",
            [
                .uuid(tenant.id), .json(JSON.object(policy).text), .string(note.actor),
                .string(note.requestID),
            ]
        )
    }

    /// How long ended requests are kept, and how the tenant is served.
    func policy(_ tenant: Tenant) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.policy_json($1) as answer",
            [.uuid(tenant.id)],
            idempotent: true
        )
    }
}
