internal import JSON
internal import EventLoop
internal import FoundationEssentials
internal import Logging
internal import Platform

/// Settles what nobody is working on: leases that ran out, deadlines that passed.
@LoopActor
final class SendSweeper {
    /// Between two sweeps.
    static let interval: Duration = .seconds(1)
    /// Sweeps between two signs of life, and between two clean-ups.
    static let signEvery = 5
    static let cleanUpEvery = 60

    private let repository: SendRepository
    private let metrics: SendMetrics
    private let logger: Logger
    private let reading: @LoopActor () -> WorkerReading
    private let wake: @LoopActor () -> Void
    /// The name of this process among those that send.
    private let name = "dispatch-worker-\(UUID().text)"
    private var worker: Task<Void, Never>?

    /// - Parameters:
    ///   - reading: what the worker does now.
    ///   - wake: called when something that waited can go.
    init(
        _ parts: SendParts,
        reading: @escaping @LoopActor () -> WorkerReading,
        wake: @escaping @LoopActor () -> Void
    ) {
        repository = parts.repository
        metrics = parts.metrics
        logger = parts.logger
        self.reading = reading
        self.wake = wake
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
        var round = 0
        while !Task.isCancelled {
            do {
                try await sweep(round)
            } catch {
                logger.warning("the sweep failed", metadata: ["error": "\(error)"])
            }
            round += 1
            try? await EventLoop.shared.sleep(for: SendSweeper.interval)
        }
    }

    private func sweep(_ round: Int) async throws {
        let swept = try await repository.sweep()
        if swept.unknown > 0 {
            metrics.expiredLeases(swept.unknown)
            logger.warning("leases ran out", metadata: ["count": "\(swept.unknown)"])
        }
        if swept.pausesEnded > 0 { wake() }
        if round % SendSweeper.signEvery == 0 {
            try await repository.seen(name, reading())
            let counts = try await repository.counts()
            metrics.queue(counts.states, oldest: counts.oldest)
        }
        if round % SendSweeper.cleanUpEvery == 0 {
            let gone = try await repository.cleanUp()
            if gone > 0 { logger.info("cleaned up", metadata: ["count": "\(gone)"]) }
        }
    }
}

/// What a process that sends does at the moment.
struct WorkerReading: Sendable {
    /// `running` or `stopping`.
    let state: String
    let concurrency: Int
    let inFlight: Int
    /// Since it began.
    let sent: Int
    let failed: Int
}
