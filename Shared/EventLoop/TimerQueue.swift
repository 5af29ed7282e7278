internal import HeapModule

/// A timer that fires once on the loop unless cancelled; made by ``EventLoop/schedule(after:_:)``.
@LoopActor
public final class LoopTimer {
    /// When it is due.
    public let deadline: MonotonicTime
    let sequence: UInt64
    private var action: (@LoopActor () -> Void)?

    init(deadline: MonotonicTime, sequence: UInt64, action: @escaping @LoopActor () -> Void) {
        self.deadline = deadline
        self.sequence = sequence
        self.action = action
    }

    /// Whether it neither fired nor was cancelled.
    public var isPending: Bool { action != nil }

    func fire() {
        let due = action
        action = nil
        due?()
    }

    func drop() { action = nil }
}

/// Timers by deadline; equal deadlines fire in the order they were made.
///
/// A cancelled timer stays in the heap without its action until it comes up, or until more than half
/// of the heap is such: then the heap is rebuilt, so that cancelling costs constant time and memory
/// stays within twice what is live.
@LoopActor
struct TimerQueue {
    struct Entry: Comparable, Sendable {
        let deadline: MonotonicTime
        let sequence: UInt64
        let timer: LoopTimer

        static func < (left: Entry, right: Entry) -> Bool {
            (left.deadline, left.sequence) < (right.deadline, right.sequence)
        }

        static func == (left: Entry, right: Entry) -> Bool { left.sequence == right.sequence }
    }

    /// Below this many cancelled timers a rebuild is not worth it.
    static let cancelledBeforeRebuild = 256

    private var heap = Heap<Entry>()
    private var sequence: UInt64 = 0
    private var cancelled = 0

    nonisolated init() {}

    /// Live and cancelled timers in the heap.
    var count: Int { heap.count }

    var nextDeadline: MonotonicTime? { heap.min?.deadline }

    mutating func add(
        deadline: MonotonicTime,
        _ action: @escaping @LoopActor () -> Void
    ) -> LoopTimer {
        sequence += 1
        let timer = LoopTimer(deadline: deadline, sequence: sequence, action: action)
        heap.insert(Entry(deadline: deadline, sequence: sequence, timer: timer))
        return timer
    }

    mutating func cancel(_ timer: LoopTimer) {
        guard timer.isPending else { return }
        timer.drop()
        cancelled += 1
        if cancelled >= TimerQueue.cancelledBeforeRebuild && cancelled * 2 > heap.count {
            heap = Heap(heap.unordered.filter(\.timer.isPending))
            cancelled = 0
        }
    }

    mutating func popDue(now: MonotonicTime) -> LoopTimer? {
        while let first = heap.min, first.deadline <= now {
            heap.removeMin()
            if first.timer.isPending { return first.timer }
            cancelled -= 1
        }
        return nil
    }
}
