internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// AI jobs as a worker claims and ends them; each is one function call of the schema.
@LoopActor
struct BotJobs {
    /// How long a claim holds without a heartbeat; `AI_JOB_LEASE_MS` sets another.
    nonisolated static let leaseDefault: Duration = .seconds(20)
    /// Messages of history that a job is given.
    static let historyLimit: Int64 = 50
    /// Attempts of a job: the first and two retries.
    static let attemptsMax: Int64 = 3
    /// Answers in a row that newer messages may supersede; the next one is posted as stale.
    static let supersedesMax: Int64 = 2
    static let backoffMilliseconds: Int64 = 500

    let postgres: PostgresClient
    /// This process's name among the workers.
    let worker: String
    var lease = leaseDefault

    func claim(limit: Int) async throws -> [JSON] {
        let rows = try await postgres.query(
            "select w as answer from messaging.claim_ai_jobs($1, $2, $3 * interval '1 ms', $4) w",
            [
                .string(worker), .int(Int64(limit)), .int(lease.milliseconds),
                .int(BotJobs.historyLimit),
            ]
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// How long until the next job is due, or nil when none is waiting.
    func nextDue() async throws -> Duration? {
        let row = try await postgres.query(
            "select (extract(epoch from messaging.next_ai_job_due() - now()) * 1000)::bigint ms"
        ).one()
        return try row.optionalInt64("ms").map { .milliseconds(max(0, $0)) }
    }

    /// False: the job is somebody else's, or was cancelled; the call must be aborted.
    func heartbeat(_ work: JobWork) async throws -> Bool {
        try await postgres.query(
            "select messaging.heartbeat_ai_job($1, $2, $3, $4, $5 * interval '1 ms') ours",
            place(work) + [.int(lease.milliseconds)]
        ).one().bool("ours")
    }

    /// Writes the answer if the job's fence still holds.
    ///
    /// Returns what became of it.
    func finish(_ work: JobWork, _ answer: AIAnswer) async throws -> String {
        let features = TextFeatures(answer.text)
        let result: JSON = [
            "text": .string(answer.text), "provider": .string(work.provider),
            "tokens": JSON(answer.tokens),
        ]
        return try await postgres.query(
            """
            select outcome from messaging.finish_ai_job(
              $1, $2, $3, $4, $5, $6::jsonb, $7, false, $8, $9, $10)
            """,
            place(work) + [
                work.isPosted ? .string(answer.text) : .null, .json(result.text),
                .string(work.sender), .int(BotJobs.supersedesMax), .bytes(features.packedTerms),
                .strings(features.mentions),
            ]
        ).one().string("outcome")
    }

    /// Ends an attempt without an answer.
    ///
    /// Returns `retry`, `failed` or `lost`.
    func fail(
        _ work: JobWork,
        _ reason: String,
        isFinal: Bool,
        pause: Duration?
    ) async throws -> String {
        let backoff = BotJobs.backoffMilliseconds << min(Int64(work.attempts), 4)
        return try await postgres.query(
            """
            select outcome from messaging.fail_ai_job(
              $1, $2, $3, $4, $5, $6, $7, $8 * interval '1 ms', 'failed')
            """,
            place(work) + [
                .string(reason), .bool(isFinal), .int(BotJobs.attemptsMax),
                .int(max(backoff, pause?.milliseconds ?? 0)),
            ]
        ).one().string("outcome")
    }

    /// Frees jobs whose worker died, and makes those that were forgotten.
    func sweep() async throws {
        _ = try await postgres.query(
            "select * from messaging.sweep_ai(100, $1, $2 * interval '1 ms')",
            [.int(BotJobs.attemptsMax), .int(BotJobs.backoffMilliseconds)]
        )
    }

    private func place(_ work: JobWork) -> [PostgresValue] {
        [.uuid(work.tenantID), .uuid(work.id), .string(worker), .int(work.fence)]
    }
}
