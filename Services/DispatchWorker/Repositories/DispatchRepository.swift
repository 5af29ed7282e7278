internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// Which requests have a job, in the schema `dispatch`.
@LoopActor
struct DispatchRepository {
    /// How long the event of an accepted request has its chance before it is dispatched without it.
    nonisolated static let eventLeadMilliseconds: Int64 = 3_000
    /// How many requests one look finds.
    nonisolated static let unqueuedMax = 200
    nonisolated static let pageSize = 500

    let postgres: PostgresClient

    /// A request that is to be dispatched.
    struct Accepted: Sendable, Hashable {
        let tenantID: UUID
        let tenant: String
        let id: UUID
        let generation: Int
    }

    /// What became of it.
    struct Dispatched: Sendable {
        /// Its place among those asked for, from 0.
        let place: Int
        /// False for a second caller.
        let isFirst: Bool
        /// The job that it is to have; nil when it waits for none.
        let job: QueuedRequest?
        /// The request as the projection shows it.
        let document: JSON
    }

    /// Dispatch once, `accepted` to `dispatched`: a result for each request that there is.
    func markDispatched(_ requests: [Accepted]) async throws -> [Dispatched] {
        let rows = try await postgres.query(
            "select * from dispatch.mark_dispatched($1::uuid[], $2::uuid[], $3::int[])",
            [
                .uuids(requests.map(\.tenantID)), .uuids(requests.map(\.id)),
                .ints(requests.map { Int64($0.generation) }),
            ]
        )
        return try rows.map { row in
            let place = try row.int("place") - 1
            let request = requests[place]
            let document = try JSON(stored: row)
            let job = QueuedRequest(
                tenant: request.tenant,
                id: request.id,
                generation: request.generation,
                threadTS: document["thread_ts"]?.stringValue,
                rank: try row.int64("rank"),
                delay: .milliseconds(try row.int64("due_ms"))
            )
            return Dispatched(
                place: place,
                isFirst: try row.bool("dispatched"),
                job: try row.bool("waiting") ? job : nil,
                document: document
            )
        }
    }

    /// A request that is due.
    struct Due: Sendable {
        let tenantID: UUID
        let isAccepted: Bool
        let job: QueuedRequest
        /// Since when, as the database writes it.
        let since: String

        var accepted: Accepted {
            Accepted(
                tenantID: tenantID,
                tenant: job.tenant,
                id: job.id,
                generation: job.generation
            )
        }

        init(_ row: PostgresRow, since: String, delay: Duration = .zero) throws {
            tenantID = try row.uuid("tenant_id")
            isAccepted = try row.string("status") == "accepted"
            job = QueuedRequest(
                tenant: try row.string("tenant"),
                id: try row.uuid("id"),
                generation: try row.int("generation"),
                threadTS: try row.optionalString("thread_ts"),
                rank: try row.int64("rank"),
                delay: delay
            )
            self.since = since
        }
    }

    /// What is due and has no job, or one that comes too late; those due longest come first.
    func unqueued() async throws -> [Due] {
        try await postgres.query(
            "select * from dispatch.unqueued($1, $2 * interval '1 ms')",
            [
                .int(DispatchRepository.unqueuedMax),
                .int(DispatchRepository.eventLeadMilliseconds),
            ],
            idempotent: true
        ).map { try Due($0, since: "") }
    }

    /// These have a job now that is ready.
    func noteQueued(_ due: [Due]) async throws {
        _ = try await postgres.query(
            "select dispatch.note_queued($1::uuid[], $2::uuid[], $3::int[])",
            [
                .uuids(due.map(\.tenantID)), .uuids(due.map(\.job.id)),
                .ints(due.map { Int64($0.job.generation) }),
            ],
            idempotent: true
        )
    }

    /// How far ahead messages that were laid aside get their slots, and how many of a channel one
    /// statement places.
    nonisolated static let releaseAhead: Duration = .seconds(60)
    nonisolated static let releaseMax = 1_000

    /// Has messages that were laid aside come up at the times of their channels' next slots; returns
    /// how many.
    func releaseParked() async throws -> Int {
        try await postgres.query(
            "select dispatch.release_parked($1 * interval '1 ms', $2) as released",
            [
                .int(DispatchRepository.releaseAhead.milliseconds),
                .int(DispatchRepository.releaseMax),
            ],
            idempotent: true
        ).one().int("released")
    }

    /// The next page of what has been due for longer than `grace`, or will be within `-grace`, after
    /// `last`.
    func overdue(after last: Due?, grace: Duration) async throws -> [Due] {
        try await postgres.query(
            """
            select *, greatest(0, extract(epoch from at::timestamptz - now()) * 1000)::bigint as due_ms
              from dispatch.overdue($1, $2, $3 * interval '1 ms', $4)
            """,
            [
                PostgresValue(last?.since), PostgresValue(last?.job.id),
                .int(grace.milliseconds), .int(DispatchRepository.pageSize),
            ],
            idempotent: true
        ).map {
            try Due(
                $0,
                since: try $0.string("at"),
                delay: .milliseconds(try $0.int64("due_ms"))
            )
        }
    }
}
