internal import EventLoop
internal import Logging
internal import PostgresClient

/// Keeps the partitions of the tables that only grow: makes those of the coming week, and drops what
/// is older than its table keeps.
///
/// Every process of every service does it; the database lets one at a time. A week ahead is enough
/// for a database that nobody could reach for days, and a service that starts makes what is missing
/// before it serves.
@LoopActor
final class PartitionKeeper {
    /// Between two looks.
    static let interval: Duration = .seconds(3600)
    /// Until the next one after a look that failed.
    static let retryInterval: Duration = .seconds(60)

    private let postgres: PostgresClient
    private let logger: Logger
    private var timer: LoopTimer?
    private var isStopped = false

    init(_ postgres: PostgresClient, logger: Logger) {
        self.postgres = postgres
        self.logger = logger
    }

    /// Makes what is missing now, and looks again every hour.
    ///
    /// - Throws: when the partitions of today could not be made: nothing could be stored.
    func start() async throws(PostgresError) {
        try await make()
        schedule(after: PartitionKeeper.retryInterval)
    }

    /// Looks no more.
    func stop() {
        isStopped = true
        if let timer { EventLoop.shared.cancel(timer) }
    }

    private func schedule(after pause: Duration) {
        guard !isStopped else { return }
        timer = EventLoop.shared.schedule(after: pause) { [weak self] in
            guard let self else { return }
            Task { await self.look() }
        }
    }

    private func look() async {
        do {
            try await make()
            try await drop()
            schedule(after: PartitionKeeper.interval)
        } catch {
            logger.warning("partitions: the next look is soon", metadata: ["error": "\(error)"])
            schedule(after: PartitionKeeper.retryInterval)
        }
    }

    private func make() async throws(PostgresError) {
        _ = try await postgres.query("select platform.ensure_partitions()", idempotent: true)
    }

    private func drop() async throws(PostgresError) {
        _ = try await postgres.query("select platform.drop_old_partitions()", idempotent: true)
    }
}
