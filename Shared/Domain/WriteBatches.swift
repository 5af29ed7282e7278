/// Which writes of one key go to the database together.
///
/// A hot row holds its lock through the flush to disk, so writers of one conversation that go one by
/// one wait for one flush each. Here those that arrive while another writes are collected, in the
/// order in which they came, and whoever began a batch writes all of it when the key's turn comes.
///
///     add ──began──▶ wait for the key's turn ──▶ take ──▶ write all
///      └───joined──▶ the one who began it brings the result
public struct WriteBatches<Key: Hashable & Sendable, Item: Sendable>: Sendable {
    /// What became of a write that wants in.
    public enum Admission: Sendable, Hashable {
        /// It began this batch: its writer waits for the key's turn and then takes it.
        case began(Int)
        /// It is in a batch that another writer began.
        case joined
        /// As many wait for the key as may.
        case refused
    }

    private struct Batch: Sendable {
        let number: Int
        var items: [Item]
        var bytes: Int
    }

    private let limits: WriteBatchLimits
    private var waiting: [Key: [Batch]] = [:]
    private var lastNumber = 0

    /// Nothing waits yet.
    public init(limits: WriteBatchLimits = WriteBatchLimits()) {
        self.limits = limits
    }

    /// How many keys have writes that wait.
    public var keyCount: Int { waiting.count }

    /// Lets a write of `bytes` wait for the turn of `key`.
    public mutating func add(_ item: Item, bytes: Int, to key: Key) -> Admission {
        var batches = waiting[key] ?? []
        guard batches.reduce(0, { $0 + $1.items.count }) < limits.waitingMax else {
            return .refused
        }
        defer { waiting[key] = batches }
        if let last = batches.last, last.items.count < limits.itemsMax,
            last.bytes + bytes <= limits.bytesMax
        {
            batches[batches.count - 1].items.append(item)
            batches[batches.count - 1].bytes += bytes
            return .joined
        }
        lastNumber += 1
        batches.append(Batch(number: lastNumber, items: [item], bytes: bytes))
        return .began(lastNumber)
    }

    /// Closes a batch and hands out its writes in the order in which they came.
    public mutating func take(_ number: Int, of key: Key) -> [Item] {
        guard var batches = waiting[key],
            let index = batches.firstIndex(where: { $0.number == number })
        else { return [] }
        let batch = batches.remove(at: index)
        waiting[key] = batches.isEmpty ? nil : batches
        return batch.items
    }
}

/// How much goes together, and how much may wait.
public struct WriteBatchLimits: Sendable, Hashable {
    /// Writes of one batch.
    public var itemsMax = 64
    /// Bytes of one batch; a single larger write is a batch of its own.
    public var bytesMax = 256 * 1024
    /// Writes of one key that wait.
    public var waitingMax = 256

    /// The limits of the service.
    public init() {}
}
