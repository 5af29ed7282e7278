public import EventLoop
internal import FaultPoints
internal import FoundationEssentials
public import PostgresClient

/// Calls another service on behalf of a committed row.
@LoopActor
public protocol OutboxCaller: AnyObject {
    /// Delivers `row.payload` to `row.path` of the service `row.target`, with the row's event id as
    /// idempotency key.
    func call(_ row: OutboxRow) async -> CallOutcome
}

/// What the relay reports; telemetry listens.
public enum OutboxEvent: Sendable {
    /// So many events went to the stream.
    case published(Int)
    /// A call was delivered.
    case called(OutboxRow)
    /// A delivery must wait: the reason, and for how long.
    case postponed(OutboxRow, String, Duration)
    /// A call was refused so often that it was laid aside.
    case laidAside(OutboxRow, String)
    /// Redis or PostgreSQL would not answer; the pass is tried again.
    case passFailed(String)
}

/// Delivers what transactions left behind: events to the stream, calls to other services.
///
/// One relay at a time works on a service's rows (an advisory lock chooses it), in the order of their
/// ids within a key and, for calls, the service that is called. A row is marked only after its
/// delivery, so a crash in between delivers it again: consumers know events by id, callees know calls
/// by idempotency key.
@LoopActor
public final class OutboxRelay {
    /// How many rows one pass takes.
    public static let batchLimit = 256
    /// After so many refusals a call is laid aside.
    public static let refusalsLimit = 5
    /// How long a relay sleeps when nobody wakes it.
    public static let pollInterval: Duration = .milliseconds(500)
    /// How long the next pass waits after one that delivered events.
    ///
    /// Under load one look serves many transactions, and what comes alone waits for nothing. Calls
    /// that end within it are marked together.
    public static let gathering: Duration = .milliseconds(5)

    private let source: String
    private let postgres: PostgresClient
    private let stream: StreamProducer
    private let caller: any OutboxCaller
    private let locks: PostgresAdvisoryLocks
    private let observer: @LoopActor (OutboxEvent) -> Void
    /// Calls end one by one, and each mark would be a statement and a commit.
    private let marksOfCalls: GroupedStatement<OutboxRow, Void>

    /// Told of events after they went to the stream and before they are marked: of each at least
    /// once, whatever dies in between.
    public var onPublished: (@LoopActor ([OutboxRow]) async -> Void)?

    /// Lanes with a call under way or waiting; the value is when it may be tried again.
    private var busy: [String: MonotonicTime] = [:]
    private var gate = CalleeGate()
    private var isLeader = false
    private var isStopped = false
    private let wakeup = Wakeup()
    private var worker: Task<Void, Never>?

    /// A relay for the rows of `source`, the service's own name.
    public init(
        source: String,
        postgres: PostgresClient,
        stream: StreamProducer,
        caller: any OutboxCaller,
        locks: PostgresAdvisoryLocks,
        observer: @escaping @LoopActor (OutboxEvent) -> Void
    ) {
        self.source = source
        self.postgres = postgres
        self.stream = stream
        self.caller = caller
        self.locks = locks
        self.observer = observer
        marksOfCalls = GroupedStatement(gathering: OutboxRelay.gathering) { rows in
            try await OutboxRelay.mark(rows, in: postgres)
            return rows.map { _ in }
        }
    }

    /// Starts delivering.
    public func start() {
        worker = Task { await run() }
    }

    /// Ends after the pass under way; calls under way are waited for.
    public func stop() async {
        isStopped = true
        wake()
        await worker?.value
        while gate.underWay > 0 { try? await EventLoop.shared.sleep(for: .milliseconds(10)) }
        // Closing the connection frees the lock too, should this fail.
        if isLeader { try? await locks.release(lockKey) }
        isLeader = false
    }

    /// Looks at the table at once: called after a commit of this process, or by a hint of another.
    public func wake() { wakeup.wake() }

    /// Called when the connection that held the leader's lock was lost.
    public func leadershipLost() {
        isLeader = false
    }

    private var lockKey: String { "outbox:\(source)" }

    private func run() async {
        while !isStopped {
            var found = 0
            do {
                if try await lead() { found = try await pass() }
            } catch {
                observer(.passFailed("\(error)"))
            }
            guard found < OutboxRelay.batchLimit && !isStopped else { continue }
            if found > 0 { try? await EventLoop.shared.sleep(for: OutboxRelay.gathering) }
            await wakeup.rest(atMost: OutboxRelay.pollInterval)
        }
    }

    private func lead() async throws(PostgresError) -> Bool {
        if !isLeader { isLeader = try await locks.tryAcquire(lockKey) }
        return isLeader
    }

    /// One look at the table.
    ///
    /// Returns how many rows it dealt with now.
    private func pass() async throws -> Int {
        let now = MonotonicTime.now()
        busy = busy.filter { $0.value > now }
        let rows = try await postgres.query(
            "select * from platform.outbox_pending($1, $2, $3::text[], $4::text[])",
            [
                .string(source), .int(Int64(OutboxRelay.batchLimit)), .strings(Array(busy.keys)),
                .strings(gate.held(now: now)),
            ]
        )
        var pending: [OutboxRow] = []
        for row in rows { pending.append(try OutboxRow(row)) }
        let plan = OutboxPlan(rows: pending, busy: Set(busy.keys))
        for call in plan.calls where gate.room(call.target, now: now) > 0 { begin(call) }
        guard !plan.events.isEmpty else { return 0 }
        try await FaultPoints.reached("outbox.events_read")
        try await stream.publish(plan.events)
        try await FaultPoints.reached("outbox.published")
        await onPublished?(plan.events)
        try await OutboxRelay.mark(plan.events, in: postgres)
        try await FaultPoints.reached("outbox.marked")
        observer(.published(plan.events.count))
        return plan.events.count
    }

    private func begin(_ row: OutboxRow) {
        busy[row.lane] = .distantFuture
        gate.began(row.target)
        Task {
            await settle(row, await caller.call(row))
            wake()
        }
    }

    /// The call waits with all others of its service, and does not count as tried.
    ///
    /// It waits a little longer than they do: should the fault lie with it, the next try is not its.
    private func leaveAlone(_ row: OutboxRow, _ reason: String) {
        let now = MonotonicTime.now()
        let pause = gate.unanswered(row.target, now: now, random: Double.random(in: 0..<1))
        busy[row.lane] = now + pause + RelayBackoff.first
        observer(.postponed(row, reason, pause))
        for delay in [pause, pause + RelayBackoff.first] {
            EventLoop.shared.schedule(after: delay) { [weak self] in self?.wake() }
        }
    }

    private func settle(_ row: OutboxRow, _ outcome: CallOutcome) async {
        do {
            switch outcome {
            case .delivered:
                try await FaultPoints.reached("outbox.delivered")
                try await marksOfCalls.call(row)
                try await FaultPoints.reached("outbox.call_marked")
                busy[row.lane] = nil
                observer(.called(row))
            case .unreachable(let reason):
                return leaveAlone(row, reason)
            case .later(let reason):
                try await postpone(row, reason)
            case .refused(let reason) where row.attempts + 1 >= OutboxRelay.refusalsLimit:
                _ = try await postgres.query(
                    "select platform.outbox_lay_aside($1, $2, $3)",
                    [.int(row.id), .time(milliseconds: row.createdAt), .string(reason)],
                    idempotent: true
                )
                busy[row.lane] = nil
                observer(.laidAside(row, reason))
            case .refused(let reason):
                try await postpone(row, reason)
            }
        } catch {
            // The row is still pending; its key rests a moment and is then delivered again.
            busy[row.lane] = MonotonicTime.now() + RelayBackoff.first
            observer(.passFailed("\(error)"))
        }
        gate.answered(row.target)
    }

    private func postpone(_ row: OutboxRow, _ reason: String) async throws(PostgresError) {
        let delay = RelayBackoff.delay(
            attempts: row.attempts + 1,
            random: Double.random(in: 0..<1)
        )
        busy[row.lane] = MonotonicTime.now() + delay
        _ = try await postgres.query(
            "select platform.outbox_postpone($1, $2, $3)",
            [.int(row.id), .time(milliseconds: row.createdAt), .string(reason)],
            idempotent: true
        )
        observer(.postponed(row, reason, delay))
        EventLoop.shared.schedule(after: delay) { [weak self] in self?.wake() }
    }

    private static func mark(
        _ rows: [OutboxRow],
        in postgres: PostgresClient
    ) async throws(PostgresError) {
        // The oldest time lets the statement look into few partitions.
        let oldest = rows.map(\.createdAt).min() ?? 0
        _ = try await postgres.query(
            "select platform.outbox_published($1::bigint[], $2)",
            [.ints(rows.map(\.id)), .time(milliseconds: oldest)],
            idempotent: true
        )
    }
}
