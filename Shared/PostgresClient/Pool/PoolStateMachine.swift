internal import DequeModule
internal import EventLoop

/// Who uses which connection of the pool, and who waits.
///
/// Slots stand for connections; what opens and reopens them is outside. Waiters are served in the
/// order they came. All wait equally long, so the first in the queue is also the first to give up,
/// and one timer serves all.
///
///     down ──connected──► idle ◄──released── leased
///       ▲                  │  └────acquire─────►│
///       └──────lost────────┴────────lost────────┘
struct PoolStateMachine: Sendable {
    typealias Slot = Int
    typealias Waiter = UInt64

    private enum State: Sendable {
        case down
        case idle(since: MonotonicTime)
        case leased(since: MonotonicTime)
    }

    private struct Waiting: Sendable {
        let waiter: Waiter
        let deadline: MonotonicTime
    }

    enum Refusal: Sendable, Hashable {
        /// As many wait already as may.
        case queueFull
        /// No connection has been live for longer than a waiter would wait.
        case down
        case stopped
    }

    enum AcquireAction: Sendable, Hashable {
        case lease(Slot)
        case wait
        case refuse(Refusal)
    }

    enum FreeAction: Sendable, Hashable {
        case none
        case lease(Slot, to: Waiter)
        /// Close it and open another: it is too old, or its user broke it.
        case replace(Slot)
        /// Close it for good.
        case close(Slot)
    }

    let waitersMax: Int
    let patience: Duration
    let ageMax: Duration

    private var states: [State]
    /// Idle slots; the one used last is used next, its caches are warm.
    private var idle: [Slot] = []
    private var waiting = Deque<Waiting>()
    private var downSince: MonotonicTime?
    private var isStopped = false

    init(
        size: Int,
        waitersMax: Int,
        patience: Duration,
        ageMax: Duration,
        now: MonotonicTime
    ) {
        states = Array(repeating: .down, count: size)
        self.waitersMax = waitersMax
        self.patience = patience
        self.ageMax = ageMax
        downSince = now
    }

    var waitingCount: Int { waiting.count }
    var idleCount: Int { idle.count }
    var liveCount: Int { states.count { if case .down = $0 { false } else { true } } }
    var leasedCount: Int { liveCount - idle.count }
    /// When the first waiter gives up.
    var nextDeadline: MonotonicTime? { waiting.first?.deadline }

    mutating func acquire(_ waiter: Waiter, now: MonotonicTime) -> AcquireAction {
        if isStopped { return .refuse(.stopped) }
        if let slot = idle.popLast(), case .idle(let since) = states[slot] {
            states[slot] = .leased(since: since)
            return .lease(slot)
        }
        if let downSince, now - downSince > patience { return .refuse(.down) }
        guard waiting.count < waitersMax else { return .refuse(.queueFull) }
        waiting.append(Waiting(waiter: waiter, deadline: now + patience))
        return .wait
    }

    mutating func connected(_ slot: Slot, now: MonotonicTime) -> FreeAction {
        guard case .down = states[slot] else {
            preconditionFailure("slot \(slot) was connected twice")
        }
        if isStopped { return .close(slot) }
        downSince = nil
        return free(slot, since: now)
    }

    /// The user is done; `isReusable` is false when the connection may hold something of theirs.
    mutating func released(_ slot: Slot, isReusable: Bool, now: MonotonicTime) -> FreeAction {
        // Lost while leased: whoever reopens it reports it connected again.
        guard case .leased(let since) = states[slot] else { return .none }
        if isStopped {
            states[slot] = .down
            return .close(slot)
        }
        guard isReusable, now - since <= ageMax else {
            markDown(slot, now: now)
            return .replace(slot)
        }
        return free(slot, since: since)
    }

    mutating func lost(_ slot: Slot, now: MonotonicTime) {
        switch states[slot] {
        case .down: return
        case .idle: idle.removeAll { $0 == slot }
        case .leased: break
        }
        markDown(slot, now: now)
    }

    /// Those whose time is over, first come first.
    mutating func waitersDue(now: MonotonicTime) -> [Waiter] {
        var due: [Waiter] = []
        while let first = waiting.first, first.deadline <= now {
            due.append(first.waiter)
            waiting.removeFirst()
        }
        return due
    }

    /// No more leases: who waits is to be refused, what is idle to be closed; leased connections
    /// are closed when they come back.
    mutating func stop() -> (waiters: [Waiter], slots: [Slot]) {
        isStopped = true
        defer {
            for slot in idle { states[slot] = .down }
            waiting.removeAll()
            idle.removeAll()
        }
        return (waiting.map(\.waiter), idle)
    }

    private mutating func free(_ slot: Slot, since: MonotonicTime) -> FreeAction {
        if let next = waiting.popFirst() {
            states[slot] = .leased(since: since)
            return .lease(slot, to: next.waiter)
        }
        states[slot] = .idle(since: since)
        idle.append(slot)
        return .none
    }

    private mutating func markDown(_ slot: Slot, now: MonotonicTime) {
        states[slot] = .down
        if liveCount == 0 { downSince = now }
    }
}
