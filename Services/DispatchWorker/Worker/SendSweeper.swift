internal import JSON
internal import EventLoop
internal import FoundationEssentials
internal import Logging
internal import Platform

/// Settles what nobody is working on: leases that ran out, deadlines and pauses whose time is over.
///
/// Each part is a statement of its own, so one that fails holds none of the others up.
@LoopActor
final class SendSweeper {
    /// Between two sweeps.
    static let interval: Duration = .seconds(1)
    /// Sweeps between two signs of life.
    static let signEvery = 5
    /// How long one sweep goes on with deadlines while there are more.
    static let deadlineBudget: Duration = .milliseconds(500)

    private let repository: SendRepository
    private let sweeps: SweepRepository
    private let releaser: PauseReleaser
    private let cleaner: Cleaner
    private let metrics: SendMetrics
    private let logger: Logger
    private let worker: SendMessageWorker
    /// The name of this process among those that send.
    private let name = "dispatch-worker-\(UUID().text)"
    private var sweeping: Task<Void, Never>?

    /// - Parameters:
    ///   - worker: what takes jobs here: it is told of pauses, and tells what it does.
    ///   - wake: called when something that waited can go.
    init(
        _ parts: SendParts,
        worker: SendMessageWorker,
        wake: @escaping @LoopActor () -> Void
    ) {
        repository = parts.repository
        let sweeps = SweepRepository(postgres: parts.repository.postgres)
        self.sweeps = sweeps
        releaser = PauseReleaser(sweeps, logger: parts.logger, released: wake)
        cleaner = Cleaner(sweeps, logger: parts.logger)
        metrics = parts.metrics
        logger = parts.logger
        self.worker = worker
    }

    /// Starts sweeping.
    func start() {
        sweeping = Task { await run() }
        releaser.start()
        cleaner.start()
    }

    /// Ends after what is under way.
    func stop() async {
        sweeping?.cancel()
        await sweeping?.value
        await releaser.stop()
        await cleaner.stop()
    }

    /// Lets go at once what ended pauses held.
    func wake() { releaser.wake() }

    private func run() async {
        var round = 0
        while !Task.isCancelled {
            await part("leases") { try await self.expireLeases() }
            await part("deadlines") { try await self.expireDeadlines() }
            await part("pauses") {
                if try await self.sweeps.endExpiredPauses() > 0 { self.releaser.wake() }
            }
            if round % SendSweeper.signEvery == 0 {
                await part("signs of life") { try await self.showSigns() }
            }
            round += 1
            try? await EventLoop.shared.sleep(for: SendSweeper.interval)
        }
    }

    private func part(_ name: String, _ work: @LoopActor () async throws -> Void) async {
        do {
            try await work()
        } catch {
            logger.warning(
                "a part of the sweep failed",
                metadata: ["part": "\(name)", "error": "\(error)"]
            )
        }
    }

    private func expireLeases() async throws {
        let count = try await sweeps.expireLeases()
        guard count > 0 else { return }
        metrics.expiredLeases(count)
        logger.warning("leases ran out", metadata: ["count": "\(count)"])
    }

    private func expireDeadlines() async throws {
        let end = EventLoop.shared.now + SendSweeper.deadlineBudget
        while try await sweeps.expireDeadlines() == SweepRepository.settleMax,
            EventLoop.shared.now < end
        {}
    }

    private func showSigns() async throws {
        let isToPause = try await repository.seen(name, worker.reading)
        if worker.pause(isToPause) { _ = try await repository.seen(name, worker.reading) }
        let counts = try await repository.counts()
        metrics.queue(counts.states, oldest: counts.oldest)
    }
}

/// What a process that sends does at the moment.
struct WorkerReading: Sendable {
    /// `running`, `paused` or `stopping`.
    let state: String
    let concurrency: Int
    let inFlight: Int
    /// Since it began.
    let sent: Int
    let failed: Int
}
