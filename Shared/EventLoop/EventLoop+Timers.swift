@LoopActor
extension EventLoop {
    /// Calls `action` on the loop after `delay`, once.
    ///
    /// A deadline that moves with every request is cheaper as a stored instant that the action
    /// looks at, scheduling itself anew, than as a timer cancelled and made again each time.
    @discardableResult
    public func schedule(
        after delay: Duration,
        _ action: @escaping @LoopActor () -> Void
    ) -> LoopTimer {
        timers.add(deadline: MonotonicTime.now() + delay, action)
    }

    /// Calls `action` on the loop at `deadline`, once.
    @discardableResult
    public func schedule(
        at deadline: MonotonicTime,
        _ action: @escaping @LoopActor () -> Void
    ) -> LoopTimer {
        timers.add(deadline: deadline, action)
    }

    /// Takes a timer back; one that fired already is ignored.
    public func cancel(_ timer: LoopTimer) {
        timers.cancel(timer)
    }

    /// Waits for `delay` without a thread; ends early when the task is cancelled.
    ///
    /// - Throws: `CancellationError`.
    public func sleep(for delay: Duration) async throws {
        let sleeper = Sleeper()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                sleeper.start(delay, continuation)
            }
        } onCancel: {
            // This runs on the canceller's thread.
            Task { @LoopActor in sleeper.wake() }
        }
        try Task.checkCancellation()
    }
}

/// One sleeping task: resumed by the timer or by cancellation, whichever comes first.
@LoopActor
private final class Sleeper {
    private var continuation: CheckedContinuation<Void, Never>?
    private var timer: LoopTimer?

    nonisolated init() {}

    func start(_ delay: Duration, _ continuation: CheckedContinuation<Void, Never>) {
        if Task.isCancelled {
            continuation.resume()
            return
        }
        self.continuation = continuation
        timer = EventLoop.shared.schedule(after: delay) { [self] in wake() }
    }

    func wake() {
        if let timer { EventLoop.shared.cancel(timer) }
        timer = nil
        let waiting = continuation
        continuation = nil
        waiting?.resume()
    }
}
