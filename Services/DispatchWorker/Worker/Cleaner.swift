internal import EventLoop
internal import FoundationEssentials
internal import Logging

/// Deletes what nobody keeps any more, in batches until nothing is left.
@LoopActor
final class Cleaner {
    /// From the end of one clean-up to the next.
    static let interval: Duration = .seconds(60)
    /// Between two batches, so that what is sent gets its turn.
    static let batchPause: Duration = .milliseconds(50)
    /// Before the first one, so that a start is not slowed down.
    static let firstPause: Duration = .seconds(1)

    private let repository: SweepRepository
    private let logger: Logger
    private var isStopped = false
    private lazy var rounds = RepeatedWork(every: Cleaner.interval) { [weak self] in
        await self?.cleanUp()
    }

    init(_ repository: SweepRepository, logger: Logger) {
        self.repository = repository
        self.logger = logger
    }

    /// Begins to clean up.
    func start() { rounds.start(after: Cleaner.firstPause) }

    /// Ends after the batch under way.
    func stop() async {
        isStopped = true
        await rounds.end()
    }

    private func cleanUp() async {
        await part("requests") { try await self.cleanRequests() }
        for leftover in SweepRepository.Leftover.allCases {
            await part(leftover.rawValue) { try await self.clean(leftover) }
        }
    }

    private func part(_ name: String, _ work: @LoopActor () async throws -> Int) async {
        do {
            let gone = try await work()
            guard gone > 0 else { return }
            logger.info("cleaned up", metadata: ["what": "\(name)", "count": "\(gone)"])
        } catch {
            logger.warning(
                "a part of the clean-up failed",
                metadata: ["what": "\(name)", "error": "\(error)"]
            )
        }
    }

    private func cleanRequests() async throws -> Int {
        var gone = 0
        var tenant: UUID?
        while !isStopped {
            let batch = try await repository.cleanRequests(from: tenant)
            gone += batch.gone
            tenant = batch.next
            if tenant == nil { break }
            try await EventLoop.shared.sleep(for: Cleaner.batchPause)
        }
        return gone
    }

    private func clean(_ leftover: SweepRepository.Leftover) async throws -> Int {
        var gone = 0
        while !isStopped {
            let batch = try await repository.clean(leftover)
            gone += batch
            if batch < SweepRepository.cleanUpMax { break }
            try await EventLoop.shared.sleep(for: Cleaner.batchPause)
        }
        return gone
    }
}
