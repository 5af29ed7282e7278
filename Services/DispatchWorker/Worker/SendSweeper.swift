internal import EventLoop
internal import Logging

/// Settles what nobody is working on: leases that ran out, deadlines that passed.
@LoopActor
final class SendSweeper {
    /// Between two sweeps.
    static let interval: Duration = .seconds(1)

    private let repository: SendRepository
    private let metrics: SendMetrics
    private let logger: Logger
    private var worker: Task<Void, Never>?

    init(_ repository: SendRepository, metrics: SendMetrics, logger: Logger) {
        self.repository = repository
        self.metrics = metrics
        self.logger = logger
    }

    /// Starts sweeping.
    func start() {
        worker = Task { await run() }
    }

    /// Ends after the sweep under way.
    func stop() async {
        worker?.cancel()
        await worker?.value
    }

    private func run() async {
        while !Task.isCancelled {
            do {
                let swept = try await repository.sweep()
                if swept.unknown > 0 {
                    metrics.expiredLeases(swept.unknown)
                    logger.warning("leases ran out", metadata: ["count": "\(swept.unknown)"])
                }
            } catch {
                logger.warning("the sweep failed", metadata: ["error": "\(error)"])
            }
            try? await EventLoop.shared.sleep(for: SendSweeper.interval)
        }
    }
}
