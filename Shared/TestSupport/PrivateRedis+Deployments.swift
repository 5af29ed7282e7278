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

    static func console(_ words: [String]) async throws -> String {
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
