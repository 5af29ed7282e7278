internal import EventLoop
internal import FoundationEssentials
internal import Logging
internal import Platform

/// Tells those who wait when their place in the queue changed: an event for each, at most every ten
/// seconds, whichever instance comes first.
@LoopActor
final class QueuePositions {
    static let interval: Duration = .seconds(10)
    /// Places further back are not told.
    static let placesPerTeam = 100

    private let sessions: SessionRepository
    private let logger: Logger
    private lazy var passes = RepeatedWork(every: QueuePositions.interval) { [weak self] in
        await self?.pass()
    }

    init(sessions: SessionRepository, logger: Logger) {
        self.sessions = sessions
        self.logger = logger
    }

    func start() { passes.start() }

    func stop() { passes.stop() }

    private func pass() async {
        do {
            for tenant in try await sessions.tenantsWaiting(limit: QueueDrainer.tenantsPerSweep) {
                try await sessions.tellPositions(tenant, perTeam: QueuePositions.placesPerTeam)
            }
        } catch {
            logger.warning("places could not be told", metadata: ["reason": "\(error)"])
        }
    }
}
