internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// The states of sending, in the schema `dispatch`; PostgreSQL decides who sends.
@LoopActor
struct SendRepository {
    /// How long a sender owns a request unless it renews; `SEND_LEASE_MS` sets another.
    nonisolated static let leaseDefault: Duration = .seconds(60)

    let postgres: PostgresClient
    let lease: Duration
    private let statements: SendStatements

    init(postgres: PostgresClient, lease: Duration = leaseDefault) {
        self.postgres = postgres
        self.lease = lease
        statements = SendStatements(postgres, lease: lease)
    }

    /// The request and how its channel is configured now; nil when there is no such request.
    ///
    /// - Parameter content: whether what it says is wanted too.
    func resolve(_ tenant: UUID, _ id: UUID, content: Bool) async throws -> RequestState? {
        try await statements.resolving.call(.init(tenant: tenant, id: id, content: content))
    }

    /// An unknown request; nil when it is not unknown.
    func unknown(_ tenant: UUID, _ id: UUID) async throws -> UnknownRequest? {
        try await postgres.read(
            "select * from dispatch.unknown_request($1, $2)",
            [.uuid(tenant), .uuid(id)]
        ).first.flatMap { try UnknownRequest($0) }
    }

    /// Notes why only a person can settle an unknown request.
    ///
    /// - Parameter fence: the token of the attempt that was looked for.
    func park(_ job: MessageReference, _ fence: UUID?, error: String) async throws {
        _ = try await postgres.query(
            "select dispatch.park_unknown($1, $2, $3, $4, $5)",
            place(of: job) + [PostgresValue(fence), .string(error)]
        )
    }

    /// Why a request is put off, where that makes a difference.
    enum Postponement: String, Sendable {
        /// A pause; one that has ended meanwhile puts nothing off.
        case pause
        /// Its channel's next slots are taken.
        case slot
        /// Its channel's slots are taken for longer than messages are placed ahead: it is laid aside
        /// until ``DispatchRepository/releaseParked()``.
        case parked
    }

    /// How long a message that was laid aside rests at most; then it is looked at all the same.
    static let parkedWait: Duration = .seconds(86_400)

    /// Puts a request off that cannot be sent now; no attempt is spent.
    ///
    /// - Returns: for how long it was put off.
    func postpone(
        _ job: MessageReference,
        by wait: Duration,
        reason: String?,
        kind: Postponement?
    ) async throws -> Duration {
        try await statements.postponing.call(
            .init(job: job, wait: wait, reason: reason, kind: kind)
        ) ?? wait
    }

    /// How `dispatch.begin_send` answered.
    struct Beginning: Sendable {
        let hasBegun: Bool
        let status: String
        let attempts: Int
        /// The thread that the message goes into.
        let threadTS: String?
        /// When it has not begun: how long until asking again makes sense, if it ever does.
        let wait: Duration?
    }

    /// The one commit before the first byte: who gets `hasBegun` may send, nobody else.
    func begin(_ message: ResolvedMessage, token: UUID) async throws -> Beginning {
        let answer = try await statements.stepping.call(
            .begin(message.job, token: token, target: message.channel.target)
        )
        return Beginning(
            hasBegun: answer["begun"] == true,
            status: answer["status"]?.stringValue ?? "",
            attempts: Int(answer["attempts"]?.intValue ?? 0),
            threadTS: answer["thread_ts"]?.stringValue,
            wait: answer["wait_ms"]?.intValue.map { .milliseconds($0) }
        )
    }

    /// Keeps the lease; false when the request is somebody else's by now.
    func renew(_ job: MessageReference, token: UUID) async throws -> Bool {
        try await postgres.query(
            "select dispatch.renew_lease($1, $2, $3, $4 * interval '1 ms') as answer",
            [
                .uuid(job.tenantID), .uuid(job.messageRequestID), .uuid(token),
                .int(lease.milliseconds),
            ],
            idempotent: true
        ).one().bool("answer")
    }

    /// What is recorded of an attempt.
    struct Ending: Sendable {
        let status: String
        var providerTS: String?
        var error: String?
        var httpStatus: Int?
        var retryAfter: Duration?
        var wait: Duration?
        var counts = true
        var took: Duration
    }

    /// Records how an attempt ended.
    ///
    /// - Returns: the state that came of it; nil when it was not ours.
    func finish(_ job: MessageReference, token: UUID, _ ending: Ending) async throws -> String? {
        let answer = try await statements.stepping.call(.finish(job, token: token, ending))
        return answer["recorded"] == true ? answer["status"]?.stringValue : nil
    }

    /// How long after its token was refused a workspace is probed.
    static let probeMilliseconds: Int64 = 300_000

    /// Stops sending for a workspace until it is configured again or a probe finds it well; false
    /// when it was stopped already.
    func pause(_ job: MessageReference, workspace: String, reason: String) async throws -> Bool {
        try await postgres.query(
            "select dispatch.pause_workspace($1, $2, $3, $4, $5 * interval '1 ms') as answer",
            [
                .uuid(job.tenantID), .string(job.tenant), .string(workspace), .string(reason),
                .int(SendRepository.probeMilliseconds),
            ],
            idempotent: true
        ).one().bool("answer")
    }

    /// How many requests of some tenants are in a state.
    struct StateCount: Sendable {
        /// `waiting`, `retry_wait`, `sending` or `unknown`.
        let state: String
        /// The last digit of the tenants' ids, from `0` to `f`: few series, however many tenants.
        let tenantBucket: String
        let count: Int
    }

    /// How many requests are in each state, by bucket of tenants (none left out), and how old the
    /// oldest due one is.
    func counts() async throws -> (states: [StateCount], oldest: Duration) {
        let rows = try await postgres.query(
            """
            select b.bucket, s.state, count(m.state) as count,
                   coalesce(max(m.age), 0)::bigint as oldest
              from (select to_hex(n) as bucket from generate_series(0, 15) n) b
             cross join unnest(array['waiting', 'retry_wait', 'sending', 'unknown']) s (state)
              left join (
                select right(x.tenant_id::text, 1) as bucket,
                       case when x.status in ('accepted', 'dispatched') then 'waiting'
                            else x.status end as state,
                       case when x.next_attempt_at <= now() and x.status <> 'unknown'
                         then extract(epoch from now() - greatest(x.created_at, x.send_at)) * 1000
                       end as age
                  from (select * from dispatch.message_requests
                         where status not in ('sent', 'failed', 'cancelled', 'expired')
                         limit 100000) x) m on m.bucket = b.bucket and m.state = s.state
             group by b.bucket, s.state
            """,
            [],
            idempotent: true
        )
        let states = try rows.map { row in
            StateCount(
                state: try row.string("state"),
                tenantBucket: try row.string("bucket"),
                count: try row.int("count")
            )
        }
        let oldest = try rows.map { try $0.int64("oldest") }.max() ?? 0
        return (states, .milliseconds(oldest))
    }

    /// Says that a process lives, and what it does; true when it is to pause.
    func seen(_ worker: String, _ reading: WorkerReading) async throws -> Bool {
        try await postgres.query(
            "select dispatch.worker_seen($1, $2, $3, $4, $5, $6) as answer",
            [
                .string(worker), .string(reading.state), .int(reading.concurrency),
                .int(reading.inFlight), .int(reading.sent), .int(reading.failed),
            ],
            idempotent: true
        ).one().bool("answer")
    }

    /// Delivers through the embedded transport; answers the ts.
    ///
    /// What it has already is kept once per request and generation, and counted as a repeat. A statement
    /// whose answer was lost is not sent again here, for the same reason.
    func deliverLocally(_ message: ResolvedMessage) async throws -> String {
        let job = message.job
        let answer = try JSON(
            stored: try await postgres.query(
                "select dispatch.deliver_local($1, $2, $3, $4, $5, $6, $7, $8::jsonb) as answer",
                place(of: job) + [
                    .string(job.channelCode), .string(message.channel.providerChannelID),
                    PostgresValue(message.content.threadTS), PostgresValue(message.content.text),
                    message.content.blocks.map { .json($0.text) } ?? .null,
                ]
            ).one()
        )
        guard let ts = answer["ts"]?.stringValue else {
            throw UnexpectedAnswer(function: "dispatch.deliver_local")
        }
        return ts
    }

    /// The ts under which the embedded transport delivered a request, or nil.
    func deliveredLocally(_ job: MessageReference) async throws -> String? {
        let rows = try await postgres.read(
            """
            select ts from dispatch.local_outbox
             where tenant_id = $1 and message_request_id = $2 and generation = $3
            """,
            place(of: job)
        )
        return try rows.first?.string("ts")
    }

    private func place(of job: MessageReference) -> [PostgresValue] {
        [.uuid(job.tenantID), .uuid(job.messageRequestID), .int(Int64(job.generation))]
    }
}
