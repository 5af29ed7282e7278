/// Who tells where the server is, when it may move.
public enum RedisDirectory: Sendable, Hashable {
    /// Sentinels that watch a primary by this name, and appoint another when it fails.
    case sentinels([RedisConfiguration.Endpoint], service: String)
    /// Nodes of a cluster, by which the others are found; a single connection is with the one that
    /// has ``RedisConfiguration/slot``.
    case cluster([RedisConfiguration.Endpoint])

    /// Whom to ask; none is better than another.
    var members: [RedisConfiguration.Endpoint] {
        switch self {
        case .sentinels(let members, _), .cluster(let members): members
        }
    }

    /// What to ask.
    var question: [RedisArgument] {
        switch self {
        case .sentinels(_, let service): ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", .string(service)]
        case .cluster: ["CLUSTER", "SLOTS"]
        }
    }

    /// The server that an answer names.
    ///
    /// - Parameters:
    ///   - member: who answered; a node of a cluster may leave its own host out.
    ///   - slot: the slot that the server must have; for clusters. Nil for any server that has some:
    ///     another one each time, as the answer may name one that is no more.
    func server(
        in answer: RedisValue,
        of member: RedisConfiguration.Endpoint,
        slot: Int?
    ) throws(RedisError) -> RedisConfiguration.Endpoint {
        if let message = answer.errorMessage {
            throw RedisError(reply: message, command: question.first?.text ?? "")
        }
        switch self {
        case .sentinels(_, let service):
            guard let server = RedisDirectory.address(answer.array ?? [], of: member) else {
                throw RedisError(.unavailable, message: "no primary '\(service)' is known")
            }
            return server
        case .cluster:
            let slots = try ClusterSlots(answer, of: member)
            guard let slot else { return slots.primaries.randomElement() ?? member }
            guard let server = slots.owner(of: slot) else {
                throw RedisError(.unavailable, message: "no node has the slot \(slot)")
            }
            return server
        }
    }

    /// A host and a port at the head of an answer.
    static func address(
        _ parts: [RedisValue],
        of member: RedisConfiguration.Endpoint
    ) -> RedisConfiguration.Endpoint? {
        guard parts.count > 1, let number = parts[1].integer, let port = Int(exactly: number),
            (1...65_535).contains(port)
        else { return nil }
        if let host = parts[0].text, !host.isEmpty { return .tcp(host: host, port: port) }
        guard case .tcp(let host, _) = member else { return nil }
        return .tcp(host: host, port: port)
    }

    /// Whether an error says that the server is no longer the one to talk to.
    ///
    /// A `MOVED` of another slot is the caller's fault, and another connection would not mend it.
    func isOutdated(by message: String, slot: Int?) -> Bool {
        switch self {
        case .sentinels: message.hasPrefix("READONLY")
        case .cluster:
            slot.map { message.hasPrefix("MOVED \($0) ") } ?? false || message.hasPrefix("READONLY")
        }
    }
}

extension RedisDirectory: CustomStringConvertible {
    /// The directory as messages show it.
    public var description: String {
        let places = members.map(\.description).joined(separator: ", ")
        return switch self {
        case .sentinels(_, let service): "the primary '\(service)' of \(places)"
        case .cluster: "the cluster of \(places)"
        }
    }
}
