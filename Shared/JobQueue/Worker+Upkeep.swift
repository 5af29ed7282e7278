internal import EventLoop
internal import RedisClient

extension Worker {
    /// How much longer than the server an idle worker waits for the answer.
    private static let answerSlack: Duration = .seconds(1)
    private static let retryPause: Duration = .milliseconds(200)

    // MARK: Sleeping

    /// Waits for markers while there is nothing to do.
    func sleepUntilWoken() async {
        while !Task.isCancelled && !state.isStopping {
            guard case .milliseconds(let limit) = state.sleep(now: WallClock.milliseconds()) else {
                await sleepLatch.wait()
                continue
            }
            do throws(RedisError) {
                let marker = try await marker(within: limit)
                await act(state.woken(marker, now: WallClock.milliseconds()))
            } catch {
                if state.isStopping { return }
                observer(.trouble(JobQueueError(error)))
                do { try await EventLoop.shared.sleep(for: Worker.retryPause) } catch { return }
            }
        }
    }

    private func marker(within limit: Int64) async throws(RedisError) -> WorkerStateMachine.Marker {
        // Seconds, with three places: a comma of some locale would be no number to the server.
        let fraction = String(1000 + limit % 1000).dropFirst()
        let reply = try await blocking.send(
            ["BZPOPMIN", .string(queue.keys.key("marker")), "\(limit / 1000).\(String(fraction))"],
            within: .milliseconds(limit) + Worker.answerSlack
        )
        guard let parts = reply.array, parts.count == 3 else { return .none }
        return .due(Score.due(ofMarker: parts[2].text.flatMap { Double($0) } ?? 0))
    }

    private func act(_ wakening: WorkerStateMachine.Wakening) async {
        switch wakening {
        case .fetch: flush()
        case .wait: break
        case .handOn:
            do throws(JobQueueError) {
                _ = try await queue.send(["ZADD", .string(queue.keys.key("marker")), "0", "0"])
            } catch {
                observer(.trouble(error))
            }
        }
    }

    // MARK: Locks

    /// Renews the locks of all jobs in hand, until their outcomes are recorded.
    func renewLocks() async {
        let interval = configuration.lock / 4
        while !Task.isCancelled {
            do { try await EventLoop.shared.sleep(for: interval) } catch { return }
            let limit = MonotonicTime.now()
            let due = held.filter { limit - $0.value.renewed >= interval }
            guard !due.isEmpty else { continue }
            var arguments: [RedisArgument] = [.int(configuration.lock.milliseconds)]
            for (token, entry) in due {
                arguments += [.string(entry.active.job.id), .string(token)]
            }
            do throws(JobQueueError) {
                let lost = try await queue.run(LockScripts.extend, arguments).array ?? []
                note(lost: Set(lost.compactMap(\.text)), of: Array(due.keys), at: limit)
            } catch {
                observer(.trouble(error))
            }
        }
    }

    private func note(lost: Set<String>, of tokens: [String], at time: MonotonicTime) {
        for token in tokens {
            guard let entry = held[token] else { continue }
            if lost.contains(entry.active.job.id) {
                // Another worker may be running it: this one need not go on.
                entry.active.isLost = true
                entry.task?.cancel()
            } else {
                held[token]?.renewed = time
            }
        }
    }

    // MARK: Jobs of dead workers

    /// Looks for lost jobs at the start and then once an interval.
    func recoverStalled() async {
        while !Task.isCancelled {
            do throws(JobQueueError) {
                let ids = try await queue.recoverStalled(
                    interval: configuration.stalledInterval,
                    lossesMax: configuration.stalledMax
                )
                if !ids.isEmpty { observer(.recovered(ids)) }
            } catch {
                observer(.trouble(error))
            }
            let pause = configuration.stalledInterval
            do { try await EventLoop.shared.sleep(for: pause) } catch { return }
        }
    }
}
