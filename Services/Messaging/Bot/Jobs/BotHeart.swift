internal import EventLoop
internal import Logging

/// Gives a process's signs of life and those of the jobs that it works on, all in one statement.
///
/// A job that is no longer this process's is aborted; so is one whose answer nobody would see.
@LoopActor
final class BotHeart {
    /// Jobs that ended here, and those of them that failed.
    var processed = 0
    var failed = 0

    private let jobs: BotJobs
    private let running: RunningJobs
    private let locks: MessageLockManager
    private let logger: Logger
    private let rest = Wakeup()
    private var isStopped = false
    private var worker: Task<Void, Never>?

    init(jobs: BotJobs, running: RunningJobs, locks: MessageLockManager, logger: Logger) {
        self.jobs = jobs
        self.running = running
        self.locks = locks
        self.logger = logger
    }

    func start() {
        worker = Task { await run() }
    }

    func stop() async {
        isStopped = true
        rest.wake()
        await worker?.value
    }

    private func run() async {
        while !isStopped {
            let began = MonotonicTime.now()
            do {
                try await beat()
            } catch {
                // The database is away; a lease outlives a few missed beats.
                logger.warning("bot: no sign of life", metadata: ["reason": "\(error)"])
            }
            let next = began + jobs.settings.heartbeat - MonotonicTime.now()
            if !isStopped { await rest.rest(atMost: max(next, .milliseconds(1))) }
        }
    }

    private func beat() async throws {
        let entries = running.all
        let pulses = try await jobs.beat(
            entries.map(\.work),
            processed: processed,
            failed: failed
        )
        for (turn, pulse) in pulses {
            switch pulse {
            case .lost: running.abort(turn)
            case .outdated: running.newerMessage(than: turn)
            case .ours: break
            }
        }
        // All at once: one after the other they would outlast the lease where Redis is slow.
        await withTaskGroup { group in
            for entry in entries where pulses[entry.work.turn] != .lost {
                group.addTask { await self.keepLock(of: entry) }
            }
        }
    }

    /// Shows that the job's lock is held, unless the job has ended meanwhile.
    func keepLock(of entry: RunningJobs.Entry) async {
        guard !entry.isReleased else { return }
        let work = entry.work
        await locks.keep(work)
        guard entry.isReleased else { return }
        // It was taken down while this looked, and is shown again for nobody.
        await locks.releaseLock(
            tenant: work.tenant,
            conversation: work.conversationID,
            lockID: work.lockID
        )
    }
}
