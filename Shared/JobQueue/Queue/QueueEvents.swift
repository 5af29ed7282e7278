public import EventLoop
public import RedisClient

/// One entry of a queue's event log.
public struct QueueEvent: Sendable, Hashable {
    /// Its place in the log.
    public let id: String
    /// What happened, such as `completed`.
    public let name: String
    /// Its other fields, such as `jobId`.
    public let fields: [String: String]

    init?(_ value: RedisValue) {
        guard let parts = value.array, parts.count == 2, let id = parts[0].text else { return nil }
        self.id = id
        var fields: [String: String] = [:]
        for (key, value) in parts[1].pairs {
            let content = String(decoding: value.bytes ?? [], as: UTF8.self)
            if let key = key.text { fields[key] = content }
        }
        name = fields.removeValue(forKey: "event") ?? ""
        self.fields = fields
    }
}

/// Reads a queue's events as they happen, on a connection of its own.
@LoopActor
public final class QueueEvents {
    private static let block: Duration = .seconds(10)
    private static let slack: Duration = .seconds(2)
    private static let countMax: Int64 = 1000

    private let keys: QueueKeys
    private let connection: RedisBlockingConnection
    private var last: String

    /// A reader of the events of `keys`.
    ///
    /// - Parameter start: the event after which to begin; `$` for those from now on, `0` for all.
    public init(_ keys: QueueKeys, connection: RedisConfiguration, after start: String = "$") {
        self.keys = keys
        var connection = connection.serving(keys.base)
        connection.clientName = Worker.clientName(keys, worker: nil) + ":qe"
        self.connection = RedisBlockingConnection(connection)
        last = start
    }

    /// Connects, and settles what "from now on" means.
    public func start() async throws(JobQueueError) {
        do {
            try await connection.start()
            guard last == "$" else { return }
            let newest = try await connection.send(
                ["XREVRANGE", .string(keys.key("events")), "+", "-", "COUNT", "1"],
                within: QueueEvents.slack
            )
            last = newest.array?.first.flatMap { QueueEvent($0) }?.id ?? "0"
        } catch {
            throw JobQueueError(error)
        }
    }

    /// The next events; none when nothing happened for ten seconds.
    public func next() async throws(JobQueueError) -> [QueueEvent] {
        do {
            let reply = try await connection.send(
                [
                    "XREAD", "COUNT", .int(QueueEvents.countMax), "BLOCK",
                    .int(QueueEvents.block.milliseconds), "STREAMS",
                    .string(keys.key("events")), .string(last),
                ],
                within: QueueEvents.block + QueueEvents.slack
            )
            let entries = reply.array?.first?.array?.last?.array ?? []
            let events = entries.compactMap { QueueEvent($0) }
            if let newest = events.last { last = newest.id }
            return events
        } catch {
            throw JobQueueError(error)
        }
    }

    /// Disconnects; a waiting ``next()`` fails.
    public func stop() async { await connection.stop() }
}
