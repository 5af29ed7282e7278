internal import EventLoop

/// What a connection is for; its session's settings follow from it.
enum ConnectionRole: String, Sendable, Hashable {
    case reader
    case pool
    /// LISTEN, advisory locks.
    case dedicated
    case migrator
}

/// One address to try.
struct ConnectionCandidate: Sendable, Hashable {
    /// The name, for certificates and messages.
    let host: String
    /// The numeric address; nil for a unix socket.
    let address: String?
    let port: Int
}

extension PostgresConfiguration {
    /// How long a migration's statement may run: an index on a large table takes its time.
    static let migrationTimeout: Duration = .seconds(3600)

    /// The `statement_timeout` of a session.
    func statementTimeout(of role: ConnectionRole) -> Duration {
        switch role {
        case .reader: readTimeout
        case .pool, .dedicated: statementTimeout
        case .migrator: PostgresConfiguration.migrationTimeout
        }
    }

    /// Keywords for `PQconnectStartParams`.
    ///
    /// The session's settings travel in the start-up message and cost no round trip.
    func keywords(
        _ role: ConnectionRole,
        _ candidate: ConnectionCandidate
    ) -> [(String, String)] {
        var words: [String: String] = [
            "port": String(candidate.port),
            "application_name": applicationName,
            "client_encoding": "UTF8",
            "target_session_attrs": target(of: role).rawValue,
            // Without a ticket it only costs a round trip, with one it may block.
            "gssencmode": "disable",
            // A peer that vanished is noticed in about 10 s.
            "keepalives": "1",
            "keepalives_idle": "5",
            "keepalives_interval": "2",
            "keepalives_count": "3",
            "tcp_user_timeout": "10000",
        ]
        words.merge(url.parameters) { _, stated in stated }
        if !candidate.host.isEmpty { words["host"] = candidate.host }
        words["hostaddr"] = candidate.address
        words["user"] = url.user
        words["password"] = url.password?.value
        words["dbname"] = url.database
        // What the URL states comes last and wins.
        words["options"] =
            (settings(of: role) + [url.parameters["options"] ?? ""])
            .joined(separator: " ")
        return words.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// libpq counts a session that is read only by default as no good for `read-write`; readers are
    /// such by our own wish, so for them the server's role is what is asked.
    private func target(of role: ConnectionRole) -> PostgresURL.Target {
        role == .reader && url.target == .readWrite ? .primary : url.target
    }

    private func settings(of role: ConnectionRole) -> [String] {
        var settings = [
            "-c statement_timeout=\(statementTimeout(of: role).milliseconds)",
            "-c lock_timeout=\(lockTimeout.milliseconds)",
            "-c idle_in_transaction_session_timeout=\(idleInTransactionTimeout.milliseconds)",
            "-c TimeZone=UTC",
            "-c DateStyle=ISO",
            "-c bytea_output=hex",
            // Every statement here is short. PostgreSQL compiles those that it takes for long, by
            // guesses at what a function returns, and that costs more than running them.
            "-c jit=off",
        ]
        if role == .reader { settings.append("-c default_transaction_read_only=on") }
        return settings
    }
}
