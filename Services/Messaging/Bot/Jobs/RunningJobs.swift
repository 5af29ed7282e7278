internal import EventLoop
internal import FoundationEssentials

/// The jobs that a process works on, and whose call to the provider may be aborted.
///
/// A job may be here twice: a process that stood still for longer than its lease may claim its own
/// job again, before the call of its first claim has come back.
@LoopActor
final class RunningJobs {
    /// A job that is worked on here, or was a moment ago.
    @LoopActor
    final class Entry: Sendable {
        let work: JobWork
        fileprivate var task: Task<Void, Never>?
        /// Whether a newer message makes its answer one that nobody will see.
        fileprivate var isSupersedable: Bool
        /// Whether its call was aborted for that.
        fileprivate var isOutdated = false
        /// Whether it has ended, and its lock is taken down.
        fileprivate(set) var isReleased = false

        fileprivate init(_ work: JobWork, isSupersedable: Bool) {
            self.work = work
            self.isSupersedable = isSupersedable
        }
    }

    private var entries: [JobWork.Turn: Entry] = [:]

    var count: Int { entries.count }
    /// How many there are of each tenant.
    var byTenant: [UUID: Int] {
        entries.values.reduce(into: [:]) { $0[$1.work.tenantID, default: 0] += 1 }
    }
    var all: [Entry] { Array(entries.values) }

    /// Works on a job until `perform` returns.
    func begin(
        _ work: JobWork,
        isSupersedable: Bool,
        _ perform: @escaping @LoopActor () async -> Void
    ) {
        entries[work.turn] = Entry(work, isSupersedable: isSupersedable)
        entries[work.turn]?.task = Task {
            await perform()
            entries[work.turn] = nil
        }
    }

    func isOutdated(_ work: JobWork) -> Bool { entries[work.turn]?.isOutdated ?? false }

    /// Its lock is taken down: who keeps locks must not show it again.
    func willRelease(_ work: JobWork) { entries[work.turn]?.isReleased = true }

    /// Aborts the provider's call of a job that has ended otherwise.
    func abort(_ job: UUID) {
        for turn in turns(of: job) {
            entries[turn]?.isReleased = true
            abort(turn)
        }
    }

    func abort(_ turn: JobWork.Turn) { entries[turn]?.task?.cancel() }

    /// A newer message is there: the provider need not go on with an answer that nobody will see.
    func newerMessage(than job: UUID) {
        for turn in turns(of: job) { newerMessage(than: turn) }
    }

    func newerMessage(than turn: JobWork.Turn) {
        guard entries[turn]?.isSupersedable == true else { return }
        entries[turn]?.isSupersedable = false
        entries[turn]?.isOutdated = true
        abort(turn)
    }

    /// Aborts every call, and waits until nobody works any more.
    func stop() async {
        for entry in Array(entries.values) {
            entry.task?.cancel()
            await entry.task?.value
        }
    }

    private func turns(of job: UUID) -> [JobWork.Turn] { entries.keys.filter { $0.job == job } }
}
