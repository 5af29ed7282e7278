internal import EventLoop

extension PostgresClient {
    /// Opens all connections; checks the server's version and that it has room for us.
    ///
    /// - Parameter patience: how long to go on trying when the server cannot be reached.
    /// - Throws: ``PostgresError``: `unsupportedServer`, `configuration`, or the last failure.
    public func start(waitingUpTo patience: Duration = .zero) async throws(PostgresError) {
        if case .impossible(let text) = configuration.budget.verdictWithoutServer {
            throw PostgresError(.configuration, "connections", text)
        }
        let deadline = MonotonicTime.now() + patience
        var failures = 0
        while true {
            do {
                try await open()
                return
            } catch {
                failures += 1
                let delay = Backoff.reconnect.delay(afterFailures: failures)
                let isFinal = error.code == .configuration || error.code == .unsupportedServer
                guard !isFinal, !isStopped, MonotonicTime.now() + delay < deadline else {
                    closeAll()
                    throw error
                }
                observer?.postgres(
                    .connectFailed(role: "first", error: error, retryAtMost: delay)
                )
                do {
                    try await EventLoop.shared.sleep(for: delay)
                } catch {
                    closeAll()
                    throw PostgresError(.cancelled, "start", "the task was cancelled")
                }
            }
        }
    }

    private func open() async throws(PostgresError) {
        let first = try await readers.startFirst()
        try await checkBudget(on: first)
        try await readers.start()
        try await pool.start()
    }

    private func checkBudget(on connection: Connection) async throws(PostgresError) {
        let row = try await connection.query(
            """
            SELECT current_setting('max_connections')::int AS max_connections,
                current_setting('superuser_reserved_connections')::int
                    + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
                coalesce((SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user), -1)
                    AS role_limit,
                coalesce((SELECT datconnlimit FROM pg_database
                    WHERE datname = current_database()), -1) AS database_limit
            """,
            kind: .read,
            limit: configuration.connectTimeout
        ).one()
        let limits = ConnectionBudget.ServerLimits(
            maxConnections: try row.int("max_connections"),
            reserved: try row.int("reserved"),
            roleLimit: try row.int("role_limit"),
            databaseLimit: try row.int("database_limit")
        )
        switch configuration.budget.verdict(limits) {
        case .fits: break
        case .tight(let text): observer?.postgres(.warning(text))
        case .impossible(let text): throw PostgresError(.configuration, "connections", text)
        }
    }

    /// Refuses what comes from now on, waits for what is in flight (no longer than
    /// `statementTimeout`), and closes all connections.
    public func stop() async {
        isStopped = true
        pool.stopLeasing()
        let deadline = MonotonicTime.now() + configuration.statementTimeout
        while pool.leasedCount + readers.inFlightCount > 0, MonotonicTime.now() < deadline {
            // Cancelled or not, the loop below ends at the deadline.
            if (try? await EventLoop.shared.sleep(for: .milliseconds(5))) == nil { break }
        }
        closeAll()
    }

    private func closeAll() {
        isStopped = true
        readers.close()
        pool.stopLeasing()
        pool.close()
    }
}
