/// Why a command has no answer, or which error it was answered with.
public struct RedisError: Error, Sendable, Hashable {
    /// The kinds that callers tell apart.
    public enum Code: Sendable, Hashable {
        /// There is no connection at this moment; nothing was sent.
        case notConnected
        /// No answer came in time; the command may have run.
        case deadline
        /// Too much was waiting for answers already; nothing was sent.
        case queueFull
        /// The connection ended before the answer; the command may have run.
        case connectionLost
        /// The user or password was refused, or none was given where one is needed.
        case authentication
        /// The server is too old, or is none.
        case unsupportedServer
        /// The server is there and cannot serve: full, loading, read-only, part of a broken cluster.
        case unavailable
        /// The server refused this command.
        case server
        /// What came was not an answer to what was asked.
        case protocolViolation
        /// The caller's task was cancelled; the command may have run.
        case cancelled
    }

    /// The kind.
    public let code: Code
    /// The command's first word; empty when no command was at hand.
    public let command: String
    /// The words of the server, the library or the system.
    public let message: String

    /// An error of `command`.
    public init(_ code: Code, command: String = "", message: String) {
        self.code = code
        self.command = command
        self.message = message
    }

    /// The error that a server's error reply stands for.
    init(reply message: String, command: String) {
        self.init(
            RedisError.code(ofServerCode: RedisError.firstWord(of: message)),
            command: command,
            message: message
        )
    }

    /// The first word of a server's error: `WRONGTYPE`, `OOM`, `BUSYGROUP`; nil for other errors.
    public var serverCode: String? {
        switch code {
        case .authentication, .unavailable, .server: RedisError.firstWord(of: message)
        case .notConnected, .deadline, .queueFull, .connectionLost, .unsupportedServer,
            .protocolViolation, .cancelled:
            nil
        }
    }

    /// Whether the operation should go on as if Redis were down.
    ///
    /// A server that answers OOM, READONLY, LOADING, MISCONF or CLUSTERDOWN does as little for the
    /// operation as one that is not there.
    public var countsAsDown: Bool {
        switch code {
        case .notConnected, .deadline, .queueFull, .connectionLost, .authentication,
            .unsupportedServer, .unavailable, .protocolViolation:
            true
        case .server, .cancelled: false
        }
    }

    /// Whether the command may have run although there is no answer.
    public var mayHaveRun: Bool {
        switch code {
        case .deadline, .connectionLost, .protocolViolation, .cancelled: true
        case .notConnected, .queueFull, .authentication, .unsupportedServer, .unavailable, .server:
            false
        }
    }

    func of(command: String) -> RedisError {
        RedisError(code, command: command, message: message)
    }

    /// The same, with the node that it happened to.
    func at(_ node: RedisConfiguration.Endpoint) -> RedisError {
        RedisError(code, command: command, message: "\(node): \(message)")
    }

    /// The same of several commands of which others may have run.
    var unsure: RedisError {
        switch code {
        case .notConnected, .queueFull:
            RedisError(.connectionLost, command: command, message: message)
        case .deadline, .connectionLost, .authentication, .unsupportedServer, .unavailable,
            .server, .protocolViolation, .cancelled:
            self
        }
    }

    private static func firstWord(of message: String) -> String {
        String(message.prefix { $0 != " " })
    }

    private static func code(ofServerCode word: String) -> Code {
        switch word {
        case "OOM", "READONLY", "LOADING", "MISCONF", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS",
            "BUSY", "UNBLOCKED", "ASK", "TRYAGAIN":
            .unavailable
        case "NOAUTH", "WRONGPASS": .authentication
        default: .server
        }
    }
}

extension RedisError: CustomStringConvertible {
    /// Kind, command and words.
    public var description: String {
        command.isEmpty ? "redis \(code): \(message)" : "redis \(command) \(code): \(message)"
    }
}
