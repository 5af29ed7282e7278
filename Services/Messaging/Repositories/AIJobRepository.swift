internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// The live job of a conversation: who holds its lock.
struct LiveJob: Sendable {
    let id: UUID
    let lockID: UUID
    let worker: String?
    let ageMilliseconds: Int64
    let pendingCount: Int
}

/// AI jobs in the database, as the API shows and ends them.
@LoopActor
struct AIJobRepository {
    /// Locks that one cleanup releases at most.
    static let cleanupLimit = 1000

    let postgres: PostgresClient

    func find(_ caller: Caller, _ id: UUID) async throws -> [UInt8]? {
        try await postgres.read(
            """
            select messaging.ai_job_json(j) item from messaging.ai_jobs j
            where j.tenant_id = $1 and j.id = $2
            """,
            [.uuid(caller.tenant), .uuid(id)]
        ).first?.utf8("item")
    }

    /// Takes the lock and makes a job of a history that the caller brought; see
    /// `messaging.start_handle`.
    func start(
        _ caller: Caller,
        _ request: HandleRequest,
        debounce: Duration
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.start_handle($1, $2, $3, $4, $5 * interval '1 ms', $6)",
                [
                    .uuid(caller.tenant), .string(caller.code), .uuid(request.conversation),
                    .json(request.input.text), .int(debounce.milliseconds),
                    .string(caller.actor),
                ]
            ).one()
        )
    }

    /// The tenant's live locks, oldest first.
    func liveLocks(_ caller: Caller, limit: Int) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select messaging.ai_lock_json(j, c.pending_count) answer
            from messaging.ai_jobs j join messaging.conversations c
              on c.tenant_id = j.tenant_id and c.id = j.conversation_id
            where j.tenant_id = $1 and j.status in ('pending', 'processing')
            order by j.created_at limit $2
            """,
            [.uuid(caller.tenant), .int(limit)],
            idempotent: true
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// Releases the tenant's locks older than `age`; returns their conversations.
    func cleanup(_ caller: Caller, olderThan age: Duration) async throws -> [UUID] {
        let rows = try await postgres.query(
            """
            select c id from messaging.cleanup_ai_locks($1, $2 * interval '1 ms', $3, $4, $5) c
            """,
            [
                .uuid(caller.tenant), .int(age.milliseconds), .int(AIJobRepository.cleanupLimit),
                .string(caller.actor), .string(caller.requestID),
            ]
        )
        return try rows.map { try $0.uuid("id") }
    }

    /// Those of `ids` that are locks of live jobs.
    func liveLockIDs(_ caller: Caller, _ ids: [String]) async throws -> Set<String> {
        guard !ids.isEmpty else { return [] }
        let rows = try await postgres.query(
            """
            select lock_id::text id from messaging.ai_jobs
            where tenant_id = $1 and status in ('pending', 'processing')
              and lock_id::text = any ($2::text[])
            """,
            [.uuid(caller.tenant), .strings(ids)],
            idempotent: true
        )
        return Set(try rows.map { try $0.string("id") })
    }

    /// Leaves in the audit who took a record down.
    func noteRelease(_ caller: Caller, _ lock: ShownLock) async throws {
        _ = try await postgres.query(
            "select platform.note_audit($1, $2, 'lock.release', $3, null, null, $4, $5)",
            [
                .uuid(caller.tenant), .string(caller.actor), .string(lock.conversation.text),
                "the lock's job was gone", .string(caller.requestID),
            ]
        )
    }

    /// The processes that work on jobs, those seen last first.
    func workers(lostAfter lease: Duration) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select jsonb_build_object('worker', w.worker,
              'status', case when w.heartbeat_at > now() - $1 * interval '1 ms'
                then 'alive' else 'lost' end,
              'heartbeat_age_ms', (extract(epoch from now() - w.heartbeat_at) * 1000)::bigint,
              'in_flight', w.in_flight, 'processed', w.processed, 'failed', w.failed,
              'started_at', messaging.instant(w.started_at)) answer
            from messaging.ai_workers w order by w.heartbeat_at desc limit 200
            """,
            [.int(lease.milliseconds)],
            idempotent: true
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// Cancels a job by its id, or supersedes the one that lives in a conversation.
    func stop(
        _ caller: Caller,
        job: UUID? = nil,
        conversation: UUID? = nil,
        status: String,
        reason: String?
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.stop_ai_job($1, $2, $3, $4, $5, $6, $7)",
                [
                    .uuid(caller.tenant), PostgresValue(job), PostgresValue(conversation),
                    .string(status), .string(caller.actor), PostgresValue(reason),
                    .string(caller.requestID),
                ]
            ).one()
        )
    }

    /// Whether the conversation exists, and the job that holds its lock.
    func live(
        _ caller: Caller,
        conversation: UUID
    ) async throws -> (exists: Bool, job: LiveJob?) {
        let row = try await postgres.read(
            """
            select j.id, j.lock_id, j.worker, c.pending_count,
              (extract(epoch from now() - j.created_at) * 1000)::bigint as age
            from messaging.conversations c left join messaging.ai_jobs j
              on j.tenant_id = c.tenant_id and j.conversation_id = c.id
              and j.status in ('pending', 'processing')
            where c.tenant_id = $1 and c.id = $2
            """,
            [.uuid(caller.tenant), .uuid(conversation)]
        ).first
        guard let row else { return (false, nil) }
        guard let id = try row.optionalUUID("id") else { return (true, nil) }
        let job = LiveJob(
            id: id,
            lockID: try row.uuid("lock_id"),
            worker: try row.optionalString("worker"),
            ageMilliseconds: try row.int64("age"),
            pendingCount: try row.int("pending_count")
        )
        return (true, job)
    }
}
