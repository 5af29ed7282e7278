public import EventLoop
public import RedisClient
public import Tracing

/// An entry of a stream.
public struct StreamEntry: Sendable, Hashable {
    /// The stream's own id of the entry.
    public let entryID: String
    /// Its fields.
    public let fields: [String: String]
    /// How often it was delivered, this time included.
    public let deliveries: Int

    /// The step that left it; nil where nobody records that.
    public var trace: TraceParent? { fields["traceparent"].flatMap { TraceParent(text: $0) } }
}

/// What a consumer reports.
public enum StreamEvent: Sendable {
    /// An entry's handler threw; it comes again.
    case failed(StreamEntry, String)
    /// An entry failed too often and stands in the dead-letter stream now.
    case deadLettered(StreamEntry, String)
    /// Redis or PostgreSQL would not answer.
    case unavailable(String)
    /// The stream lost what was published between these times, milliseconds since 1970; it is read
    /// again from the outbox.
    case missed(from: Int64, until: Int64)
    /// So many events were read again.
    case replayed(Int)
}

/// Reads a stream as one of a group: each entry is handled by one consumer, again by another when
/// that one dies, and laid aside when it keeps failing.
///
/// What one read gave is handled together, and one by one when that fails, so that a bad entry fails
/// none of its neighbours. An entry is acknowledged after its handler returned. It can therefore come
/// twice: the handler knows it by its `id` field. What the stream has lost comes from where it was
/// published from, where there is such a place: see ``StreamReplay``.
@LoopActor
public final class StreamConsumer {
    /// How many entries one read takes.
    public static let batchLimit = 512
    /// How many of a dead consumer's entries are taken over at once, to be handled one by one.
    static let claimLimit: Int64 = 64
    /// Deliveries after which an entry goes to `<stream>:dead`.
    public static let deliveriesLimit = 5
    /// How often it is looked whether the stream has lost entries.
    static let lookInterval: Duration = .milliseconds(500)
    /// How long the dead-letter stream may grow, about.
    public static let deadLetterLimit: Int64 = 10_000

    private let redis: RedisClient
    private let blocking: RedisBlockingConnection
    private let stream: String
    private let group: String
    private let consumer: String
    private let claimIdle: Duration
    private let gathering: Duration
    private let replay: StreamReplay?
    private let handler: @LoopActor ([StreamEntry]) async throws -> Void
    private let observer: @LoopActor (StreamEvent) -> Void
    private var isStopped = false
    private var worker: Task<Void, Never>?
    private var lastClaim = MonotonicTime(nanoseconds: 0)
    private var lastLook: MonotonicTime?
    /// How often an entry that is read again has failed.
    private var failures: [String: Int] = [:]

    /// A consumer of `stream` in `group`.
    ///
    /// - Parameters:
    ///   - blocking: a connection of its own; its reads wait in Redis.
    ///   - consumer: this process's name within the group.
    ///   - claimIdle: how long an entry rests unacknowledged before another consumer takes it.
    ///   - gathering: how long to let entries come together after a read that took all there were; for
    ///     what nobody waits for.
    ///   - replay: where entries that the stream has lost come from; nil for a stream that is all there
    ///     is of its entries.
    ///   - handler: handles entries in their order; throws when they are to come again.
    public init(
        redis: RedisClient,
        blocking: RedisBlockingConnection,
        stream: String,
        group: String,
        consumer: String,
        claimIdle: Duration = .seconds(60),
        gathering: Duration = .zero,
        replay: StreamReplay? = nil,
        observer: @escaping @LoopActor (StreamEvent) -> Void,
        handler: @escaping @LoopActor ([StreamEntry]) async throws -> Void
    ) {
        self.redis = redis
        self.blocking = blocking
        self.stream = stream
        self.group = group
        self.consumer = consumer
        self.claimIdle = claimIdle
        self.gathering = gathering
        self.replay = replay
        self.observer = observer
        self.handler = handler
    }

    /// Starts reading.
    public func start() {
        worker = Task { await run() }
        replay?.start { [weak self] in try await self?.handleAgain($0) }
    }

    /// Ends after the entry under way.
    public func stop() async {
        isStopped = true
        await blocking.stop()
        await worker?.value
        await replay?.stop()
    }

    /// How many entries the group has not been given yet; see ``StreamBacklog``.
    public func lag() async -> Int64? {
        await StreamBacklog.lag(of: stream, group, in: redis)
    }

    private func run() async {
        while !isStopped {
            do {
                // Before anybody can read on, which would hide what is missing.
                lastLook = nil
                try await look()
                try await createGroup()
                while !isStopped {
                    try await claimAbandoned()
                    try await look()
                    try await readNew()
                }
            } catch {
                guard !isStopped else { return }
                observer(.unavailable("\(error)"))
                try? await EventLoop.shared.sleep(for: .milliseconds(500))
            }
        }
    }

    /// Looks for what the stream has lost, now and then, and before each read when it is half full of
    /// what waits: from then on it may lose entries at any time.
    private func look() async throws {
        let now = MonotonicTime.now()
        guard let replay, lastLook.map({ now - $0 >= StreamConsumer.lookInterval }) ?? true else {
            return
        }
        let replies = try await redis.pipeline([
            ["XINFO", "STREAM", .string(stream)], ["XINFO", "GROUPS", .string(stream)],
        ])
        // Without stream or group nothing was given to it yet, or it is gone.
        let facts =
            StreamGap.Facts(stream: replies[0], groups: replies[1], group: group)
            ?? StreamGap.Facts()
        try await replay.look(facts)
        lastLook = facts.waiting > EventStreams.lengthLimit / 2 ? nil : now
    }

    private func createGroup() async throws(RedisError) {
        do {
            _ = try await redis.send([
                "XGROUP", "CREATE", .string(stream), .string(group), "0", "MKSTREAM",
            ])
        } catch {
            // Somebody made it already.
            if error.serverCode != "BUSYGROUP" { throw error }
        }
    }

    private func readNew() async throws(RedisError) {
        let reply = try await blocking.send(
            [
                "XREADGROUP", "GROUP", .string(group), .string(consumer), "COUNT",
                .int(Int64(StreamConsumer.batchLimit)), "BLOCK", 1000, "STREAMS", .string(stream),
                ">",
            ],
            within: .seconds(3)
        )
        var read = 0
        for (_, entries) in streams(of: reply) {
            let entries = StreamConsumer.entries(entries, deliveries: 1)
            read += entries.count
            try await handleTogether(entries)
        }
        if gathering > .zero && (1..<StreamConsumer.batchLimit).contains(read) {
            try? await EventLoop.shared.sleep(for: gathering)
        }
    }

    private func streams(of reply: RedisValue) -> [(RedisValue, RedisValue)] {
        (reply.array ?? []).compactMap { pair in
            guard let pair = pair.array, pair.count == 2 else { return nil }
            return (pair[0], pair[1])
        }
    }

    /// Takes over what a dead consumer left; looks at most twice per idle time.
    private func claimAbandoned() async throws {
        let now = MonotonicTime.now()
        guard now - lastClaim > claimIdle / 2 else { return }
        lastClaim = now
        var cursor = "0-0"
        repeat {
            let reply = try await redis.send([
                "XAUTOCLAIM", .string(stream), .string(group), .string(consumer),
                .int(claimIdle.milliseconds), .string(cursor), "COUNT",
                .int(StreamConsumer.claimLimit),
            ])
            guard let parts = reply.array, parts.count >= 2 else { return }
            cursor = parts[0].text ?? "0-0"
            for entry in StreamConsumer.entries(parts[1], deliveries: 2) {
                try await handle(try await counted(entry))
            }
            // Given to somebody who died, and gone from the stream since.
            for gone in (parts.count > 2 ? parts[2].array : nil) ?? [] {
                if let id = gone.text { try await replay?.lost(id) }
            }
        } while cursor != "0-0" && !isStopped
    }

    private func counted(_ entry: StreamEntry) async throws(RedisError) -> StreamEntry {
        let reply = try await redis.send([
            "XPENDING", .string(stream), .string(group), .string(entry.entryID),
            .string(entry.entryID), 1,
        ])
        let deliveries = reply.array?.first?.array?.last?.integer ?? 2
        return StreamEntry(
            entryID: entry.entryID,
            fields: entry.fields,
            deliveries: Int(deliveries)
        )
    }

    private func handleTogether(_ entries: [StreamEntry]) async throws(RedisError) {
        guard !entries.isEmpty else { return }
        do {
            try await handler(entries)
        } catch {
            for entry in entries { try await handle(entry) }
            return
        }
        _ = try await redis.send(
            ["XACK", .string(stream), .string(group)] + entries.map { .string($0.entryID) }
        )
        if let newest = entries.last { replay?.handled(newest.entryID) }
    }

    /// Handles what is read again; throws what is to come once more.
    private func handleAgain(_ entries: [StreamEntry]) async throws {
        if (try? await handler(entries)) != nil { return }
        for entry in entries {
            do {
                try await handler([entry])
                failures[entry.entryID] = nil
            } catch {
                let count = (failures[entry.entryID] ?? 0) + 1
                failures[entry.entryID] = count < StreamConsumer.deliveriesLimit ? count : nil
                guard count >= StreamConsumer.deliveriesLimit else { throw error }
                try await layAside(entry, reason: "\(error)")
            }
        }
    }

    private func handle(_ entry: StreamEntry) async throws(RedisError) {
        do {
            try await withSpan("event.handle", .consumer, below: entry.trace) {
                Span.current?.note("event", .text(entry.fields["name"] ?? ""))
                try await handler([entry])
            }
        } catch {
            guard entry.deliveries >= StreamConsumer.deliveriesLimit else {
                observer(.failed(entry, "\(error)"))
                return
            }
            try await layAside(entry, reason: "\(error)")
        }
        _ = try await redis.send(["XACK", .string(stream), .string(group), .string(entry.entryID)])
        replay?.handled(entry.entryID)
    }

    private func layAside(_ entry: StreamEntry, reason: String) async throws(RedisError) {
        var command: [RedisArgument] = [
            "XADD", .string("\(stream):dead"), "MAXLEN", "~",
            .int(StreamConsumer.deadLetterLimit), "*", "entry", .string(entry.entryID), "group",
            .string(group), "reason", .string(reason),
        ]
        for (name, value) in entry.fields.sorted(by: { $0.key < $1.key }) {
            command += [.string("field:\(name)"), .string(value)]
        }
        _ = try await redis.send(command)
        observer(.deadLettered(entry, reason))
    }

    /// Reads entries from a reply; those trimmed meanwhile come as null and are passed over.
    nonisolated static func entries(_ reply: RedisValue, deliveries: Int) -> [StreamEntry] {
        (reply.array ?? []).compactMap { element in
            guard let pair = element.array, pair.count == 2, let id = pair[0].text,
                let list = pair[1].array
            else { return nil }
            var fields: [String: String] = [:]
            for index in stride(from: 0, to: list.count - 1, by: 2) {
                guard let name = list[index].text, let value = list[index + 1].text else {
                    continue
                }
                fields[name] = value
            }
            return StreamEntry(entryID: id, fields: fields, deliveries: deliveries)
        }
    }
}
