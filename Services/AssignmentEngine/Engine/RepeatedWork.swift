internal import EventLoop

/// Work that is done again and again: the next time an interval after the last has ended.
@LoopActor
final class RepeatedWork {
    private let interval: Duration
    private let work: @LoopActor () async -> Void
    private var timer: LoopTimer?
    private var isStopped = false

    init(every interval: Duration, _ work: @escaping @LoopActor () async -> Void) {
        self.interval = interval
        self.work = work
    }

    /// Begins the first interval.
    func start() {
        guard !isStopped else { return }
        timer = EventLoop.shared.schedule(after: interval) { [weak self] in
            guard let self else { return }
            Task {
                await self.work()
                self.start()
            }
        }
    }

    /// Begins nothing more; what is under way ends by itself.
    func stop() {
        isStopped = true
        if let timer { EventLoop.shared.cancel(timer) }
    }
}
