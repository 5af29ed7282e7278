public import EventLoop

/// A connection of its own that listens for NOTIFY; reconnects for as long as the process lives.
///
/// A notification is a hint, never the only way to learn of something: those sent while the
/// connection was away are lost. ``onReconnect`` is the moment to look for oneself.
@LoopActor
public final class PostgresListener {
    private let channels: [String]
    private let keeper: ConnectionKeeper
    private let limit: Duration
    private let onReconnect: @LoopActor () -> Void

    /// A listener that is not connected yet.
    ///
    /// - Parameters:
    ///   - onReconnect: called whenever the channels are listened to again, the first time included.
    ///   - onNotification: called for each notification, in the server's order.
    public init(
        _ configuration: PostgresConfiguration,
        channels: [String],
        observer: (any PostgresObserver)? = nil,
        onReconnect: @escaping @LoopActor () -> Void = {},
        onNotification: @escaping @LoopActor (PostgresNotification) -> Void
    ) {
        self.channels = channels
        self.onReconnect = onReconnect
        limit = configuration.statementTimeout
        keeper = ConnectionKeeper(Connector(configuration, observer), .dedicated)
        keeper.onUp = { [weak self] connection in
            connection.onNotification = onNotification
            self?.listenAgain(on: connection)
        }
    }

    /// Whether the connection is live.
    public var isConnected: Bool { keeper.connection != nil }

    /// Connects and listens.
    public func start() async throws(PostgresError) { try await keeper.start() }

    /// Closes the connection.
    public func stop() { keeper.stop() }

    private func listenAgain(on connection: Connection) {
        // Stays on the loop; ends with the last LISTEN.
        Task {
            do throws(PostgresError) {
                for channel in channels {
                    let name = PostgresListener.quoted(channel)
                    _ = try await connection.query("LISTEN \(name)", kind: .read, limit: limit)
                }
                onReconnect()
            } catch {
                connection.close(PostgresError(.connection, "listen", error.message))
            }
        }
    }

    /// An identifier as SQL wants it.
    static func quoted(_ name: String) -> String {
        "\""
            + name.split(separator: "\"", omittingEmptySubsequences: false)
            .joined(separator: "\"\"") + "\""
    }
}
