internal import EventLoop
internal import RedisClient

extension Worker {
    /// How much longer than the server an idle worker waits for the answer.
    private static let answerSlack: Duration = .seconds(1)

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
        case .handOn: await wakeAnother()
        }
    }

    /// Passes on a wake-up that this worker has no use for.
    func wakeAnother() async {
        do throws(JobQueueError) { try await queue.wakeWorker() } catch {
            observer(.trouble(error))
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
