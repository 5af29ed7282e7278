internal import EventLoop

extension Worker {
    /// Pauses between attempts while Redis is away.
    static let retryPause: Duration = .milliseconds(200)

    /// One of the loops that carry outcomes to Redis and bring jobs.
    func exchange(_ latch: Latch) async {
        while !Task.isCancelled {
            let now = WallClock.milliseconds()
            let batch = bench.takeOutcomes(Worker.batchMax)
            let wanted = min(
                state.wanted(now: now, isForOutcomes: !batch.isEmpty),
                Worker.batchMax
            )
            if batch.isEmpty && wanted == 0 {
                await latch.wait()
                continue
            }
            state.asked(for: wanted)
            do throws(JobQueueError) {
                let (jobs, answer) = try await bench.exchange(batch, taking: wanted, of: queue)
                begin(jobs, answer, wanted)
            } catch {
                state.failed(of: wanted)
                do { try await EventLoop.shared.sleep(for: Worker.retryPause) } catch { return }
            }
        }
    }

    private func begin(_ jobs: [ActiveJob], _ answer: WorkerStateMachine.Answer, _ wanted: Int) {
        let now = WallClock.milliseconds()
        state.answered(answer, jobs: jobs.count, of: wanted, now: now)
        for job in jobs { bench.begin(job) }
        if let left = state.limitLeft(now: now) {
            EventLoop.shared.schedule(after: .milliseconds(left)) { [weak self] in self?.flush() }
        }
        sleepLatch.ring()
    }
}
