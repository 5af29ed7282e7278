public import EventLoop

/// Session-level advisory locks on a connection of their own: who leads what, among processes.
///
/// A lock lasts until it is released or the connection dies. The server notices a dead process at
/// once and a dead network after the keep-alive time, so a leader that was cut off may go on for some
/// seconds while another has taken over: leadership saves work, it proves nothing.
@LoopActor
public final class PostgresAdvisoryLocks {
    private let keeper: ConnectionKeeper
    private let limit: Duration
    private var held: Set<String> = []
    private var asking: Set<String> = []

    /// Locks on a connection that is not open yet.
    ///
    /// - Parameter onLost: called with the keys that were held when the connection died.
    public init(
        _ configuration: PostgresConfiguration,
        observer: (any PostgresObserver)? = nil,
        onLost: @escaping @LoopActor (Set<String>) -> Void = { _ in }
    ) {
        limit = configuration.statementTimeout
        keeper = ConnectionKeeper(Connector(configuration, observer), .dedicated)
        keeper.onDown = { [weak self] _ in
            guard let self, !held.isEmpty else { return }
            let lost = held
            held = []
            onLost(lost)
        }
    }

    /// Connects.
    public func start() async throws(PostgresError) { try await keeper.start() }

    /// Closes the connection and with it gives all locks back.
    public func stop() {
        held = []
        keeper.stop()
    }

    /// Whether this process holds `key` through this object.
    public func holds(_ key: String) -> Bool { held.contains(key) }

    /// Takes the lock of `key` when nobody has it; false also when this object holds it already.
    public func tryAcquire(_ key: String) async throws(PostgresError) -> Bool {
        // The server would count a second lock of the same session.
        guard !held.contains(key), asking.insert(key).inserted else { return false }
        defer { asking.remove(key) }
        let connection = try live()
        let sql = "SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS locked"
        let isLocked = try await connection.query(sql, [.string(key)], kind: .read, limit: limit)
            .one().bool("locked")
        // Lost between the answer and here: the lock went with the connection.
        guard isLocked, keeper.connection === connection else { return false }
        held.insert(key)
        return true
    }

    /// Gives the lock of `key` back; one that is not held is ignored.
    public func release(_ key: String) async throws(PostgresError) {
        guard held.remove(key) != nil else { return }
        let sql = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"
        _ = try await live().query(sql, [.string(key)], kind: .read, limit: limit)
    }

    private func live() throws(PostgresError) -> Connection {
        guard let connection = keeper.connection else {
            let reason = keeper.lastError?.message ?? "not connected yet"
            throw PostgresError(.connection, "advisory lock", "no connection: \(reason)")
        }
        return connection
    }
}
