/// Which node of a cluster has which slots.
struct ClusterSlots {
    /// The nodes that have slots, in no order.
    private(set) var primaries: [RedisConfiguration.Endpoint] = []
    /// For each slot the place of its node in ``primaries``, counted from 1; 0 for none.
    private var owners = [UInt16](repeating: 0, count: RedisKeySlot.count)

    /// No node has any.
    init() {}

    /// What a node answered to `CLUSTER SLOTS`.
    ///
    /// - Parameter member: who answered; it may leave its own host out.
    init(
        _ answer: RedisValue,
        of member: RedisConfiguration.Endpoint
    ) throws(RedisError) {
        if let message = answer.errorMessage {
            throw RedisError(reply: message, command: "CLUSTER")
        }
        for range in answer.array ?? [] {
            guard let range = range.array, range.count > 2, let first = range[0].integer,
                let last = range[1].integer, 0 <= first, first <= last,
                last < RedisKeySlot.count, let node = range[2].array,
                let server = RedisDirectory.address(node, of: member)
            else { continue }
            let place = place(of: server)
            for slot in Int(first)...Int(last) { owners[slot] = place }
        }
        guard !primaries.isEmpty else {
            throw RedisError(.unavailable, command: "CLUSTER", message: "no node has any slot")
        }
    }

    /// The node of a slot; nil when none has it.
    func owner(of slot: Int) -> RedisConfiguration.Endpoint? {
        guard owners.indices.contains(slot) else { return nil }
        let place = owners[slot]
        return place == 0 ? nil : primaries[Int(place) - 1]
    }

    /// Whether each slot has a node.
    var isComplete: Bool { !owners.contains(0) }

    /// A slot has another node, as one that had it before told.
    mutating func move(_ slot: Int, to server: RedisConfiguration.Endpoint) {
        guard owners.indices.contains(slot) else { return }
        owners[slot] = place(of: server)
    }

    private mutating func place(of server: RedisConfiguration.Endpoint) -> UInt16 {
        if let place = primaries.firstIndex(of: server) { return UInt16(place + 1) }
        primaries.append(server)
        return UInt16(primaries.count)
    }
}
