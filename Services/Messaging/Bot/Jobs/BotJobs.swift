internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// AI jobs as a worker claims and ends them; each is one function call of the schema.
@LoopActor
struct BotJobs {
    /// Jobs that one process works on at once.
    static let runningLimit = 96
    /// How many of these may be one tenant's: its AI may hang, and all others' answers with it.
    static let tenantShare: Int64 = 32
    /// Messages of history that a job is given.
    static let historyLimit: Int64 = 50
    /// Rows that one sweep looks at.
    static let sweepLimit: Int64 = 100

    let postgres: PostgresClient
    let settings: BotSettings
    /// This process's name among the workers.
    let worker: String

    /// Takes jobs that are due, and tells how long until the next one is; `nil` when none waits.
    ///
    /// - Parameter running: how many jobs of each tenant this worker has.
    func claim(
        limit: Int,
        running: [UUID: Int] = [:]
    ) async throws -> (works: [JSON], nextDue: Duration?) {
        var counts: JSONObject = [:]
        for (tenant, count) in running { counts[tenant.text] = .int(Int64(count)) }
        let rows = try await postgres.query(
            """
            select w || jsonb_build_object('traceparent', (select j.traceparent
                 from messaging.ai_jobs j where j.tenant_id = (w->>'tenant_id')::uuid
                   and j.id = (w->>'id')::uuid)) as answer, due.ms
            from (select (extract(epoch from d - now()) * 1000)::bigint ms
                    from messaging.next_ai_job_due($5::jsonb, $6) d) as due
            left join messaging.claim_ai_jobs(
              $1, $2, $3 * interval '1 ms', $4, $5::jsonb, $6) w on true
            """,
            [
                .string(worker), .int(Int64(limit)), .int(settings.lease.milliseconds),
                .int(BotJobs.historyLimit), .json(JSON.object(counts).text),
                .int(BotJobs.tenantShare),
            ]
        )
        let works = try rows.map { try JSON(stored: $0) }.filter { !$0.isNull }
        let due = try rows.first?.optionalInt64("ms").map { Duration.milliseconds(max(0, $0)) }
        return (works, due)
    }

    /// What a sign of life found.
    enum Pulse: String {
        case ours
        /// A newer message is there.
        case outdated
        /// The job is somebody else's, or was cancelled; the call must be aborted.
        case lost
    }

    /// Signs of life of this worker and of all its jobs, in one statement; what each found.
    func beat(
        _ works: [JobWork],
        processed: Int,
        failed: Int
    ) async throws -> [JobWork.Turn: Pulse] {
        let jobs = works.map { work -> JSON in
            [
                "tenant": .string(work.tenantID.text), "job": .string(work.id.text),
                "fence": .int(work.fence),
            ]
        }
        let rows = try await postgres.query(
            """
            select * from messaging.beat_ai_worker($1, $2, $3, $4::jsonb, $5 * interval '1 ms')
            """,
            [
                .string(worker), .int(processed), .int(failed), .json(JSON.array(jobs).text),
                .int(settings.lease.milliseconds),
            ],
            idempotent: true
        )
        var pulses: [JobWork.Turn: Pulse] = [:]
        for row in rows {
            guard let pulse = Pulse(rawValue: try row.string("pulse")) else {
                throw UnexpectedAnswer(function: "beat_ai_worker")
            }
            let turn = JobWork.Turn(job: try row.uuid("job"), fence: try row.int64("fence"))
            pulses[turn] = pulse
        }
        return pulses
    }

    /// Whether a newer message makes the job's answer one that nobody will see.
    func isSupersedable(_ work: JobWork) -> Bool {
        work.isPosted && !work.bot.postsAnyway && work.supersedes < settings.supersedesMax
    }

    /// Ends a job whose call was aborted because of a newer message.
    ///
    /// Returns `superseded`, `lost`, or `retry` when it must be worked on after all.
    func supersede(_ work: JobWork) async throws -> String {
        try await postgres.query(
            "select messaging.supersede_ai_job($1, $2, $3, $4, $5) outcome",
            place(work) + [.int(settings.supersedesMax)]
        ).one().string("outcome")
    }

    /// Writes the answer if the job's fence still holds.
    ///
    /// Returns what became of it: `posted`, `done`, `superseded` or `lost`. Safe to repeat: the
    /// second call finds the job ended.
    func finish(_ work: JobWork, _ answer: AIAnswer, _ reply: BotReply) async throws -> String {
        let isHandedOver = work.isPosted && reply.asksForPerson
        let result: JSON = [
            "text": .string(reply.text), "provider": .string(work.bot.core.provider),
            "tokens": JSON(answer.tokens), "handover": .bool(reply.asksForPerson),
            "remembered": .bool(answer.isRemembered),
        ]
        let isSaid = work.isPosted && !reply.text.isEmpty
        let limit = AnswerParts.limit(of: work.channelKind)
        return try await postgres.query(
            """
            select outcome from messaging.finish_ai_job(
              $1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8, $9, $10, $11)
            """,
            place(work) + [
                isSaid ? .json(AnswerParts.stored(reply.text, limit: limit).text) : .null,
                .json(result.text),
                .string(work.bot.sender), .bool(work.bot.postsAnyway),
                .int(settings.supersedesMax), isHandedOver ? "the bot asked for a person" : .null,
                PostgresValue(work.bot.handoverTeam),
            ]
        ).one().string("outcome")
    }

    /// Ends an attempt without an answer.
    ///
    /// Returns `retry`, `failed` or `lost`.
    func fail(_ work: JobWork, _ error: AIProviderError) async throws -> String {
        let pause = RetryPause.after(
            attempts: work.attempts,
            base: settings.retryPause,
            asked: error.retryAfter,
            jitter: .random(in: 0...1)
        )
        return try await postgres.query(
            """
            select outcome from messaging.fail_ai_job(
              $1, $2, $3, $4, $5, $6, $7, $8 * interval '1 ms', 'failed')
            """,
            place(work) + [
                .string(error.description), .bool(error.isFinal), .int(settings.attemptsMax),
                .int(pause.milliseconds),
            ]
        ).one().string("outcome")
    }

    /// Lets others work on the job, at once and without an attempt counted.
    ///
    /// Returns `retry` or `lost`.
    func giveBack(_ work: JobWork) async throws -> String {
        try await postgres.query(
            "select messaging.give_back_ai_job($1, $2, $3, $4) outcome",
            place(work)
        ).one().string("outcome")
    }

    /// A job that was given up because its workers died, and the lock that it had.
    struct Expired {
        let tenant: String
        let conversation: UUID
        let id: UUID
        let lockID: String

        init(_ row: PostgresRow) throws {
            tenant = try row.string("tenant")
            conversation = try row.uuid("conversation_id")
            id = try row.uuid("id")
            lockID = try row.uuid("lock_id").text
        }
    }

    /// Frees jobs whose worker died, and makes those that were forgotten.
    ///
    /// Returns those that were given up within the last minute, if this sweep found any job to free.
    @discardableResult
    func sweep() async throws -> [Expired] {
        let swept = try await postgres.query(
            "select * from messaging.sweep_ai($1, $2, $3 * interval '1 ms', $4 * interval '1 ms')",
            [
                .int(BotJobs.sweepLimit), .int(settings.attemptsMax),
                .int(settings.retryPause.milliseconds), .int(settings.idle.milliseconds),
            ]
        ).one()
        guard try swept.int("expired") > 0 else { return [] }
        return try await postgres.query(
            """
            select tenant, conversation_id, id, lock_id from messaging.ai_jobs
            where finished_at > now() - interval '1 minute' and status = 'expired'
            """,
            [],
            idempotent: true
        ).map { try Expired($0) }
    }

    private func place(_ work: JobWork) -> [PostgresValue] {
        [.uuid(work.tenantID), .uuid(work.id), .string(worker), .int(work.fence)]
    }
}
