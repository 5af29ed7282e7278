internal import EventLoop
internal import Logging

/// Lets go what pauses held that have ended, batch by batch: neither the end of a pause nor what is
/// sent meanwhile waits for all of it.
@LoopActor
final class PauseReleaser {
    /// Between two looks when nobody wakes it.
    static let lookInterval: Duration = .seconds(1)
    /// Between two batches, so that others' statements get their turn.
    static let batchPause: Duration = .milliseconds(5)

    private let repository: SweepRepository
    private let logger: Logger
    private let released: @LoopActor () -> Void
    private let wakeup = Wakeup()
    private var isStopped = false
    private var worker: Task<Void, Never>?

    /// - Parameter released: called after each batch: what waited can be sent.
    init(
        _ repository: SweepRepository,
        logger: Logger,
        released: @escaping @LoopActor () -> Void
    ) {
        self.repository = repository
        self.logger = logger
        self.released = released
    }

    /// Starts looking.
    func start() {
        worker = Task { await run() }
    }

    /// Ends after the batch under way; others go on where it ended.
    func stop() async {
        isStopped = true
        wake()
        await worker?.value
    }

    /// Looks at once.
    func wake() { wakeup.wake() }

    private func run() async {
        while !isStopped {
            do {
                while !isStopped, try await repository.releaseHeld() {
                    released()
                    try await EventLoop.shared.sleep(for: PauseReleaser.batchPause)
                }
            } catch {
                logger.warning(
                    "what a pause held could not be let go",
                    metadata: ["error": "\(error)"]
                )
            }
            if !isStopped { await wakeup.rest(atMost: PauseReleaser.lookInterval) }
        }
    }
}
