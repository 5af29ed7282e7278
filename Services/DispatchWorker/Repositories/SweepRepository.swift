internal import EventLoop
internal import FoundationEssentials
internal import PostgresClient

/// What is settled without being asked for, in batches: each is one short statement.
@LoopActor
struct SweepRepository {
    /// How many requests one statement settles.
    static let settleMax = 200
    /// How many requests one statement looks at behind an ended pause.
    static let releaseMax = 1_000

    let postgres: PostgresClient

    /// Sends whose worker is gone become `unknown`; how many, at most ``settleMax``.
    func expireLeases() async throws -> Int {
        try await count(
            "select dispatch.expire_leases($1) as count",
            [.int(SweepRepository.settleMax)]
        )
    }

    /// Requests whose deadline has passed expire, unless a pause has it stand still; how many were
    /// looked at, at most ``settleMax``.
    func expireDeadlines() async throws -> Int {
        try await count(
            "select dispatch.expire_deadlines($1) as count",
            [.int(SweepRepository.settleMax)]
        )
    }

    /// Ends pauses whose time is over; how many.
    func endExpiredPauses() async throws -> Int {
        try await count("select dispatch.end_expired_pauses() as count")
    }

    /// Lets go a batch of what ended pauses held; false when there is nothing more, or others are at
    /// it.
    func releaseHeld() async throws -> Bool {
        try await postgres.query(
            "select dispatch.release_held($1) is not null as more",
            [.int(SweepRepository.releaseMax)],
            idempotent: true
        ).one().bool("more")
    }

    /// How many rows one statement of the clean-up settles or deletes.
    static let cleanUpMax = 500

    /// Deletes a batch of requests that nobody keeps any more, of the tenants from `first` on; nil:
    /// of all.
    ///
    /// - Returns: the tenant to go on with; nil when all are through.
    func cleanRequests(from first: UUID?) async throws -> (next: UUID?, gone: Int) {
        let row = try await postgres.query(
            "select next, gone from dispatch.clean_requests($1, $2)",
            [PostgresValue(first), .int(SweepRepository.cleanUpMax)],
            idempotent: true
        ).one()
        return (try row.optionalUUID("next"), try row.int("gone"))
    }

    /// What grows beside the requests.
    enum Leftover: String, Sendable, CaseIterable {
        case threads
        /// Deliveries that wait for an endpoint that is disabled; they fail.
        case refused
        case deliveries
    }

    /// Deletes, or fails, a batch of what nobody waits for; how many rows, at most ``cleanUpMax``.
    func clean(_ leftover: Leftover) async throws -> Int {
        try await count(
            "select dispatch.clean_\(leftover.rawValue)($1) as count",
            [.int(SweepRepository.cleanUpMax)]
        )
    }

    private func count(
        _ sql: String,
        _ parameters: [PostgresValue] = []
    ) async throws -> Int {
        try await postgres.query(sql, parameters, idempotent: true).one().int("count")
    }
}
