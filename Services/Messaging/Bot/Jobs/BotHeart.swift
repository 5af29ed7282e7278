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
        let works = running.works
        let pulses = try await jobs.beat(works, processed: processed, failed: failed)
        for (turn, pulse) in pulses {
            switch pulse {
            case .lost: running.abort(turn)
            case .outdated: running.newerMessage(than: turn)
            case .ours: break
            }
        }
        // All at once: one after the other they would outlast the lease where Redis is slow.
        await withTaskGroup { [locks] group in
            for work in works where pulses[work.turn] != .lost {
                group.addTask { await locks.keep(work) }
            }
        }
    }
}
