internal import EventLoop

/// Something that happened to a connection or to a statement.
///
/// No event holds a statement's text or a parameter.
public enum PostgresEvent: Sendable, CustomStringConvertible {
    /// A connection is ready.
    case connected(role: String, host: String, serverVersion: Int)
    /// An attempt failed; the next one follows.
    case connectFailed(role: String, error: PostgresError, retryAtMost: Duration)
    /// A live connection died.
    case connectionLost(role: String, error: PostgresError)
    /// The server said something beside the results.
    case notice(severity: String, sqlState: String, message: String)
    /// A setting deserves a look.
    case warning(String)
    /// A statement ran into its deadline and was cancelled.
    case cancelled(role: String)
    /// A read is sent again because its connection died.
    case readRetried
    /// A migration was applied.
    case migrated(version: Int, name: String)
    /// A transaction is run once more.
    case transactionRetried(attempt: Int, sqlState: String)

    /// Whether it belongs into a log at warning level, rather than below.
    public var isWarning: Bool {
        switch self {
        case .connected, .migrated, .readRetried, .transactionRetried: false
        case .connectFailed, .connectionLost, .warning, .cancelled: true
        case .notice(let severity, _, _): severity == "WARNING"
        }
    }

    /// One line for a log.
    public var description: String {
        switch self {
        case .connected(let role, let host, let version):
            "\(role) connection to \(host) is ready (server \(ServerVersion(version)))"
        case .connectFailed(let role, let error, let delay):
            "\(role) connection failed: \(error); next try within \(delay.milliseconds) ms"
        case .connectionLost(let role, let error): "\(role) connection was lost: \(error)"
        case .notice(let severity, let state, let message): "\(severity) \(state): \(message)"
        case .warning(let text): text
        case .cancelled(let role): "a statement on a \(role) connection was cancelled: too slow"
        case .migrated(let version, let name): "migration \(version) (\(name)) was applied"
        case .readRetried: "a read is sent again because its connection was lost"
        case .transactionRetried(let attempt, let state):
            "a transaction is run again (attempt \(attempt)) after \(state)"
        }
    }
}

/// A version as libpq counts it: 150004 is 15.4.
struct ServerVersion: CustomStringConvertible {
    let number: Int

    init(_ number: Int) { self.number = number }

    var major: Int { number / 10_000 }
    var description: String { "\(major).\(number % 10_000)" }

    /// Why this server will not do, or nil.
    func fault(minimum: Int) -> String? {
        major >= minimum
            ? nil
            : "PostgreSQL \(minimum) or newer is needed, and the server is \(description)"
    }
}
