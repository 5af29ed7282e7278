internal import EventLoop
internal import FoundationEssentials
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
