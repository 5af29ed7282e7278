public import EventLoop
internal import JSON
public import PostgresClient
internal import RedisClient

/// Gives a group of readers from the outbox what its stream has lost.
///
/// A stream keeps only so many entries, and its server may come back without any: what is published
/// stays in `platform.outbox` for a week, from where it is read again. How far the group came and what
/// it misses stands in `platform.stream_readers`, so that another process goes on where one died.
/// An event can come twice; its handler knows it by id, as it knows one that a dead reader left. So what
/// one partition has lost is read again with what the others were given in that time: which of them an
/// event was put onto depends on how many there were then.
@LoopActor
public final class StreamReplay {
    /// How many events a page holds.
    public static let pageLimit = 256
    /// For how long an entry can be in somebody's hands: so much is read again before the newest one
    /// that is known to be handled.
    public static let pending: Duration = .seconds(300)
    /// By how much the clocks of Redis and PostgreSQL may differ.
    public static let drift: Duration = .seconds(60)
    /// How long after it was sent an event may still be unmarked.
    static let settled: Duration = .seconds(5)
    /// For how long a process that does not go on keeps its turn.
    static let lease: Duration = .seconds(30)
    /// How often the group's position is written down, and looked whether there is something to read.
    static let interval: Duration = .seconds(2)

    private let postgres: PostgresClient
    private let settled: Duration
    private let interval: Duration
    private let stream: String
    private let reader: String
    private let worker: String
    private let observer: @LoopActor (StreamEvent) -> Void
    private var handler: (@LoopActor ([StreamEntry]) async throws -> Void)?
    private var work: RepeatedWork?
    private var isStopped = false
    /// The newest entry that is known to be handled, milliseconds; nil where nobody read before.
    private var position: Int64?
    private var written: Int64 = 0
    /// The newest entry that the group is known to have been given by the stream as it is now.
    private var seen: StreamEntryID?

    /// For one consumer of `reader`, a group.
    ///
    /// - Parameters:
    ///   - worker: this process's name within the group.
    ///   - observer: told when the database would not answer.
    public convenience init(
        postgres: PostgresClient,
        stream: String,
        reader: String,
        worker: String,
        observer: @escaping @LoopActor (StreamEvent) -> Void
    ) {
        self.init(
            postgres: postgres,
            stream: stream,
            reader: reader,
            worker: worker,
            settled: StreamReplay.settled,
            interval: StreamReplay.interval,
            observer: observer
        )
    }

    init(
        postgres: PostgresClient,
        stream: String,
        reader: String,
        worker: String,
        settled: Duration,
        interval: Duration,
        observer: @escaping @LoopActor (StreamEvent) -> Void
    ) {
        self.postgres = postgres
        self.stream = stream
        self.reader = reader
        self.worker = worker
        self.settled = settled
        self.interval = interval
        self.observer = observer
    }

    /// Begins to read again what is missing, now and later; `handler` throws what is to come again.
    func start(_ handler: @escaping @LoopActor ([StreamEntry]) async throws -> Void) {
        self.handler = handler
        let work = RepeatedWork(every: interval) { [weak self] in await self?.turn() }
        self.work = work
        work.start()
    }

    /// Ends after the page under way, and writes down how far the group came.
    func stop() async {
        isStopped = true
        await work?.end()
        try? await write()
    }

    /// Counts an entry as handled.
    func handled(_ entryID: String) {
        guard let id = StreamEntryID(text: entryID) else { return }
        position = max(position ?? 0, id.milliseconds)
        seen = seen.map { max($0, id) } ?? id
    }

    /// Compares the stream with how far the group came, and notes what it will not be given.
    ///
    /// - Throws: when it cannot be noted: then the group must not read on, which would hide it.
    func look(_ facts: StreamGap.Facts) async throws {
        if seen == nil {
            try await learn()
            seen = position.map { StreamEntryID(milliseconds: $0, sequence: 0) }
        }
        let before = seen ?? facts.delivered
        // Others of the group may have come further than this process knows.
        if facts.delivered < before { try await learn() }
        let missing = StreamGap.missing(
            facts,
            seen: before,
            handled: position ?? before.milliseconds,
            now: WallClock.milliseconds(),
            pending: StreamReplay.pending.milliseconds,
            drift: StreamReplay.drift.milliseconds
        )
        if let missing { try await miss(missing) }
        seen = facts.delivered
    }

    /// Notes that an entry that was in somebody's hands is gone.
    func lost(_ entryID: String) async throws {
        guard let id = StreamEntryID(text: entryID) else { return }
        let drift = StreamReplay.drift.milliseconds
        try await miss(.init(from: id.milliseconds - drift, until: id.milliseconds + drift))
    }

    private func miss(_ missing: StreamGap.Missing) async throws(PostgresError) {
        _ = try await postgres.query(
            "select platform.stream_missed($1, $2, $3, $4)",
            [.string(stream), .string(reader), .int(missing.from), .int(missing.until)],
            idempotent: true
        )
        observer(.missed(from: missing.from, until: missing.until))
    }

    /// How far the group's processes wrote that it came.
    private func learn() async throws(PostgresError) {
        guard let before = try await note(position ?? 0), before > 0 else { return }
        position = max(position ?? 0, before)
    }

    private func note(_ position: Int64) async throws(PostgresError) -> Int64? {
        let rows = try await postgres.query(
            "select platform.stream_read($1, $2, $3) as before",
            [.string(stream), .string(reader), .int(position)],
            idempotent: true
        )
        return try rows.first?.optionalInt64("before")
    }

    private func write() async throws(PostgresError) {
        guard let position, position > written else { return }
        _ = try await note(position)
        written = position
    }

    private func turn() async {
        do {
            try await write()
            while !isStopped, try await page() {}
        } catch {
            observer(.unavailable("\(error)"))
        }
    }

    /// Handles one page; false where there is nothing to do.
    private func page() async throws -> Bool {
        let rows = try await postgres.query(
            """
            select place, rows from platform.stream_replay($1, $2, $3,
              $4 * interval '1 ms', $5 * interval '1 ms', $6)
            """,
            [
                .string(stream), .string(reader), .string(worker),
                .int(StreamReplay.lease.milliseconds), .int(settled.milliseconds),
                .int(Int64(StreamReplay.pageLimit)),
            ],
            idempotent: true
        )
        guard let row = rows.first, let handler else { return false }
        let events = try JSON(parsing: Array(try row.json("rows").utf8))
        let entries = (events.arrayValue ?? []).map(StreamReplay.entry)
        if !entries.isEmpty { try await handler(entries) }
        _ = try await postgres.query(
            "select platform.stream_replayed($1, $2, $3, $4::jsonb)",
            [.string(stream), .string(reader), .string(worker), .json(try row.json("place"))],
            idempotent: true
        )
        if !entries.isEmpty { observer(.replayed(entries.count)) }
        return true
    }

    private static func entry(_ event: JSON) -> StreamEntry {
        var fields: [String: String] = [:]
        for name in ["id", "name", "tenant", "key", "at", "data", "traceparent"] {
            fields[name] = event[name]?.stringValue
        }
        fields["version"] = event["version"]?.intValue.map { String($0) }
        return StreamEntry(
            entryID: "row \(event["row"]?.intValue ?? 0)",
            fields: fields,
            deliveries: 1
        )
    }
}
