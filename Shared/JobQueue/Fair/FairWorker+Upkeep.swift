internal import EventLoop
internal import RedisClient

extension FairWorker {
    /// How many queues the sweep looks at in one go.
    private static let sweepMax = 500
    private static let answerSlack: Duration = .seconds(1)

    // MARK: Sleeping

    /// Waits for the ring's marker while no tenant is to be served.
    func sleepUntilWoken() async {
        while !Task.isCancelled && !isStopping {
            guard free > 0, !mustLook, schedule.readyCount == 0 else {
                await sleepLatch.wait()
                continue
            }
            let now = WallClock.milliseconds()
            let drain = configuration.drainDelay.milliseconds
            let limit = min(drain, max(1, (nextDue ?? .max) - now))
            do throws(RedisError) {
                let fraction = String(1000 + limit % 1000).dropFirst()
                let reply = try await blocking.send(
                    [
                        "BZPOPMIN", .string(queues.ring.key + ":marker"),
                        "\(limit / 1000).\(String(fraction))",
                    ],
                    within: .milliseconds(limit) + FairWorker.answerSlack
                )
                await woken(reply)
            } catch {
                if isStopping { return }
                observer(.trouble(JobQueueError(error)))
                do { try await EventLoop.shared.sleep(for: FairWorker.retryPause) } catch { return }
            }
        }
    }

    private func woken(_ reply: RedisValue) async {
        let score = reply.array?.last?.text.flatMap { Double($0) }
        let due = score.map { Score.due(ofMarker: $0) } ?? 0
        if due > WallClock.milliseconds() {
            nextDue = min(nextDue ?? due, due)
            return
        }
        mustLook = true
        if free == 0, score != nil {
            // Woken without a free place: another worker may have one.
            do throws(JobQueueError) {
                try await queues.ring.wakeAnother()
            } catch {
                observer(.trouble(error))
            }
        }
        flush()
    }

    // MARK: Sweeping

    /// Finds queues with work that nobody rang for, and jobs of dead workers.
    func sweep() async {
        while !Task.isCancelled {
            var rest = await tenants()[...]
            while !rest.isEmpty && !Task.isCancelled {
                do throws(JobQueueError) {
                    try await sweep(Array(rest.prefix(FairWorker.sweepMax)))
                } catch {
                    observer(.trouble(error))
                    break
                }
                rest = rest.dropFirst(FairWorker.sweepMax)
                // Others' commands get their turn between two parts.
                do { try await EventLoop.shared.sleep(for: .milliseconds(10)) } catch { return }
            }
            let pause = min(configuration.drainDelay, configuration.stalledInterval)
            do { try await EventLoop.shared.sleep(for: pause) } catch { return }
        }
    }

    private func sweep(_ tenants: [String]) async throws(JobQueueError) {
        var found: [(tenant: String, queue: Queue)] = []
        for tenant in tenants { found.append((tenant, try queues.queue(of: tenant))) }
        guard let first = found.first?.queue else { return }
        let answers = try await first.pipeline(
            found.flatMap { entry -> [[RedisArgument]] in
                let keys = entry.queue.keys
                return [
                    ["EXISTS", .string(keys.key("wait")), .string(keys.key("prioritized"))],
                    ["ZRANGE", .string(keys.key("delayed")), "0", "0", "WITHSCORES"],
                    ["EXISTS", .string(keys.key("active"))],
                ]
            }
        )
        var ready: [String] = []
        for (place, entry) in found.enumerated() {
            let (waiting, delayed) = (answers[place * 3], answers[place * 3 + 1])
            if waiting.integer ?? 0 > 0 {
                ready.append(entry.tenant)
            } else if let score = delayed.array?.last?.text.flatMap({ Double($0) }) {
                try await queues.ring.ring([entry.tenant], due: Score.due(ofDelayed: score))
            }
            if answers[place * 3 + 2].integer == 1 { try await recover(entry.queue) }
        }
        try await queues.ring.ring(ready)
    }

    private func recover(_ queue: Queue) async throws(JobQueueError) {
        let ids = try await queue.recoverStalled(
            interval: configuration.stalledInterval,
            lossesMax: configuration.stalledMax
        )
        if !ids.isEmpty { observer(.recovered(ids)) }
    }
}

extension TenantRing {
    /// Sets the marker for another sleeper.
    func wakeAnother() async throws(JobQueueError) {
        do { _ = try await redis.send(["ZADD", .string(key + ":marker"), "0", "0"]) } catch {
            throw JobQueueError(error)
        }
    }
}
