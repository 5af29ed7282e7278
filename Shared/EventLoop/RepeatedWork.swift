/// Work that is done again and again: the next time an interval after the last has ended.
@LoopActor
public final class RepeatedWork {
    private let interval: Duration
    private let work: @LoopActor () async -> Void
    private var timer: LoopTimer?
    private var underWay: Task<Void, Never>?
    private var isStopped = false

    /// Work that is done every `interval`, once it is started.
    public init(every interval: Duration, _ work: @escaping @LoopActor () async -> Void) {
        self.interval = interval
        self.work = work
    }

    /// Begins; the first time is after `delay`, or after an interval where none is given.
    public func start(after delay: Duration? = nil) {
        guard !isStopped else { return }
        timer = EventLoop.shared.schedule(after: delay ?? interval) { [weak self] in
            guard let self else { return }
            underWay = Task {
                await self.work()
                self.underWay = nil
                self.start()
            }
        }
    }

    /// Begins nothing more; what is under way ends by itself.
    public func stop() {
        isStopped = true
        if let timer { EventLoop.shared.cancel(timer) }
    }

    /// Begins nothing more, and waits for what is under way.
    public func end() async {
        stop()
        await underWay?.value
    }
}
