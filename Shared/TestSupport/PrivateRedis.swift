internal import EventLoop
public import Foundation

/// A Redis server of a test's own: on a free port, in a folder of its own, gone with the test.
///
/// A shell between the test and the server holds the test's pipe and ends the server when that
/// closes, so that a test process that crashes leaves nothing behind.
public actor PrivateRedis {
    /// Why there is no server.
    public struct Failure: Error, CustomStringConvertible {
        /// The server's last words.
        public let description: String
    }

    /// Below the ephemeral ports, and such that a cluster's bus port is too.
    private static let ports = 20_000..<22_700
    private static let portAttempts = 20
    /// In steps of 20 ms.
    private static let waitLimit = 250

    /// The port on 127.0.0.1.
    public nonisolated let port: Int
    /// The server's folder.
    public nonisolated let folder: URL
    private let arguments: [String]
    /// The whole configuration, of a server that keeps its file up to date itself.
    private let configuration: String?
    /// What it shows when its port speaks TLS; nil for plain text.
    private let certificate: TestCertificate?
    private var shell: Process?
    private var lifeline: Pipe?

    /// Where `redis-server` stands; nil when it is not installed.
    public static let program: String? = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]
        .map { "\($0)/redis-server" }
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    /// Whether a server can be started here.
    public static var isAvailable: Bool { program != nil }

    /// The server's address.
    public nonisolated var url: String { "redis://127.0.0.1:\(port)" }

    private init(
        port: Int,
        folder: URL,
        arguments: [String],
        configuration: String? = nil,
        certificate: TestCertificate? = nil
    ) {
        self.port = port
        self.folder = folder
        self.arguments = arguments
        self.configuration = configuration
        self.certificate = certificate
    }

    /// Starts a server on the first free port it finds.
    ///
    /// - Parameter arguments: further arguments, such as `["--requirepass", "secret"]`.
    public static func start(_ arguments: [String] = []) async throws -> PrivateRedis {
        try await start { port, folder in
            PrivateRedis(port: port, folder: folder, arguments: arguments)
        }
    }

    /// Starts a server whose port speaks TLS; clients need no certificate unless `arguments` say so.
    public static func start(
        _ arguments: [String] = [],
        showing certificate: TestCertificate
    ) async throws -> PrivateRedis {
        try await start { port, folder in
            PrivateRedis(
                port: port,
                folder: folder,
                arguments: arguments,
                certificate: certificate
            )
        }
    }

    /// Starts a sentinel that watches the server on `primary` by the name `primary`, and appoints
    /// another when `quorum` sentinels have missed it for a second.
    ///
    /// - Parameter certificate: what it shows when it speaks TLS, as the primary then does too.
    public static func startSentinel(
        watching primary: Int,
        quorum: Int,
        password: String? = nil,
        showing certificate: TestCertificate? = nil
    ) async throws -> PrivateRedis {
        try await start { port, folder in
            PrivateRedis(
                port: port,
                folder: folder,
                arguments: ["--sentinel"],
                configuration: """
                    \(portLines(port, certificate))
                    bind 127.0.0.1
                    dir "\(folder.path)"
                    logfile "\(folder.appendingPathComponent("log").path)"
                    \(password.map { "requirepass \($0)\nsentinel sentinel-pass \($0)" } ?? "")
                    sentinel monitor primary 127.0.0.1 \(primary) \(quorum)
                    sentinel down-after-milliseconds primary 1000
                    sentinel failover-timeout primary 5000

                    """
            )
        }
    }

    private static func portLines(_ port: Int, _ certificate: TestCertificate?) -> String {
        guard let certificate else { return "port \(port)" }
        return """
            port 0
            tls-port \(port)
            tls-replication yes
            tls-auth-clients no
            tls-cert-file \(certificate.file)
            tls-key-file \(certificate.key)
            tls-ca-cert-file \(certificate.authority)
            """
    }

    private static func start(
        _ make: (Int, URL) -> PrivateRedis
    ) async throws -> PrivateRedis {
        var failure = Failure(description: "no port was tried")
        for _ in 0..<portAttempts {
            let folder = FileManager.default.temporaryDirectory
                .appendingPathComponent("redis-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let server = make(Int.random(in: ports), folder)
            do {
                try await server.launch()
                return server
            } catch let error as Failure {
                await server.stop()
                failure = error
                guard error.description.contains("Address already in use") else { break }
            }
        }
        throw failure
    }

    /// Starts it again after ``kill()``, on the same port and without data, unless its arguments
    /// let it keep some in its folder.
    public func restart() async throws { try await launch() }

    /// Ends it at once, as a crash would.
    public func kill() async {
        // A line, as the end of the pipe may be held by processes that were started since.
        try? lifeline?.fileHandleForWriting.write(contentsOf: Data("end\n".utf8))
        for _ in 0..<PrivateRedis.waitLimit where shell?.isRunning == true {
            try? await EventLoop.shared.sleep(for: .milliseconds(20))
        }
        try? lifeline?.fileHandleForWriting.close()
        lifeline = nil
        shell = nil
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    public func pause() { signal(SIGSTOP) }

    /// Lets it go on.
    public func resume() { signal(SIGCONT) }

    /// Ends it and removes its folder.
    public func stop() async {
        await kill()
        try? FileManager.default.removeItem(at: folder)
    }

    private func signal(_ number: Int32) {
        let path = folder.appendingPathComponent("pid")
        guard let text = try? String(contentsOf: path, encoding: .utf8),
            let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
        else { return }
        Foundation.kill(pid, number)
    }

    // MARK: Launching

    /// Dispatch's threads, from which this shell is started, block SIGCHLD, without which the shell's
    /// own `wait` would never return.
    private static let script = """
        folder=$1; shift
        "$@" >/dev/null 2>&1 </dev/null &
        server=$!
        echo $server > "$folder/pid"
        read -r asked
        kill -9 $server
        while [ -e /proc/$server ] && ! grep -q ') Z ' /proc/$server/stat; do sleep 0.01; done
        [ -n "$asked" ] || rm -rf "$folder"
        """

    private func launch() async throws {
        guard let program = PrivateRedis.program else {
            throw Failure(description: "redis-server is not installed")
        }
        let log = folder.appendingPathComponent("log")
        try? FileManager.default.removeItem(at: log)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        let file = folder.appendingPathComponent("redis.conf")
        if let configuration, !FileManager.default.fileExists(atPath: file.path) {
            try Data(configuration.utf8).write(to: file)
        }
        let own = configuration == nil ? options(log) : [file.path]
        process.arguments =
            ["-c", PrivateRedis.script, "sh", folder.path, program] + own + arguments
        let pipe = Pipe()
        process.standardInput = pipe
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        shell = process
        lifeline = pipe
        try await awaitReadiness(log)
    }

    private func options(_ log: URL) -> [String] {
        let ports =
            certificate.map { certificate in
                [
                    "--port", "0", "--tls-port", "\(port)", "--tls-auth-clients", "no",
                    "--tls-cert-file", certificate.file, "--tls-key-file", certificate.key,
                    "--tls-ca-cert-file", certificate.authority,
                ]
            } ?? ["--port", "\(port)"]
        return ports + [
            "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", folder.path, "--logfile", log.path,
            "--unixsocket", folder.appendingPathComponent("socket").path,
        ]
    }

    private func awaitReadiness(_ log: URL) async throws {
        var words = ""
        for _ in 0..<PrivateRedis.waitLimit {
            words = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
            if words.contains("Ready to accept connections") || words.contains("Sentinel ID is") {
                return
            }
            if words.contains("Failed listening") || words.contains("Fatal") { break }
            try await EventLoop.shared.sleep(for: .milliseconds(20))
        }
        throw Failure(description: words.isEmpty ? "redis-server said nothing" : words)
    }
}
