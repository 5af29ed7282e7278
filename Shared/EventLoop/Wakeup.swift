/// Lets one worker rest until there is something to do, or a time has passed.
///
/// A call of ``wake()`` while nobody rests is kept: the next ``rest(atMost:)`` returns at once. So
/// what arrives between a worker's look and its rest is not slept through.
@LoopActor
public final class Wakeup {
    private var isWoken = false
    private var waiting: CheckedContinuation<Void, Never>?

    /// Nobody rests, nothing is kept.
    public nonisolated init() {}

    /// Ends the rest, or the next one before it begins.
    public func wake() {
        isWoken = true
        let resting = waiting
        waiting = nil
        resting?.resume()
    }

    /// Rests until ``wake()``, at most `limit`.
    ///
    /// For one worker: a second one that rests at the same time is a bug, and traps.
    public func rest(atMost limit: Duration) async {
        precondition(waiting == nil, "one worker rests here")
        if !isWoken {
            let timer = EventLoop.shared.schedule(after: limit) { [weak self] in self?.wake() }
            await withCheckedContinuation { waiting = $0 }
            EventLoop.shared.cancel(timer)
        }
        isWoken = false
    }
}
