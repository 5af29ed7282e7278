internal import EventLoop
internal import RedisClient

extension Workbench {
    // MARK: Locks

    /// Renews the locks of all jobs in hand, until their outcomes are recorded.
    func renewLocks() async {
        let interval = configuration.lock / 4
        while !Task.isCancelled {
            do { try await EventLoop.shared.sleep(for: interval) } catch { return }
            let now = MonotonicTime.now()
            let due = held.values.filter { now - $0.renewed >= interval }
            for (_, entries) in Dictionary(grouping: due, by: { $0.active.queue.keys.base }) {
                await renew(entries.map(\.active), at: now)
            }
        }
    }

    private func renew(_ jobs: [ActiveJob], at time: MonotonicTime) async {
        guard let queue = jobs.first?.queue else { return }
        var arguments: [RedisArgument] = [.int(configuration.lock.milliseconds)]
        for active in jobs { arguments += [.string(active.job.id), .string(active.token)] }
        do throws(JobQueueError) {
            let lost = try await queue.run(LockScripts.extend, arguments).array ?? []
            let ids = Set(lost.compactMap(\.text))
            for active in jobs {
                if ids.contains(active.job.id) {
                    // Another worker may be running it: this one need not go on.
                    active.isLost = true
                    held[active.token]?.task?.cancel()
                } else {
                    held[active.token]?.renewed = time
                }
            }
        } catch {
            observer(.trouble(error))
        }
    }

    // MARK: Cancelling

    /// How often jobs that run for as long are looked up.
    private static let cancellationInterval: Duration = .seconds(1)

    /// Stops jobs that somebody has cancelled.
    func watchCancellations() async {
        while !Task.isCancelled {
            let interval = Workbench.cancellationInterval
            do { try await EventLoop.shared.sleep(for: interval) } catch { return }
            let now = MonotonicTime.now()
            let running = held.values.filter {
                $0.task != nil && $0.cancellation == nil && now - $0.begun >= interval
            }
            for (_, entries) in Dictionary(grouping: running, by: { $0.active.queue.keys.base }) {
                await stopCancelled(entries.map(\.active))
            }
        }
    }

    private func stopCancelled(_ jobs: [ActiveJob]) async {
        guard let queue = jobs.first?.queue else { return }
        do throws(JobQueueError) {
            let wishes = try await queue.cancellations(of: jobs.map(\.job.id))
            for (active, words) in zip(jobs, wishes) {
                guard let words else { continue }
                held[active.token]?.cancellation = words
                held[active.token]?.task?.cancel()
            }
        } catch {
            observer(.trouble(error))
        }
    }
}
