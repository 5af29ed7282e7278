/// Counters since the client was made, and gauges of this moment.
public struct PostgresStatistics: Sendable, Hashable {
    /// Keyed reads asked for.
    public internal(set) var reads = 0
    /// Reads sent a second time because their connection was lost.
    public internal(set) var readsRetried = 0
    /// Statements sent through the pool.
    public internal(set) var queries = 0
    /// Transactions begun, retries included.
    public internal(set) var transactions = 0
    /// Transactions run again.
    public internal(set) var transactionRetries = 0
    /// Callers refused because no connection of the pool came free.
    public internal(set) var poolExhausted = 0
    /// Reads in flight or waiting for a reader.
    public internal(set) var readsInFlight = 0
    /// Readers that are connected.
    public internal(set) var readersLive = 0
    /// Pool connections that are connected.
    public internal(set) var poolLive = 0
    /// Pool connections that nobody uses.
    public internal(set) var poolIdle = 0
    /// Pool connections in use.
    public internal(set) var poolLeased = 0
    /// Callers waiting for a pool connection.
    public internal(set) var poolWaiting = 0
}
