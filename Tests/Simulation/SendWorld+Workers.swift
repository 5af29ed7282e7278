import EventLoop
import Foundation

@testable import dispatch_worker

extension SendWorld {
    /// A worker performs the step that its attempt asks for, or takes a job.
    mutating func work(_ index: Int) throws {
        guard var worker = workers[index] else {
            if let generation = take(tokens + 1) { begin(index, generation) }
            return
        }
        guard worker.pausedUntil <= now else { return }
        if !isHealing, chance(1, 40) { return workers[index] = nil }
        holdJob(of: worker)
        guard let fact = try perform(&worker) else { return workers[index] = worker }
        // After the effect, before its answer is acted upon.
        if !isHealing, chance(1, 40) { return workers[index] = nil }
        worker.note(fact)
        worker.step = worker.attempt.follow(fact)
        worker.askedAt = max(now, worker.pausedUntil)
        if !isHealing, chance(1, 30) { worker.pausedUntil = now + below(150_000) }
        guard case .end = worker.step else { return workers[index] = worker }
        workers[index] = nil
        // It may die before the queue hears of it.
        if isHealing || !chance(1, 20) { endJob(of: worker) }
    }

    private mutating func begin(_ index: Int, _ generation: Int) {
        tokens += 1
        let limit: Duration = mutant == .noStartLimit ? .seconds(1_000_000) : SendAttempt.startLimit
        let attempt = SendAttempt(startLimit: limit)
        workers[index] = Worker(
            attempt: attempt,
            step: attempt.first,
            generation: generation,
            token: tokens,
            askedAt: now
        )
    }

    /// Nil while the step has no answer yet.
    private mutating func perform(_ worker: inout Worker) throws -> SendAttempt.Fact? {
        if case .post = worker.step { return post(&worker) }
        let isLostBefore = !isHealing && chance(1, 25)
        if isLostBefore { return .broken }
        let fact = try effect(&worker)
        if !isHealing && chance(1, 25) { return .broken }
        return fact
    }

    private mutating func effect(_ worker: inout Worker) throws -> SendAttempt.Fact {
        switch worker.step {
        case .claim: return claim(worker.token)
        case .begin:
            // The commit may come some time after it was asked for.
            if !isHealing, chance(1, 10) { now += below(3_000) }
            let isBegun = row.begin(
                generation: worker.generation,
                token: worker.token,
                lease: SendWorld.lease,
                now: now
            )
            // A process that stands still here learns late that it may send.
            let stoodStill = !isHealing && chance(1, 12) ? below(150_000) : 0
            worker.pausedUntil = now + stoodStill
            let elapsed = Duration.milliseconds(now - worker.askedAt + stoodStill)
            return isBegun
                ? .begun(attempts: row.attempts, elapsed: elapsed)
                : .notOurs(later: later(worker.generation))
        case .record(let plan): return .recorded(record(plan, worker.token))
        case .unlock:
            try release(worker.token)
            return .done
        case .postpone(let wait):
            let wait = max(1, Int(wait.milliseconds))
            row.postpone(generation: worker.generation, wait: wait, now: now)
            return .done
        case .post, .end: return .done
        }
    }

    /// When `dispatch.begin_send` says that asking again makes sense.
    private func later(_ generation: Int) -> Duration? {
        guard row.generation == generation, !row.cancelRequested else { return nil }
        if row.status == .sending { return .seconds(1) }
        guard SendRow.waiting.contains(row.status), row.nextAttemptAt > now else { return nil }
        return .milliseconds(row.nextAttemptAt - now)
    }

    private mutating func claim(_ token: Int) -> SendAttempt.Fact {
        if let held = lock {
            let age = now - held.since
            guard age >= SendWorld.lease else {
                let wait = min(SendWorld.lease - age, 5_000)
                return .notNow(.milliseconds(wait), holdsLock: false)
            }
        }
        // No slot: neither is the lock taken.
        if chance(1, 8) { return .notNow(.milliseconds(1 + below(5_000)), holdsLock: false) }
        lock = (token, now + SendWorld.lockTTL, now)
        // The workspace rests.
        if chance(1, 8) { return .notNow(.milliseconds(1 + below(5_000)), holdsLock: true) }
        return .claimed
    }

    private mutating func release(_ token: Int) throws {
        guard let held = lock else { return }
        if held.owner == token { return lock = nil }
        if mutant == .plainDelete {
            lock = nil
            throw Violation(description: "a foreign lock was freed")
        }
    }

    private mutating func record(_ plan: SendPlan, _ token: Int) -> String? {
        var status = plan.ending.status
        if mutant == .blindRetry, status == "unknown" { status = "retry_wait" }
        guard let wanted = SendRow.Status(rawValue: status) else { return nil }
        let before = row.status
        let recorded = row.finish(
            token: token,
            wanted,
            ts: plan.ending.providerTS.flatMap { Int($0) },
            wait: Int((plan.ending.wait ?? .zero).milliseconds),
            counts: plan.ending.counts,
            now: now
        )
        if recorded == .unknown, before != .unknown { setTimer() }
        return recorded?.rawValue
    }

    // MARK: The provider

    /// The first byte leaves now; what comes of it is decided here and shows later.
    private mutating func post(_ worker: inout Worker) -> SendAttempt.Fact? {
        if let answer = worker.answer {
            if answer.at > now { return nil }
            if row.token == worker.token { row.isPosted = true }
            return posted(answer.1)
        }
        // The client's own deadline holds before its first byte as well.
        if now - worker.askedAt > SendWorld.clientDeadline {
            return posted(SendReport(outcome: .retry(reason: "client_deadline")))
        }
        let arrival = now + below(SendWorld.networkMax)
        let (isTaken, report) = exchange(takenAs: 1 + deliveries.count)
        if isTaken {
            flights.append(
                Flight(generation: worker.generation, arrivesAt: arrival, isTaken: true)
            )
        }
        switch report.outcome {
        case .rateLimited, .workspaceRefused: break
        default: spent += 1
        }
        // A connection may break while its request is still under way.
        var end = arrival + below(2_000)
        if case .unknown = report.outcome { end = now + below(8_000) }
        worker.answer = (end, report)
        return nil
    }

    private mutating func exchange(takenAs ts: Int) -> (Bool, SendReport) {
        let sent = SendReport(outcome: .sent(providerTS: String(ts)))
        if isHealing { return (true, sent) }
        switch below(12) {
        case 0...3: return (true, sent)
        case 4...5: return (true, SendReport(outcome: .unknown(reason: "reset")))
        case 6...7: return (false, SendReport(outcome: .unknown(reason: "reset")))
        case 8: return (false, SendReport(outcome: .retry(reason: "refused")))
        case 9:
            let limit = SendOutcome.rateLimited(wait: .seconds(1 + below(20)), reason: "limited")
            return (false, SendReport(outcome: limit))
        case 10: return (false, SendReport(outcome: .workspaceRefused(reason: "revoked")))
        default:
            let isFinal = chance(1, 4)
            let outcome = SendOutcome.failed(reason: "no_text")
            return (false, SendReport(outcome: isFinal ? outcome : .retry(reason: "dns")))
        }
    }

    private mutating func posted(_ report: SendReport) -> SendAttempt.Fact {
        .posted(report, took: .milliseconds(5), random: Double(below(1_000)) / 1_000)
    }

    // MARK: Looks at the provider's history

    /// A due timer looks, or a look's decision is written.
    mutating func verify() throws {
        if let index = looks.firstIndex(where: { $0.pausedUntil <= now }) {
            return decide(looks.remove(at: index))
        }
        guard let index = timers.firstIndex(where: { $0.dueAt <= now }) else { return }
        var timer = timers.remove(at: index)
        timer.looks += 1
        guard row.status == .unknown, row.generation == timer.generation,
            let since = row.unknownSince
        else { return }
        if !isHealing, chance(1, 6) {
            timer.dueAt = now + 2_000
            return timers.append(timer)
        }
        let seen = deliveries.first {
            $0.generation == row.generation && $0.visibleAt <= now
        }
        let isSecond = timer.isSecond && now - since >= Int(UnknownVerifier.settledMilliseconds)
        let standsStill = !isHealing && chance(1, 2) ? below(120_000) : 0
        // The timer's lease runs out meanwhile, and another process looks.
        if standsStill > 30_000 {
            timer.dueAt = now + 30_000
            timers.append(timer)
        }
        looks.append(
            Look(
                generation: row.generation,
                fence: row.token,
                finding: seen.map { .found(providerTS: String($0.ts)) } ?? .absent,
                isSecond: isSecond || mutant == .oneLook,
                pausedUntil: now + standsStill
            )
        )
    }

    private mutating func decide(_ look: Look) {
        switch UnknownDecision.after(look.finding, isSecond: look.isSecond, unknownFor: .zero) {
        case .sent(let ts):
            settle(look, .sent, ts: Int(ts))
        case .sendAgain:
            settle(look, .retryWait, ts: nil)
        case .lookAgain:
            let pause = Int(UnknownVerifier.pauseMilliseconds)
            timers.append(
                Timer(generation: look.generation, isSecond: true, dueAt: now + pause)
            )
        case .later, .park, .leave: break
        }
    }

    private mutating func settle(_ look: Look, _ status: SendRow.Status, ts: Int?) {
        let isSettled = row.settle(
            generation: look.generation,
            fence: look.fence,
            status,
            ts: ts,
            now: now
        )
        if isSettled { lock = nil }
    }
}
