/// The event streams and their names; nobody spells a key elsewhere.
///
/// What happens in the product is spread over partitions by tenant: all of one tenant's events are in one,
/// in their order. A partition is one key, so one server of a cluster and one reader of each group carry it.
public struct EventStreams: Sendable, Hashable {
    /// How many partitions there can be.
    public static let partitionsMax = 64
    /// What callers report.
    public static let analytics = "analytics:events"
    /// How many entries a stream keeps, about: some 30 MB.
    ///
    /// What it has no room for is read again from the outbox; see ``StreamReplay``.
    public static let lengthLimit: Int64 = 100_000
    /// How many entries the stream of what callers report keeps, about: a minute of the busiest that
    /// is planned for, since nothing else holds them until they are counted.
    public static let analyticsLengthLimit: Int64 = 300_000

    /// How many partitions there are; from 1 to ``partitionsMax``.
    public let partitions: Int

    /// So many partitions of what happens in the product.
    public init(partitions: Int = 1) {
        precondition((1...EventStreams.partitionsMax).contains(partitions))
        self.partitions = partitions
    }

    /// The partitions' streams.
    ///
    /// The first has its name also where it is the only one.
    public var all: [String] { (0..<partitions).map(EventStreams.name) }

    /// The stream of a tenant's events.
    public func stream(for tenant: String) -> String {
        // FNV-1a: the same in every process, which Swift's own hash is not.
        let hash = tenant.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return EventStreams.name(Int(hash % UInt64(partitions)))
    }

    private static func name(_ partition: Int) -> String {
        partition == 0 ? "switchboard:events" : "switchboard:events:\(partition)"
    }
}
