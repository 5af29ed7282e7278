public import FoundationEssentials
internal import PostgresClient

/// One thing that left a transaction and waits to be delivered.
public struct OutboxRow: Sendable, Hashable {
    /// What is to be done with it.
    public enum Kind: String, Sendable, Hashable {
        /// An entry for the event stream.
        case event
        /// A request to another service.
        case call
    }

    /// Ids grow in the order of the key's row lock, so this is the order of delivery within a key.
    public let id: Int64
    /// The event's id, or the call's idempotency key; the same at every attempt.
    public let eventID: UUID
    /// The tenant's code.
    public let tenant: String
    /// Event or call.
    public let kind: Kind
    /// The event's name, or the service that is called.
    public let target: String
    /// The path of a call; empty for an event.
    public let path: String
    /// What orders deliveries: rows of one key go out one after the other.
    public let key: String
    /// What a call waits for: earlier calls of its key to the same service.
    var lane: String { "\(target) \(key)" }
    /// The version of the key's row when this was written; consumers drop older ones.
    public let keyVersion: Int64
    /// The payload, JSON text.
    public let payload: String
    /// When it was written, milliseconds since 1970.
    public let createdAt: Int64
    /// How often delivery was tried.
    public let attempts: Int
    /// The step that left it, as a `traceparent`; nil where nobody records that.
    public let traceparent: String?

    /// A row from its parts.
    init(
        id: Int64,
        eventID: UUID,
        tenant: String,
        kind: Kind,
        target: String,
        path: String,
        key: String,
        keyVersion: Int64,
        payload: String,
        createdAt: Int64,
        attempts: Int,
        traceparent: String? = nil
    ) {
        self.id = id
        self.eventID = eventID
        self.tenant = tenant
        self.kind = kind
        self.target = target
        self.path = path
        self.key = key
        self.keyVersion = keyVersion
        self.payload = payload
        self.createdAt = createdAt
        self.attempts = attempts
        self.traceparent = traceparent
    }

    /// Reads a row of `platform.outbox`.
    init(_ row: PostgresRow) throws(PostgresError) {
        id = try row.int64("id")
        eventID = try row.uuid("event_id")
        tenant = try row.string("tenant")
        let kind = try row.string("kind")
        self.kind = kind == "call" ? .call : .event
        target = try row.string("target")
        path = try row.optionalString("path") ?? ""
        key = try row.string("key")
        keyVersion = try row.int64("key_version")
        payload = try row.json("payload")
        createdAt = try row.timeMilliseconds("created_at")
        attempts = try row.int("attempts")
        traceparent = try row.optionalString("traceparent")
    }
}
