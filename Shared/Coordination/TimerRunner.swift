public import EventLoop
public import FoundationEssentials
public import PostgresClient
public import Tracing

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
    /// The step that set it; nil where nobody records that.
    public let trace: TraceParent?
}

/// Takes due timers from `platform.timers` and does what they are for.
///
/// A timer is leased, not locked: a process that dies leaves it to the next one. Several are acted on
/// at once, so that one whose action takes long delays no other. A handler that throws has its timer
/// come again after a pause that doubles.
@LoopActor
public final class TimerRunner {
    /// Between two looks at the table.
    public static let pollInterval: Duration = .milliseconds(500)
    /// Timers that are acted on at once.
    public static let placesLimit = 32
    /// How long a taken timer is ours; a handler that takes longer may see it acted on twice.
    public static let lease: Duration = .seconds(30)

    private let owner: String
    private let postgres: PostgresClient
    private let handler: @LoopActor (DueTimer) async throws -> Void
    private let failed: @LoopActor (String) -> Void
    private let lease: Duration
    private let wakeup = Wakeup()
    /// What is being acted on, one entry each.
    private var underWay: [UUID: Task<Void, Never>] = [:]
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
        lease: Duration = TimerRunner.lease,
        failed: @escaping @LoopActor (String) -> Void,
        handler: @escaping @LoopActor (DueTimer) async throws -> Void
    ) {
        self.owner = owner
        self.lease = lease
        self.postgres = postgres
        self.failed = failed
        self.handler = handler
    }

    /// Starts looking.
    public func start() {
        worker = Task { await run() }
    }

    /// Takes no more timers, and ends when those under way have.
    ///
    /// - Parameter limit: what has not ended by then is cancelled; its lease brings it back.
    public func stop(within limit: Duration = .seconds(20)) async {
        let deadline = MonotonicTime.now() + limit
        isStopped = true
        wakeup.wake()
        await worker?.value
        while !underWay.isEmpty, MonotonicTime.now() < deadline {
            try? await EventLoop.shared.sleep(for: .milliseconds(10))
        }
        let late = Array(underWay.values)
        for task in late { task.cancel() }
        for task in late { await task.value }
    }

    private func run() async {
        while !isStopped {
            let places = TimerRunner.placesLimit - underWay.count
            var taken = 0
            do {
                if places > 0 { taken = try await take(places) }
            } catch {
                failed("timers could not be taken: \(error)")
            }
            // A full batch means that more may be due; a full house, that one has to leave first.
            if (taken < places || places == 0) && !isStopped {
                await wakeup.rest(atMost: TimerRunner.pollInterval)
            }
        }
    }

    /// Takes up to `limit` due timers and begins to act on them.
    private func take(_ limit: Int) async throws(PostgresError) -> Int {
        let rows = try await postgres.query(
            "select * from platform.take_timers($1, $2, $3 * interval '1 ms')",
            [.string(owner), .int(Int64(limit)), .int(lease.milliseconds)]
        )
        for row in rows {
            let timer = try DueTimer(row)
            let turn = UUID()
            underWay[turn] = Task {
                await act(timer)
                let wasFull = underWay.count == TimerRunner.placesLimit
                underWay[turn] = nil
                if wasFull { wakeup.wake() }
            }
        }
        return rows.count
    }

    private func act(_ timer: DueTimer) async {
        do {
            try await withSpan("timer.act", .consumer, below: timer.trace) {
                Span.current?.note("timer", .text(timer.kind))
                try await handler(timer)
            }
            _ = try await postgres.query(
                "select platform.finish_timer($1, $2)",
                [.uuid(timer.tenantID), .uuid(timer.id)],
                idempotent: true
            )
        } catch {
            failed("\(timer.kind): \(error)")
            // Cut off at the end of the process, it is nobody's failure.
            if !Task.isCancelled { await retry(timer, "\(error)") }
        }
    }

    /// Should even this fail, the lease brings the timer back.
    private func retry(_ timer: DueTimer, _ reason: String) async {
        do {
            _ = try await postgres.query(
                "select platform.retry_timer($1, $2, $3)",
                [.uuid(timer.tenantID), .uuid(timer.id), .string(reason)],
                idempotent: true
            )
        } catch {
            failed("\(timer.kind): a retry could not be noted: \(error)")
        }
    }
}

extension DueTimer {
    /// Reads a row of `platform.timers`.
    init(_ row: PostgresRow) throws(PostgresError) {
        id = try row.uuid("id")
        tenantID = try row.uuid("tenant_id")
        tenant = try row.string("tenant")
        kind = try row.string("kind")
        refID = try row.uuid("ref_id")
        refSeq = try row.int64("ref_seq")
        attempts = try row.int("attempts")
        trace = try row.optionalString("traceparent").flatMap { TraceParent(text: $0) }
    }
}
