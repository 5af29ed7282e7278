internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import JobQueue
internal import Logging
internal import RedisClient
internal import Telemetry

/// Sees to it that whatever is due has a job: Redis may lose jobs, and dispatchers die between the
/// commit and the queue.
///
/// It asks PostgreSQL often for what is known to lack a job, and goes through all that is overdue once
/// an interval, looking for each job in Redis. Which process does that is settled by a key that lives
/// for the interval. When it is gone before its time Redis has forgotten everything: then the jobs of
/// what is due later are looked for too, at once.
@LoopActor
final class JobKeeper {
    /// Between two looks when nobody wakes it.
    static let lookInterval: Duration = .milliseconds(500)
    /// What has been due for less than this is not looked for yet: its job is on its way.
    static let grace: Duration = .seconds(2)
    /// How far ahead jobs are looked for when Redis has forgotten everything.
    static let reach: Duration = .seconds(3_600)
    /// Between two pages, so that others' commands get their turn.
    static let pagePause: Duration = .milliseconds(5)
    static let claimKey = "dispatch:sweep"

    private let parts: SendParts
    private let projector: MessageRequestProjector
    private let redis: RedisClient
    private let interval: Duration
    private let name = UUID().text
    private let wakeup = Wakeup()
    private var isStopped = false
    private var worker: Task<Void, Never>?
    private var nextClaim = MonotonicTime(nanoseconds: 0)
    /// Until when at least the key lives that was last seen.
    private var claimedUntil = MonotonicTime(nanoseconds: 0)

    /// - Parameter interval: how often all that is overdue is gone through.
    init(
        _ parts: SendParts,
        _ projector: MessageRequestProjector,
        redis: RedisClient,
        interval: Duration
    ) {
        self.parts = parts
        self.projector = projector
        self.redis = redis
        self.interval = interval
    }

    /// Starts looking.
    func start() {
        worker = Task { await run() }
    }

    /// Ends after the look under way.
    func stop() async {
        isStopped = true
        wake()
        await worker?.value
    }

    /// Looks at once.
    func wake() { wakeup.wake() }

    private func run() async {
        while !isStopped {
            // Without Redis there is nowhere to put a job: everything stays where it is.
            if redis.isConnected {
                do {
                    try await parts.tenants.refresh()
                    try await parts.buckets.refresh()
                    try await look()
                    if let grace = try await ourTurn() {
                        try await release()
                        try await sweep(grace)
                    }
                } catch {
                    parts.logger.warning("jobs could not be kept", metadata: ["error": "\(error)"])
                }
            }
            if !isStopped { await wakeup.rest(atMost: JobKeeper.lookInterval) }
        }
    }

    /// Makes jobs for what is known to have none.
    func look() async throws {
        while !isStopped {
            let due = try await parts.dispatches.unqueued()
            guard !due.isEmpty else { return }
            let accepted = due.filter(\.isAccepted)
            if !accepted.isEmpty { _ = try await projector.dispatch(accepted.map(\.accepted)) }
            let others = due.filter { !$0.isAccepted }
            if !others.isEmpty {
                let active = try await parts.queue.bringForward(others.map(\.job))
                try await FaultPoints.reached("dispatch.brought_forward")
                let ready = others.filter { !active.contains($0.job.jobID) }
                if !ready.isEmpty { try await parts.dispatches.noteQueued(ready) }
            }
            if due.count < DispatchRepository.unqueuedMax { return }
        }
    }

    /// For how long the jobs to look for must have been due; nil when that is another process's turn.
    private func ourTurn() async throws -> Duration? {
        let now = EventLoop.shared.now
        guard now >= nextClaim else { return nil }
        nextClaim = now + min(.seconds(1), interval)
        let key = RedisArgument.string(JobKeeper.claimKey)
        let answers = try await redis.pipeline([
            ["SET", key, .string(name), "NX", "PX", .int(interval.milliseconds)],
            ["PTTL", key],
        ])
        if let message = answers.lazy.compactMap(\.errorMessage).first {
            throw RedisError(.server, command: "SET", message: message)
        }
        let isForgotten = now < claimedUntil
        claimedUntil = now + .milliseconds(answers[1].integer ?? 0)
        guard !answers[0].isNull else { return nil }
        return isForgotten ? .zero - JobKeeper.reach : JobKeeper.grace
    }

    /// Gives what was laid aside the slots to come.
    func release() async throws {
        // What was placed is no more laid aside, so this comes to an end.
        while !isStopped {
            let released = try await parts.dispatches.releaseParked()
            if released < DispatchRepository.releaseMax { return }
        }
    }

    /// Goes through all that has been due for `grace`, or will be within `-grace`, and makes the jobs
    /// that are gone.
    private func sweep(_ grace: Duration) async throws {
        var last: DispatchRepository.Due?
        while !isStopped {
            let page = try await parts.dispatches.overdue(after: last, grace: grace)
            let lost = try await parts.queue.withoutJob(page.map(\.job))
            if !lost.isEmpty {
                try await parts.queue.enqueueSimpleSendMessageJob(lost)
                try await FaultPoints.reached("dispatch.requeued")
                parts.metrics.requeued(lost.count)
                parts.logger.warning("jobs were lost", metadata: ["count": "\(lost.count)"])
            }
            guard page.count == DispatchRepository.pageSize else { return }
            last = page.last
            try await EventLoop.shared.sleep(for: JobKeeper.pagePause)
        }
    }
}
