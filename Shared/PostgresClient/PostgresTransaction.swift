public import EventLoop

/// How a transaction sees others (the manual, 13.2).
public enum PostgresIsolation: String, Sendable, Hashable {
    /// Each statement sees what was committed before it.
    case readCommitted = "READ COMMITTED"
    /// All statements see what was committed before the first.
    case repeatableRead = "REPEATABLE READ"
    /// As if transactions ran one after the other; some have to be run again.
    case serializable = "SERIALIZABLE"
}

/// A transaction on a connection of its own; made by ``PostgresClient/transaction(_:_:)``.
///
/// BEGIN travels with the first statement. Statements asked for at the same time (`async let`) go
/// out together and run in the order of the calls. Nothing here may wait for another service: the
/// connection and the locks would wait along.
@LoopActor
public final class PostgresTransaction {
    private let connection: Connection
    private let isolation: PostgresIsolation
    private let limit: Duration
    private var isOpen = true
    private var isBegun = false
    /// The first failure; with it the transaction can only be rolled back.
    private(set) var failure: PostgresError?

    init(_ connection: Connection, _ isolation: PostgresIsolation, limit: Duration) {
        self.connection = connection
        self.isolation = isolation
        self.limit = limit
    }

    /// Runs one statement of the transaction.
    ///
    /// - Parameter timeout: cancels the statement after this long; `statement_timeout` holds too.
    /// - Throws: ``PostgresError``; with code `cancelled` when the task has been cancelled.
    @discardableResult
    public func query(
        _ sql: String,
        _ parameters: [PostgresValue] = [],
        timeout: Duration? = nil
    ) async throws(PostgresError) -> PostgresRows {
        guard isOpen else {
            throw PostgresError(.transactionAborted, "query", "the transaction has ended")
        }
        try checkCancellation()
        let opening = isBegun ? nil : "BEGIN ISOLATION LEVEL \(isolation.rawValue)"
        isBegun = true
        do {
            return try await connection.query(
                sql,
                parameters,
                opening: opening,
                kind: .inTransaction,
                limit: timeout ?? limit
            )
        } catch {
            failure = failure ?? error
            throw error
        }
    }

    /// Waits for the advisory lock of `key`, held to the transaction's end; `lock_timeout` limits
    /// the wait.
    public func advisoryLock(_ key: String) async throws(PostgresError) {
        try await query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [.string(key)])
    }

    /// Takes the advisory lock of `key` when it is free; held to the transaction's end.
    public func tryAdvisoryLock(_ key: String) async throws(PostgresError) -> Bool {
        let sql = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS locked"
        return try await query(sql, [.string(key)]).one().bool("locked")
    }

    // MARK: Ending

    func commit() async throws(PostgresError) {
        guard isBegun else {
            isOpen = false
            return
        }
        try checkCancellation()
        isOpen = false
        // Whatever the answer, nothing is left to roll back.
        isBegun = false
        let rows = try await connection.query("COMMIT", kind: .commit, limit: limit)
        // The server answers a COMMIT of a failed transaction with a ROLLBACK, and no error.
        guard rows.tag == "COMMIT" else {
            let reason = failure?.message ?? "a statement failed"
            throw PostgresError(.transactionAborted, "commit", "rolled back, because \(reason)")
        }
    }

    /// Rolls back what is open; a connection on which that fails is closed, which does the same.
    func rollback() async {
        isOpen = false
        guard isBegun, connection.isOpen else { return }
        do {
            _ = try await connection.query("ROLLBACK", kind: .inTransaction, limit: limit)
            isBegun = false
        } catch {
            connection.close(PostgresError(.connection, "rollback", error.message))
        }
    }

    private func checkCancellation() throws(PostgresError) {
        if Task.isCancelled {
            throw PostgresError(.cancelled, "transaction", "the task was cancelled")
        }
    }
}
