/// What went wrong between us and PostgreSQL.
public struct PostgresError: Error, Sendable {
    /// The kind of failure.
    public enum Code: String, Sendable, Hashable {
        /// A setting is wrong; starting again with the same settings fails again.
        case configuration
        /// No connection could be had, or the one in use was lost.
        case connection
        /// A statement or connection attempt took longer than it may.
        case timeout
        /// No connection of the pool came free in time, or too many callers wait.
        case poolExhausted
        /// The server refused the statement; `sqlState` says why.
        case server
        /// A result does not hold what the caller asked of it.
        case decoding
        /// A parameter cannot be sent.
        case encoding
        /// The server is older than this client supports.
        case unsupportedServer
        /// COMMIT ended in a rollback because an earlier statement had failed.
        case transactionAborted
        /// The task was cancelled; nothing was committed.
        case cancelled
        /// The client was stopped.
        case stopped
        /// The database's schema is not what the migrations say.
        case migration
    }

    /// The fields of an error that the server reported.
    struct ServerFields: Sendable, Hashable {
        var severity = ""
        var sqlState = ""
        var message = ""
        var detail: String?
        var hint: String?
        var constraint: String?
        var table: String?
        var column: String?
        var sourceFunction: String?
    }

    /// Kept in one object, so that an error in a `Result` costs one word.
    private final class Storage: Sendable {
        let operation: String
        let message: String
        let fields: ServerFields?
        let outcomeUnknown: Bool

        init(_ operation: String, _ message: String, _ fields: ServerFields?, _ unknown: Bool) {
            self.operation = operation
            self.message = message
            self.fields = fields
            self.outcomeUnknown = unknown
        }
    }

    /// The kind of failure.
    public let code: Code
    private let storage: Storage

    /// An error of `operation`; `outcomeUnknown` when a write may have happened nevertheless.
    public init(_ code: Code, _ operation: String, _ message: String, outcomeUnknown: Bool = false)
    {
        self.code = code
        storage = Storage(operation, message, nil, outcomeUnknown)
    }

    init(_ code: Code, _ operation: String, _ fields: ServerFields, outcomeUnknown: Bool = false) {
        self.code = code
        storage = Storage(operation, fields.message, fields, outcomeUnknown)
    }

    /// What was being done.
    public var operation: String { storage.operation }
    /// What happened, in the server's or in our words.
    public var message: String { storage.message }
    /// The five-character SQLSTATE, when the server reported the error.
    public var sqlState: String? { storage.fields?.sqlState }
    /// The constraint that refused the statement.
    public var constraint: String? { storage.fields?.constraint }
    /// The table concerned.
    public var table: String? { storage.fields?.table }
    /// The column concerned.
    public var column: String? { storage.fields?.column }
    /// The server's DETAIL.
    public var detail: String? { storage.fields?.detail }
    /// The server's HINT.
    public var hint: String? { storage.fields?.hint }
    /// A write was sent and its connection died: it happened entirely or not at all.
    public var outcomeUnknown: Bool { storage.outcomeUnknown }

    /// A row with the same key is there already.
    public var isUniqueViolation: Bool { sqlState == SQLState.uniqueViolation }
    /// The row referred to is not there, or is still referred to.
    public var isForeignKeyViolation: Bool { sqlState == SQLState.foreignKeyViolation }
    /// A CHECK constraint refused the row.
    public var isCheckViolation: Bool { sqlState == SQLState.checkViolation }
    /// The transaction lost against another and may be run again.
    public var isSerializationFailure: Bool {
        sqlState == SQLState.serializationFailure || sqlState == SQLState.deadlockDetected
    }
    /// A lock was not to be had in time (`lock_timeout`, NOWAIT).
    public var isLockTimeout: Bool { sqlState == SQLState.lockNotAvailable }

    /// The database cannot serve now and may later: worth a 503 with Retry-After.
    public var isUnavailable: Bool {
        switch code {
        case .connection, .timeout, .poolExhausted, .stopped, .unsupportedServer: true
        case .server: SQLState.isUnavailable(sqlState ?? "")
        case .configuration, .decoding, .encoding, .transactionAborted, .cancelled, .migration:
            false
        }
    }

    /// A statement prepared on this connection no longer fits the tables.
    var isStalePlan: Bool {
        guard let fields = storage.fields else { return false }
        return fields.sqlState == SQLState.invalidStatementName
            || fields.sqlState == SQLState.featureNotSupported
                && fields.sourceFunction == "RevalidateCachedQuery"
    }

    /// The server ended the session with this error.
    var endsSession: Bool {
        guard let severity = storage.fields?.severity else { return false }
        return severity == "FATAL" || severity == "PANIC"
    }

    func withUnknownOutcome() -> PostgresError {
        guard let fields = storage.fields else {
            return PostgresError(code, operation, message, outcomeUnknown: true)
        }
        return PostgresError(code, operation, fields, outcomeUnknown: true)
    }
}

extension PostgresError: CustomStringConvertible {
    /// One line for a log; holds the server's words, but no statement and no parameter.
    public var description: String {
        var text = "\(operation): \(message)"
        if let sqlState { text += " (\(sqlState))" }
        if let constraint, !constraint.isEmpty { text += " [\(constraint)]" }
        if outcomeUnknown { text += "; the write may have happened" }
        return text
    }
}

/// Codes of the manual's appendix A that this module acts on.
public enum SQLState {
    /// `unique_violation`.
    public static let uniqueViolation = "23505"
    /// `foreign_key_violation`.
    public static let foreignKeyViolation = "23503"
    /// `check_violation`.
    public static let checkViolation = "23514"
    /// `serialization_failure`.
    public static let serializationFailure = "40001"
    /// `deadlock_detected`.
    public static let deadlockDetected = "40P01"
    /// `lock_not_available`.
    public static let lockNotAvailable = "55P03"
    /// `query_canceled`: `statement_timeout` or a cancel request.
    public static let queryCanceled = "57014"
    /// `read_only_sql_transaction`: the server has become a standby.
    public static let readOnlyTransaction = "25006"
    static let invalidStatementName = "26000"
    static let featureNotSupported = "0A000"

    /// Connection exceptions, lack of resources, shutdown and start-up, a standby that was a
    /// primary: all pass without a change of ours.
    static func isUnavailable(_ sqlState: String) -> Bool {
        sqlState.hasPrefix("08") || sqlState.hasPrefix("53") || sqlState.hasPrefix("57P0")
            || sqlState == readOnlyTransaction
    }
}
