internal import EventLoop

/// When a worker asks for jobs, and how long it sleeps.
///
/// Pure: time comes in as `now` (ms since
/// 1970, as the scores that it is compared with).
package struct WorkerStateMachine {
    /// What a call for jobs said beside the jobs.
    package enum Answer: Sendable, Hashable {
        /// As many jobs as were asked for.
        case full
        /// Nothing more at this moment.
        case empty
        /// Nothing more before this time.
        case next(Int64)
        /// The queue is paused or has its number of active jobs.
        case blocked
        /// The limit's window is over in so many ms.
        case limited(Int64)
    }

    /// What a wait for a marker ended with.
    enum Marker: Hashable {
        /// Time passed.
        case none
        /// A member with this due time; 0 means now.
        case due(Int64)
    }

    /// What to do after a wait.
    enum Wakening: Hashable {
        /// Ask for jobs.
        case fetch
        /// Wait again, for less long.
        case wait
        /// Wake another worker, as this one has no free place.
        case handOn
    }

    /// What sleeping means at this moment.
    enum Sleep: Hashable {
        /// There is no reason to wait for a marker.
        case none
        /// Wait for a marker for so many ms.
        case milliseconds(Int64)
    }

    let concurrency: Int
    let drainDelay: Int64
    private let blockMax: Int64 = WorkerConfiguration.blockMax.milliseconds
    private let limitedMax: Int64 = WorkerConfiguration.limitedMax.milliseconds

    private(set) var executing = 0
    private(set) var reserved = 0
    private(set) var isStopping = false
    private(set) var isPaused = false
    private var isDrained = false
    private var blockUntil: Int64 = 0
    private var limitUntil: Int64 = 0

    init(concurrency: Int, drainDelay: Int64) {
        self.concurrency = concurrency
        self.drainDelay = drainDelay
    }

    /// Places for further jobs.
    var free: Int { takesJobs ? max(0, concurrency - executing - reserved) : 0 }

    /// Whether jobs are wanted at all.
    var takesJobs: Bool { !isStopping && !isPaused }

    /// How many jobs to ask for in a call that is made anyway (it carries outcomes) or only for them.
    func wanted(now: Int64, isForOutcomes: Bool) -> Int {
        guard now >= limitUntil, isForOutcomes || !isDrained else { return 0 }
        return free
    }

    mutating func asked(for count: Int) { reserved += count }

    mutating func answered(_ answer: Answer, jobs: Int, of count: Int, now: Int64) {
        reserved -= count
        executing += jobs
        if count == 0 { return }
        switch answer {
        case .full:
            isDrained = false
            return
        case .empty, .blocked: blockUntil = 0
        case .next(let due): blockUntil = due
        case .limited(let left):
            limitUntil = now + min(max(left, 1), limitedMax)
            isDrained = false
            return
        }
        isDrained = true
    }

    /// The call failed; the jobs it took, if any, come back as stalled ones.
    mutating func failed(of count: Int) { reserved -= count }

    mutating func ended() { executing -= 1 }

    /// How long until the limit's window is over; nil when there is none.
    func limitLeft(now: Int64) -> Int64? { limitUntil > now ? limitUntil - now : nil }

    /// How long to wait for a marker.
    func sleep(now: Int64) -> Sleep {
        guard isDrained, free > 0, now >= limitUntil, !isStopping else { return .none }
        if blockUntil == 0 { return .milliseconds(drainDelay) }
        return .milliseconds(min(max(blockUntil - now, 1), blockMax))
    }

    mutating func woken(_ marker: Marker, now: Int64) -> Wakening {
        if case .due(let due) = marker, due > now {
            blockUntil = due
            return .wait
        }
        // With no time passed to the due job, an early end of the wait only means the longest wait.
        if marker == .none, blockUntil > now { return .wait }
        blockUntil = 0
        guard free > 0 else { return marker == .none ? .wait : .handOn }
        isDrained = false
        return .fetch
    }

    mutating func stop() { isStopping = true }

    mutating func pause() { isPaused = true }

    mutating func resume() {
        isPaused = false
        isDrained = false
    }
}
