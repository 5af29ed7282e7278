internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import Platform
internal import PostgresClient

/// Runs that ended as an error are tried again by a timer that survives a restart.
@LoopActor
struct EngineRetries {
    static let owner = "assignment-engine"
    static let kind = "engine_retry"
    /// The pause before the first retry; the timer's own back-off doubles it.
    static let firstPauseMilliseconds: Int64 = 1000

    let postgres: PostgresClient

    /// Has the session tried again, unless that is arranged already.
    func schedule(_ tenant: Tenant, _ session: UUID) async throws(PostgresError) {
        _ = try await postgres.query(
            """
            select platform.set_timer($1, $2, $3, $4, $5, 0,
              now() + $6 * interval '1 ms', '{}')
            where not exists (select 1 from platform.timers
              where tenant_id = $2 and ref_id = $5 and kind = $4)
            """,
            [
                .string(EngineRetries.owner), .uuid(tenant.id), .string(tenant.code),
                .string(EngineRetries.kind), .uuid(session),
                .int(EngineRetries.firstPauseMilliseconds),
            ]
        )
    }
}
