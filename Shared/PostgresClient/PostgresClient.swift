public import EventLoop

/// Told of what an operator may want to know; implemented by whoever writes logs and metrics.
public protocol PostgresObserver: Sendable {
    /// Called on the loop; must not wait.
    @LoopActor func postgres(_ event: PostgresEvent)
}

/// A process's access to PostgreSQL: pipelined readers for keyed reads, and a pool of one-at-a-time
/// connections for writes, lists and transactions.
///
/// Reads share connections, because a pipeline is the cheapest way to ask for a row; writes do not,
/// because commits of several sessions share flushes to disk and those of one do not.
///
/// No NOTIFY in a transaction: it makes all commits of the database wait for each other.
@LoopActor
public final class PostgresClient {
    /// How often a transaction is run again after losing against another.
    public static let transactionRetriesMax = 5
    /// How often a read is sent again: a server that ends its sessions one by one may take the
    /// second reader while the first one's reads move over.
    public static let readRetriesMax = 2

    let configuration: PostgresConfiguration
    let observer: (any PostgresObserver)?
    let readers: ReaderGroup
    let pool: ConnectionPool
    /// What rows that are written now come from, as a `traceparent`; nil where nobody records that.
    ///
    /// A statement finds it in `current_setting('switchboard.traceparent', true)`, for the length of
    /// its own transaction, without a round trip more; where rows are to keep it, the default of a
    /// column reads it. Must be a plain word: it is not quoted.
    public var traceparent: (@LoopActor () -> String?)?
    private var readings = PostgresStatistics()
    var isStopped = false

    /// A client that is not connected yet.
    public init(
        _ configuration: PostgresConfiguration,
        observer: (any PostgresObserver)? = nil
    ) {
        self.configuration = configuration
        self.observer = observer
        let connector = Connector(configuration, observer)
        readers = ReaderGroup(configuration, connector, observer)
        pool = ConnectionPool(configuration, connector)
    }

    // MARK: State

    /// Whether a reader and a pool connection are live.
    public var isAvailable: Bool { readers.liveCount > 0 && pool.liveCount > 0 }

    /// The server's version as libpq counts it (150004 is 15.4); 0 when not connected.
    public var serverVersion: Int { readers.serverVersion ?? 0 }

    /// What to show as metrics.
    public var statistics: PostgresStatistics {
        var current = readings
        current.readersLive = readers.liveCount
        current.readsInFlight = readers.inFlightCount
        current.readsRetried = readers.retries
        current.poolLive = pool.liveCount
        current.poolIdle = pool.idleCount
        current.poolLeased = pool.leasedCount
        current.poolWaiting = pool.waitingCount
        current.poolExhausted = pool.exhaustions
        return current
    }

    // MARK: Statements

    /// A keyed read on a shared connection, in a session that is read-only.
    ///
    /// At most `readTimeout` of work; sent again when its connection is lost.
    ///
    /// - Throws: ``PostgresError``: `timeout` for a statement that is too slow for a reader.
    public func read(
        _ sql: String,
        _ parameters: [PostgresValue] = []
    ) async throws(PostgresError) -> PostgresRows {
        guard !isStopped else { throw PostgresClient.stopped }
        readings.reads += 1
        return try await readers.read(sql, parameters)
    }

    /// One statement in a transaction of its own, in one round trip: calls of SQL functions, lists.
    ///
    /// - Parameters:
    ///   - timeout: cancels the statement after this long; `statement_timeout` holds too.
    ///   - idempotent: whether it may be sent again when its connection is lost.
    /// - Throws: ``PostgresError``; `outcomeUnknown` when a write may have happened nevertheless.
    @discardableResult
    public func query(
        _ sql: String,
        _ parameters: [PostgresValue] = [],
        timeout: Duration? = nil,
        idempotent: Bool = false
    ) async throws(PostgresError) -> PostgresRows {
        do {
            return try await queryOnce(sql, parameters, timeout)
        } catch {
            guard idempotent, error.outcomeUnknown, !isStopped else { throw error }
            try? await EventLoop.shared.sleep(for: Backoff.reconnect.delay(afterFailures: 1))
            return try await queryOnce(sql, parameters, timeout)
        }
    }

    private func queryOnce(
        _ sql: String,
        _ parameters: [PostgresValue],
        _ timeout: Duration?
    ) async throws(PostgresError) -> PostgresRows {
        readings.queries += 1
        let outcome = await withCheckedContinuation { continuation in
            pool.submit(
                Exchange(
                    sql,
                    parameters,
                    .write,
                    opening: stamp,
                    limit: timeout ?? statementLimit,
                    continuation
                )
            )
        }
        return try outcome.get()
    }

    /// Goes before a statement in the same pipeline, and so in the same transaction.
    private var stamp: String? {
        traceparent?().map { "SELECT set_config('switchboard.traceparent', '\($0)', true)" }
    }

    /// The server's own `statement_timeout` comes first; this is for a server that hangs.
    private var statementLimit: Duration { configuration.statementTimeout + .milliseconds(500) }

    /// Runs `body` in a transaction: commits when it returns, rolls back when it throws or when the
    /// task has been cancelled.
    ///
    /// `body` runs again, from its beginning, when the transaction lost against another (40001,
    /// 40P01), so it may have no effects outside the database.
    ///
    /// - Throws: what `body` throws, or ``PostgresError``; `outcomeUnknown` only when the
    ///   connection died during COMMIT.
    public func transaction<Value: Sendable>(
        _ isolation: PostgresIsolation = .readCommitted,
        _ body: @LoopActor (PostgresTransaction) async throws -> Value
    ) async throws -> Value {
        var retries = 0
        while true {
            let transaction: PostgresTransaction
            let reason: PostgresError
            let lease = try await pool.lease()
            transaction = PostgresTransaction(lease.connection, isolation, limit: statementLimit)
            readings.transactions += 1
            do {
                if let stamp { try await transaction.query(stamp) }
                let value = try await body(transaction)
                try await transaction.commit()
                pool.release(lease, isReusable: true)
                return value
            } catch {
                await transaction.rollback()
                pool.release(lease, isReusable: true)
                guard let cause = transaction.failure ?? error as? PostgresError,
                    cause.isSerializationFailure || cause.isStalePlan,
                    retries < PostgresClient.transactionRetriesMax, !Task.isCancelled
                else { throw error }
                reason = cause
            }
            retries += 1
            readings.transactionRetries += 1
            observer?.postgres(
                .transactionRetried(attempt: retries + 1, sqlState: reason.sqlState ?? "")
            )
            try await EventLoop.shared.sleep(
                for: Backoff.transaction.delay(afterFailures: retries)
            )
        }
    }

    private static let stopped = PostgresError(.stopped, "client", "the client was stopped")
}
