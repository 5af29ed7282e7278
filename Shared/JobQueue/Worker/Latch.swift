internal import EventLoop

/// Wakes one waiting task; a ring while nobody waits is kept for the next one who does.
@LoopActor
final class Latch {
    private var isRung = false
    private var waiter: CheckedContinuation<Void, Never>?

    nonisolated init() {}

    func ring() {
        guard let waiting = waiter else {
            isRung = true
            return
        }
        waiter = nil
        waiting.resume()
    }

    func wait() async {
        if isRung {
            isRung = false
            return
        }
        precondition(waiter == nil, "a latch has one waiter")
        await withCheckedContinuation { waiter = $0 }
    }
}
