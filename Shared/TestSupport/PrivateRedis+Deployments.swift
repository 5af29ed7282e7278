internal import EventLoop
internal import Foundation

extension PrivateRedis {
    /// Where `redis-cli` stands; beside the server.
    private static let consoleProgram = program.map {
        $0.replacingOccurrences(of: "-server", with: "-cli")
    }

    /// Runs `redis-cli` on this server, and returns what it said.
    ///
    /// - Throws: ``Failure`` when it has not ended after ten seconds, or not well.
    @discardableResult
    public nonisolated func ask(_ words: String...) async throws -> String { try await ask(words) }

    /// The same.
    @discardableResult
    public nonisolated func ask(_ words: [String]) async throws -> String {
        try await PrivateRedis.console(["-p", "\(port)"] + words)
    }

    fileprivate static func console(_ words: [String]) async throws -> String {
        guard let consoleProgram else { throw Failure(description: "redis-cli is not installed") }
        let file = FileManager.default.temporaryDirectory
            .appendingPathComponent("redis-cli-\(UUID().uuidString)")
        _ = FileManager.default.createFile(atPath: file.path, contents: nil)
        defer { try? FileManager.default.removeItem(at: file) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: consoleProgram)
        process.arguments = words
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: file)
        process.standardError = FileHandle.nullDevice
        try process.run()
        for _ in 0..<1000 where process.isRunning {
            try await EventLoop.shared.sleep(for: .milliseconds(10))
        }
        if process.isRunning { process.terminate() }
        let text = try String(contentsOf: file, encoding: .utf8)
        guard !process.isRunning, process.terminationStatus == 0 else {
            throw Failure(description: "redis-cli \(words.joined(separator: " ")): \(text)")
        }
        return text
    }

    /// Asks again and again until the answer has `words` in it.
    public nonisolated func await(
        _ words: String,
        in command: [String],
        within limit: Duration = .seconds(20)
    ) async throws {
        let deadline = MonotonicTime.now() + limit
        var answer = ""
        while MonotonicTime.now() < deadline {
            answer = (try? await PrivateRedis.console(["-p", "\(port)"] + command)) ?? answer
            if answer.contains(words) { return }
            try await EventLoop.shared.sleep(for: .milliseconds(50))
        }
        throw Failure(description: "no '\(words)' in \(command): \(answer)")
    }
}

/// A primary, a replica of it, and three sentinels that watch both.
public struct WatchedRedis: Sendable {
    /// The server that was the primary at the start.
    public let primary: PrivateRedis
    /// The one that takes its place.
    public let replica: PrivateRedis
    /// Who decides that.
    public let sentinels: [PrivateRedis]

    /// The servers behind the sentinels' addresses.
    public var url: String {
        "redis+sentinel://" + sentinels.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
            + "/primary"
    }

    /// Starts all five, and waits until the sentinels know each other and the replica.
    public static func start() async throws -> WatchedRedis {
        let primary = try await PrivateRedis.start(["--repl-diskless-sync-delay", "0"])
        let replica = try await PrivateRedis.start(["--replicaof", "127.0.0.1", "\(primary.port)"])
        try await replica.await("master_link_status:up", in: ["INFO", "replication"])
        var sentinels: [PrivateRedis] = []
        for _ in 0..<3 {
            sentinels.append(
                try await PrivateRedis.startSentinel(watching: primary.port, quorum: 2)
            )
        }
        for sentinel in sentinels {
            try await sentinel.await("slaves=1,sentinels=3", in: ["INFO", "sentinel"])
        }
        return WatchedRedis(primary: primary, replica: replica, sentinels: sentinels)
    }

    /// Ends all of them.
    public func stop() async {
        for server in sentinels + [primary, replica] { await server.stop() }
    }
}

/// A cluster of three nodes, each with a third of the slots.
public struct ClusteredRedis: Sendable {
    /// The nodes.
    public let nodes: [PrivateRedis]

    /// The cluster by its nodes' addresses.
    public var url: String {
        "redis+cluster://" + nodes.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }

    /// Starts it, and waits until every node serves.
    public static func start() async throws -> ClusteredRedis {
        var nodes: [PrivateRedis] = []
        for _ in 0..<3 {
            nodes.append(
                try await PrivateRedis.start([
                    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
                    "--cluster-node-timeout", "2000",
                ])
            )
        }
        _ = try await PrivateRedis.console(
            ["--cluster", "create"] + nodes.map { "127.0.0.1:\($0.port)" }
                + ["--cluster-replicas", "0", "--cluster-yes"]
        )
        for node in nodes { try await node.await("cluster_state:ok", in: ["CLUSTER", "INFO"]) }
        return ClusteredRedis(nodes: nodes)
    }

    /// The node that has the slot of `key` now, and its id; and the others.
    public func owner(
        of key: String
    ) async throws -> (owner: PrivateRedis, others: [PrivateRedis]) {
        let slot = try await nodes[0].ask("CLUSTER", "KEYSLOT", key)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        for node in nodes {
            // A key of another node's slot is answered with that node's address.
            let answer = try await node.ask("GET", key)
            if !answer.contains("MOVED \(slot)") {
                return (node, nodes.filter { $0.port != node.port })
            }
        }
        throw PrivateRedis.Failure(description: "no node has the slot \(slot)")
    }

    /// Ends all nodes.
    public func stop() async { for node in nodes { await node.stop() } }
}
