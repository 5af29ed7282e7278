internal import EventLoop

/// How a process uses its database.
public struct PostgresConfiguration: Sendable {
    /// The connections that one process may hold: readers, pool and dedicated ones together.
    public static let connectionBudget = ConnectionBudget.perProcess

    /// Where the database is.
    public var url: PostgresURL
    /// What `pg_stat_activity` shows.
    public var applicationName: String
    /// Pipelined connections for keyed reads.
    public var readers = 2
    /// One-at-a-time connections for writes, lists and transactions.
    public var poolSize = 5
    /// Connections beside this client (a listener, advisory locks): counted, not opened.
    public var dedicatedConnections = 1
    /// The time for one attempt at one address.
    public var connectTimeout: Duration = .seconds(3)
    /// `statement_timeout` of readers: how long one read can hold up those behind it.
    public var readTimeout: Duration = .milliseconds(300)
    /// How long a caller waits for a read, queueing and one retry included.
    public var readDeadline: Duration = .seconds(2)
    /// `statement_timeout` of the pool.
    public var statementTimeout: Duration = .seconds(5)
    /// `lock_timeout` of every session.
    public var lockTimeout: Duration = .seconds(2)
    /// `idle_in_transaction_session_timeout` of every session.
    public var idleInTransactionTimeout: Duration = .seconds(10)
    /// How long a caller waits for a connection.
    public var acquireTimeout: Duration = .seconds(1)
    /// How many callers may wait for a connection of the pool.
    public var waitersMax = 256
    /// How many reads may be on one reader, or wait while none is connected.
    public var pendingReadsMax = 512
    /// An older connection is replaced when it becomes free.
    public var connectionAgeMax: Duration = .seconds(1800)
    /// Statements that one connection keeps prepared.
    public var statementCacheMax = 256
    /// The oldest major version that will do.
    public var minimumServerVersion = 15
    /// Processes that share the server, for the check of `max_connections`.
    public var processesExpected = 9

    /// A configuration with the defaults above.
    ///
    /// - Throws: ``PostgresError`` with code `configuration` when the URL is not one.
    public init(url: String, applicationName: String) throws(PostgresError) {
        self.url = try PostgresURL(url)
        self.applicationName = applicationName
        if let seconds = self.url.connectTimeoutSeconds { connectTimeout = .seconds(seconds) }
    }

    var budget: ConnectionBudget {
        ConnectionBudget(
            readers: readers,
            pool: poolSize,
            dedicated: dedicatedConnections,
            processes: processesExpected
        )
    }
}
