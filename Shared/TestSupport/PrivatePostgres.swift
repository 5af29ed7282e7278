import Dispatch
import EventLoop
import Foundation
import Synchronization

/// A PostgreSQL server of the test process's own: fresh, on a free port, gone when the process is.
///
/// A small shell (``PrivatePostgresScript``) is the server's parent. It takes commands on its
/// standard input; at the end of the input, however the test process died, it stops the server and
/// removes its folder. Waiting for it happens on a queue of its own, never on the event loop.
public final class PrivatePostgres: Sendable {
    /// Why a server could not be had, or did not do what it was asked.
    public struct Failure: Error, CustomStringConvertible {
        /// What the script said.
        public let description: String
    }

    /// What a server is for.
    public enum Kind: String, Sendable {
        /// An ordinary one.
        case primary
        /// One that stays in recovery and so is read-only.
        case standby
        /// One with a certificate for localhost, `server.crt` in its folder.
        case tls
    }

    /// Where Debian keeps the server's programs.
    public static let programs = "/usr/lib/postgresql/15/bin"

    /// Whether the server is installed; suites that need it are skipped otherwise.
    public static let isInstalled =
        FileManager.default.isExecutableFile(atPath: "\(programs)/initdb")

    private static let first = Task { try await PrivatePostgres.start() }

    /// The one server that all suites share; started by the first that asks.
    public static func shared() async throws -> PrivatePostgres { try await first.value }

    /// The TCP port on 127.0.0.1.
    public let port: Int
    /// The folder of the unix socket.
    public let socketFolder: String

    private let queue: DispatchQueue
    private let shell: Guarded<PrivatePostgresShell>
    private let databases = Atomic<Int>(0)
    private let templates = Guarded<[String: Task<Void, any Error>]>([:])

    /// Starts a server.
    ///
    /// - Parameters:
    ///   - settings: `name=value` each, for the server's command line.
    ///   - kind: what it is for.
    public static func start(
        settings: [String] = [],
        kind: Kind = .primary
    ) async throws -> PrivatePostgres {
        let queue = DispatchQueue(label: "private-postgres")
        return try await run(on: queue) { try PrivatePostgres(queue, settings, kind) }
    }

    private init(_ queue: DispatchQueue, _ settings: [String], _ kind: Kind) throws {
        // Three tries at a port below the ephemeral range, in which outgoing connections may sit.
        let ports = (0..<3).map { _ in String(Int.random(in: 15_000..<22_768)) }
        var shell = try PrivatePostgresShell(
            [PrivatePostgres.programs, kind.rawValue, ports.joined(separator: " ")] + settings
        )
        let words = try shell.readLine().split(separator: " ")
        guard words.count == 3, words[0] == "ready", let port = Int(words[1]) else {
            throw Failure(description: words.joined(separator: " "))
        }
        self.port = port
        socketFolder = String(words[2])
        self.queue = queue
        self.shell = Guarded(shell)
    }

    /// The address of a database of this server, over TCP.
    public func url(_ database: String = "postgres") -> String {
        "postgresql://app@127.0.0.1:\(port)/\(database)"
    }

    /// A new database, for one suite alone.
    ///
    /// - Parameter template: a database to copy, with nobody connected to it.
    /// - Returns: its URL.
    public func makeDatabase(template: String = "template0") async throws -> String {
        let name = "suite_\(databases.add(1, ordering: .relaxed).newValue)"
        try await tell("createdb \(name) \(template)")
        return url(name)
    }

    /// A database copied from one that `prepare` has filled.
    ///
    /// `prepare` runs once per process and name, and must have closed its connections when it
    /// returns.
    public func makeDatabase(
        from name: String,
        prepare: @escaping @Sendable (_ url: String) async throws -> Void
    ) async throws -> String {
        let template = "template_\(name)"
        let preparation = templates.withLock { templates in
            if let preparation = templates[name] { return preparation }
            let preparation = Task {
                try await self.tell("createdb \(template) template0")
                try await prepare(self.url(template))
            }
            templates[name] = preparation
            return preparation
        }
        try await preparation.value
        return try await makeDatabase(template: template)
    }

    /// Kills the server as a crash would, and starts it again.
    public func restart() async throws { try await tell("restart") }
    /// Kills the server as a crash would.
    public func crash() async throws { try await tell("crash") }
    /// Starts it after ``crash()``.
    public func restartAfterCrash() async throws { try await tell("start") }
    /// Stops all of the server's processes where they are: a host that hangs.
    public func pause() async throws { try await tell("pause") }
    /// Lets them go on.
    public func resume() async throws { try await tell("resume") }

    private func tell(_ command: String) async throws {
        try await PrivatePostgres.run(on: queue) {
            let answer = try self.shell.withLock { shell in
                shell.write(command)
                return try shell.readLine()
            }
            guard answer == "ok" else { throw Failure(description: "\(command): \(answer)") }
        }
    }

    private static func run<Value: Sendable>(
        on queue: DispatchQueue,
        _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try work() }) }
        }
    }
}

/// The shell's process and the pipes to and from it.
struct PrivatePostgresShell {
    private let process = Process()
    private let commands: FileHandle
    private let answers: FileHandle
    private var unread: [UInt8] = []

    init(_ arguments: [String]) throws {
        let input = Pipe()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", PrivatePostgresScript.text, "private-postgres"] + arguments
        process.standardInput = input
        process.standardOutput = output
        commands = input.fileHandleForWriting
        answers = output.fileHandleForReading
        try process.run()
    }

    func write(_ command: String) { commands.write(Data("\(command)\n".utf8)) }

    mutating func readLine() throws -> String {
        while true {
            if let end = unread.firstIndex(of: 10) {
                defer { unread.removeSubrange(...end) }
                return String(decoding: unread[..<end], as: UTF8.self)
            }
            let more = answers.availableData
            guard !more.isEmpty else {
                throw PrivatePostgres.Failure(description: "the server's parent has ended")
            }
            unread.append(contentsOf: more)
        }
    }
}
