internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging
internal import PostgresClient

/// Assigns messages whose room was over its limit, when their timers are due.
@LoopActor
final class DeferredAssignments {
    /// How often it looks for due timers.
    static let interval: Duration = .milliseconds(500)
    /// How many it takes at once.
    static let batch = 100
    /// After so long another instance takes over a timer whose runner died.
    static let lease: Duration = .seconds(30)

    private let postgres: PostgresClient
    private let useCase: AutoAssignMessageUseCase
    private let logger: Logger
    private lazy var passes = RepeatedWork(every: DeferredAssignments.interval) { [weak self] in
        await self?.pass()
    }

    init(postgres: PostgresClient, useCase: AutoAssignMessageUseCase, logger: Logger) {
        self.postgres = postgres
        self.useCase = useCase
        self.logger = logger
    }

    func start() { passes.start() }

    func stop() async { await passes.end() }

    private func pass() async {
        do {
            try await assignDue()
        } catch {
            logger.warning("timers: the pass failed", metadata: ["reason": "\(error)"])
        }
    }

    private func assignDue() async throws {
        let rows = try await postgres.query(
            "select * from platform.take_timers('messaging', $1, $2::interval)",
            [
                .int(DeferredAssignments.batch),
                .string("\(DeferredAssignments.lease.milliseconds) ms"),
            ]
        )
        for row in rows {
            let caller = Caller(
                tenant: try row.uuid("tenant_id"),
                code: try row.string("tenant"),
                actor: "timer",
                requestID: try row.uuid("id").text
            )
            try await settle(caller, try row.uuid("id"), message: try row.uuid("ref_id"))
        }
    }

    private func settle(_ caller: Caller, _ timer: UUID, message: UUID) async throws {
        do {
            _ = try await useCase.execute(caller, message: message)
            try await finish(caller, timer)
        } catch let problem as Problem where problem.status == 404 {
            try await finish(caller, timer)
        } catch let problem as Problem where problem.retryAfterMilliseconds != nil {
            let delay = problem.retryAfterMilliseconds ?? 1000
            _ = try await postgres.query(
                """
                update platform.timers set lease_until = null, due_at = now() + $3::interval
                where tenant_id = $1 and id = $2
                """,
                [.uuid(caller.tenant), .uuid(timer), .string("\(delay) ms")]
            )
        } catch {
            logger.warning(
                "a deferred assignment failed",
                metadata: ["message_id": "\(message.text)", "reason": "\(error)"]
            )
            _ = try await postgres.query(
                "select platform.retry_timer($1, $2, $3)",
                [.uuid(caller.tenant), .uuid(timer), .string("\(error)")]
            )
        }
    }

    private func finish(_ caller: Caller, _ timer: UUID) async throws {
        _ = try await postgres.query(
            "select platform.finish_timer($1, $2)",
            [.uuid(caller.tenant), .uuid(timer)],
            idempotent: true
        )
    }
}
