public import EventLoop
public import FoundationEssentials
public import PostgresClient

/// A timer that is due.
public struct DueTimer: Sendable, Hashable {
    /// The timer's own id.
    public let id: UUID
    /// The tenant's id.
    public let tenantID: UUID
    /// The tenant's code.
    public let tenant: String
    /// What is to be done.
    public let kind: String
    /// The row that it refers to.
    public let refID: UUID
    /// The version of that row for which it was set; it acts only if that still holds.
    public let refSeq: Int64
    /// How often it was taken, this time included.
    public let attempts: Int
}

/// Takes due timers from `platform.timers` and does what they are for.
///
/// A timer is leased, not locked: a process that dies leaves it to the next one. A handler that
/// throws has it come again after a pause that doubles.
@LoopActor
public final class TimerRunner {
    /// Between two looks at the table.
    public static let pollInterval: Duration = .milliseconds(500)
    /// Timers that one look takes.
    public static let batchLimit = 100
    /// How long a taken timer is ours.
    public static let leaseMilliseconds: Int64 = 30_000

    private let owner: String
    private let postgres: PostgresClient
    private let handler: @LoopActor (DueTimer) async throws -> Void
    private let failed: @LoopActor (String) -> Void
    private var isStopped = false
    private var worker: Task<Void, Never>?

    /// A runner of the timers of `owner`.
    ///
    /// - Parameters:
    ///   - failed: told when a handler threw or the table could not be read.
    ///   - handler: acts once for a due timer; must be safe to repeat.
    public init(
        owner: String,
        postgres: PostgresClient,
        failed: @escaping @LoopActor (String) -> Void,
        handler: @escaping @LoopActor (DueTimer) async throws -> Void
    ) {
        self.owner = owner
        self.postgres = postgres
        self.failed = failed
        self.handler = handler
    }

    /// Starts looking.
    public func start() {
        worker = Task { await run() }
    }

    /// Ends after the timer under way.
    public func stop() async {
        isStopped = true
        worker?.cancel()
        await worker?.value
    }

    /// Takes what is due once.
    ///
    /// Returns how many timers were taken.
    public func runOnce() async throws -> Int {
        let rows = try await postgres.query(
            "select * from platform.take_timers($1, $2, $3 * interval '1 ms')",
            [
                .string(owner), .int(Int64(TimerRunner.batchLimit)),
                .int(TimerRunner.leaseMilliseconds),
            ]
        )
        for row in rows {
            let timer = DueTimer(
                id: try row.uuid("id"),
                tenantID: try row.uuid("tenant_id"),
                tenant: try row.string("tenant"),
                kind: try row.string("kind"),
                refID: try row.uuid("ref_id"),
                refSeq: try row.int64("ref_seq"),
                attempts: try row.int("attempts")
            )
            try await act(timer)
        }
        return rows.count
    }

    private func act(_ timer: DueTimer) async throws {
        do {
            try await handler(timer)
        } catch {
            failed("\(timer.kind): \(error)")
            _ = try await postgres.query(
                "select platform.retry_timer($1, $2, $3)",
                [.uuid(timer.tenantID), .uuid(timer.id), .string("\(error)")],
                idempotent: true
            )
            return
        }
        _ = try await postgres.query(
            "select platform.finish_timer($1, $2)",
            [.uuid(timer.tenantID), .uuid(timer.id)],
            idempotent: true
        )
    }

    private func run() async {
        while !isStopped {
            var taken = 0
            do {
                taken = try await runOnce()
            } catch {
                failed("timers could not be taken: \(error)")
            }
            guard taken < TimerRunner.batchLimit, !isStopped else { continue }
            try? await EventLoop.shared.sleep(for: TimerRunner.pollInterval)
        }
    }
}
