public import EventLoop

/// Goes through the keys of a server, or of all nodes of a cluster one after the other, step by step,
/// so that no server is ever held up.
///
/// A key that is there from the beginning to the end comes at least once, unless its slot is moved to
/// another node meanwhile; others may come.
@LoopActor
public final class RedisScan {
    private let redis: RedisClient
    private let options: [RedisArgument]
    private let limit: Duration?
    /// What is left: nodes with their cursors; nil stands for the one server.
    private var places: [(node: RedisConfiguration.Endpoint?, cursor: String)]

    init(_ redis: RedisClient, _ options: [RedisArgument], within limit: Duration?) {
        self.redis = redis
        self.options = options
        self.limit = limit
        places = redis.cluster?.slots.primaries.map { ($0, "0") } ?? [(nil, "0")]
    }

    /// The keys of the next step, often none; nil at the end.
    ///
    /// - Throws: an error reply, or why there is no reply.
    public func next() async throws(RedisError) -> [String]? {
        guard let place = places.last else { return nil }
        let command = ["SCAN", .string(place.cursor)] + options
        let reply: RedisValue
        if let cluster = redis.cluster, let node = place.node {
            do throws(RedisError) {
                reply = try await cluster.send(command, to: node, redis.deadline(limit))
            } catch {
                throw redis.noted(error, "SCAN")
            }
            if case .error(let message) = reply {
                throw RedisError(reply: message, command: "SCAN")
            }
        } else {
            reply = try await redis.send(command, within: limit)
        }
        guard let parts = reply.array, parts.count == 2, let next = parts[0].text else {
            throw RedisError(.protocolViolation, command: "SCAN", message: "answered \(reply)")
        }
        places[places.count - 1].cursor = next
        if next == "0" { places.removeLast() }
        return (parts[1].array ?? []).compactMap(\.text)
    }
}

extension RedisClient {
    /// Begins to go through the keys that match a glob-style pattern.
    ///
    /// - Parameters:
    ///   - count: how many keys a step looks at, about.
    ///   - type: only keys of this type, such as `hash`; nil for all.
    ///   - limit: how long a step may take; nil for the configuration's deadline.
    public func scan(
        matching pattern: String,
        count: Int64,
        type: String? = nil,
        within limit: Duration? = nil
    ) -> RedisScan {
        var options: [RedisArgument] = ["MATCH", .string(pattern), "COUNT", .int(count)]
        if let type { options += ["TYPE", .string(type)] }
        return RedisScan(self, options, within: limit)
    }
}
