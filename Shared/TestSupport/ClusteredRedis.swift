internal import EventLoop
internal import Foundation

/// A cluster of three nodes, each with a third of the slots.
public struct ClusteredRedis: Sendable {
    /// The nodes that have slots at the start.
    public let nodes: [PrivateRedis]
    /// As many that follow one of them each, where they were asked for.
    public let replicas: [PrivateRedis]

    /// The cluster by its nodes' addresses.
    public var url: String {
        "redis+cluster://" + nodes.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }

    /// Starts it, and waits until every node serves.
    ///
    /// - Parameter hasReplicas: whether each node has one that takes its place, about three seconds
    ///   after it died.
    public static func start(hasReplicas: Bool = false) async throws -> ClusteredRedis {
        var nodes: [PrivateRedis] = []
        for _ in 0..<(hasReplicas ? 6 : 3) {
            nodes.append(
                try await PrivateRedis.start([
                    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
                    "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0",
                ])
            )
        }
        _ = try await PrivateRedis.console(
            ["--cluster", "create"] + nodes.map { "127.0.0.1:\($0.port)" }
                + ["--cluster-replicas", hasReplicas ? "1" : "0", "--cluster-yes"]
        )
        for node in nodes { try await node.await("cluster_state:ok", in: ["CLUSTER", "INFO"]) }
        for replica in nodes.dropFirst(3) {
            try await replica.await("master_link_status:up", in: ["INFO", "replication"])
        }
        return ClusteredRedis(
            nodes: Array(nodes.prefix(3)),
            replicas: Array(nodes.dropFirst(3))
        )
    }

    /// The node that has the slot of `key` now, and the others.
    public func owner(
        of key: String
    ) async throws -> (owner: PrivateRedis, others: [PrivateRedis]) {
        let slot = try await slot(of: key)
        for node in nodes {
            // A key of another node's slot is answered with that node's address.
            let answer = try await node.ask("TYPE", key)
            if !answer.contains("MOVED \(slot)") {
                return (node, nodes.filter { $0.port != node.port })
            }
        }
        throw PrivateRedis.Failure(description: "no node has the slot \(slot)")
    }

    /// A slot on its way from one node to another.
    public struct Move: Sendable {
        /// The slot.
        public let slot: String
        /// Who has it.
        public let source: PrivateRedis
        /// Who gets it.
        public let target: PrivateRedis
        let others: [PrivateRedis]
    }

    /// Begins to move the slot of `key` to another node, as `redis-cli --cluster reshard` does.
    public func beginMove(of key: String) async throws -> Move {
        let (source, others) = try await owner(of: key)
        let move = Move(
            slot: try await slot(of: key),
            source: source,
            target: others[0],
            others: Array(others.dropFirst())
        )
        let (sourceID, targetID) = (try await id(of: source), try await id(of: move.target))
        try await move.target.ask("CLUSTER", "SETSLOT", move.slot, "IMPORTING", sourceID)
        try await source.ask("CLUSTER", "SETSLOT", move.slot, "MIGRATING", targetID)
        return move
    }

    /// Moves up to so many keys of the slot.
    ///
    /// - Returns: whether there were any.
    @discardableResult
    public func migrate(_ move: Move, keys count: Int = 100) async throws -> Bool {
        let keys = try await move.source.ask("CLUSTER", "GETKEYSINSLOT", move.slot, "\(count)")
            .split(whereSeparator: \.isNewline).map(String.init)
        if keys.isEmpty { return false }
        let words = ["MIGRATE", "127.0.0.1", "\(move.target.port)", "", "0", "5000", "KEYS"]
        try await move.source.ask(words + keys)
        return true
    }

    /// Gives the slot to its new node.
    ///
    /// Who takes a slot that it imports does so in a new epoch; in its old one it would believe those
    /// who know last, and tell of the old owner.
    public func finish(_ move: Move) async throws {
        let target = try await id(of: move.target)
        for node in [move.target, move.source] + move.others {
            try await node.ask("CLUSTER", "SETSLOT", move.slot, "NODE", target)
        }
    }

    /// Moves the slot of `key` with all its keys to another node.
    public func move(slotOf key: String) async throws {
        let move = try await beginMove(of: key)
        while try await migrate(move) {}
        try await finish(move)
    }

    private func slot(of key: String) async throws -> String {
        try await nodes[0].ask("CLUSTER", "KEYSLOT", key).filter { !$0.isWhitespace }
    }

    private func id(of node: PrivateRedis) async throws -> String {
        try await node.ask("CLUSTER", "MYID").filter { !$0.isWhitespace }
    }

    /// Ends all nodes.
    public func stop() async { for node in nodes + replicas { await node.stop() } }
}
