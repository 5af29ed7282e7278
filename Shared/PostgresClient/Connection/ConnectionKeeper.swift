internal import EventLoop

/// Keeps one connection open: reconnects with backoff and jitter when it dies, for as long as the
/// process lives.
@LoopActor
final class ConnectionKeeper {
    let connector: Connector
    let role: ConnectionRole
    /// The live connection.
    private(set) var connection: Connection?
    /// Called with every new connection.
    var onUp: ((Connection) -> Void)?
    /// Called when the live connection is gone.
    var onDown: ((PostgresError) -> Void)?
    /// Why there is none; nil before the first failure.
    private(set) var lastError: PostgresError?

    private var reconnecting: Task<Void, Never>?
    private var isStopped = false

    init(_ connector: Connector, _ role: ConnectionRole) {
        self.connector = connector
        self.role = role
    }

    /// Opens the first connection; whether a failure is final is the caller's to say.
    func start() async throws(PostgresError) {
        guard connection == nil else { return }
        let opened: Connection
        do {
            opened = try await connector.connect(role)
        } catch {
            lastError = error
            throw error
        }
        adopt(opened)
    }

    /// Closes the live connection and opens another at once.
    func replace() {
        guard let old = connection else { return }
        connection = nil
        old.onClosed = nil
        old.close(PostgresError(.connection, "replace", "the connection is being replaced"))
        reconnect(atOnce: true)
    }

    func stop() {
        isStopped = true
        reconnecting?.cancel()
        let old = connection
        connection = nil
        old?.onClosed = nil
        old?.close(PostgresError(.stopped, "stop", "the client was stopped"))
    }

    private func adopt(_ opened: Connection) {
        guard !isStopped, connection == nil else {
            opened.close(PostgresError(.stopped, "connect", "the connection is not needed"))
            return
        }
        connection = opened
        lastError = nil
        opened.onClosed = { [weak self, unowned opened] reason in
            self?.lost(opened, reason)
        }
        onUp?(opened)
    }

    private func lost(_ old: Connection, _ reason: PostgresError) {
        guard connection === old else { return }
        connection = nil
        lastError = reason
        connector.observer?.postgres(.connectionLost(role: role.rawValue, error: reason))
        onDown?(reason)
        reconnect(atOnce: false)
    }

    private func reconnect(atOnce: Bool) {
        guard !isStopped else { return }
        // Stays on the loop; ends with the keeper.
        reconnecting = Task { [weak self] in
            var failures = atOnce ? 0 : 1
            while let keeper = self, await keeper.tryAgain(failures) { failures += 1 }
        }
    }

    /// Waits and tries once; false when there is no need to go on.
    private func tryAgain(_ failures: Int) async -> Bool {
        do {
            if failures > 0 {
                let delay = Backoff.reconnect.delay(afterFailures: failures)
                try await EventLoop.shared.sleep(for: delay)
            }
        } catch {
            return false
        }
        guard !isStopped else { return false }
        do {
            adopt(try await connector.connect(role))
            return false
        } catch {
            lastError = error
            let next = Backoff.reconnect.longest
            connector.observer?.postgres(
                .connectFailed(role: role.rawValue, error: error, retryAtMost: next)
            )
            return !isStopped
        }
    }
}
