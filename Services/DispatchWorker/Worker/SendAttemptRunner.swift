internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import Logging
internal import Telemetry
internal import Tracing

/// Performs one attempt at sending a message: what ``SendAttempt`` asks for, step by step.
///
/// Between any two of its steps the process may die: before the commit nothing was sent, after it
/// the lease runs out and the request is looked for at the provider.
@LoopActor
final class SendAttemptRunner {
    /// Parts of a lease: after one of the first it is renewed while the provider is being talked to,
    /// after one of the second an attempt no longer begins to send.
    nonisolated static let renewalsPerLease = 4
    nonisolated static let startsPerLease = 3
    /// How often and after what pause the record of an attempt is tried again.
    static let recordAttempts = 8
    static let recordPause: Duration = .milliseconds(500)

    let repository: SendRepository
    let projection: MessageRequestProjection
    let slots: SendSlots
    let transports: [Provider: any ChannelTransport]
    let metrics: SendMetrics
    let logger: Logger
    private let idempotency: DispatchIdempotencyService
    private let breakers: WorkspaceBreakers

    init(_ parts: SendParts) {
        repository = parts.repository
        projection = parts.resolver.projection
        slots = parts.slots
        transports = parts.transports
        metrics = parts.metrics
        logger = parts.logger
        idempotency = parts.idempotency
        breakers = parts.breakers
    }

    /// Sends a message, unless somebody else does or it must wait.
    func send(_ message: ResolvedMessage, _ token: Secret?) async throws -> JobProcessingResult {
        var run = Run(
            message: message,
            token: token,
            attempt: UUID(),
            result: JobProcessingResult(waiting: message.job)
        )
        run.result.isOfThread = message.hasThread
        var attempt = SendAttempt(
            startLimit: repository.lease / SendAttemptRunner.startsPerLease
        )
        var step = attempt.first
        do {
            while true {
                if case .end = step { break }
                let began = MonotonicTime.now()
                let fact = await perform(step, &run)
                if let name = step.spanName { Span.past(name, since: began) }
                try await SendAttemptRunner.passed(step, run)
                step = attempt.follow(fact)
            }
        } catch {
            // Before the commit nothing was sent; after it the lease decides, not this lock.
            await idempotency.releaseSendLock(message.job, token: run.attempt)
            throw error
        }
        if let error = run.error { throw error }
        return run.result
    }

    /// What an attempt needs on its way.
    private struct Run {
        var message: ResolvedMessage
        let token: Secret?
        let attempt: UUID
        /// When its slots were taken.
        var claimed = MonotonicTime.now()
        var result: JobProcessingResult
        var report = SendReport(outcome: .unknown(reason: "not_posted"))
        var postponement: SendRepository.Postponement?
        /// What is still to be shown of what was recorded.
        var news: News?
        /// Why the attempt could not go on, unless it is only that Redis is away.
        var error: (any Error)?

        /// Takes over what was recorded; `status` nil when somebody else has the request by now.
        mutating func note(_ plan: SendPlan, _ status: String?) {
            result.status = status ?? "superseded"
            result.providerTS = plan.ending.providerTS
            result.error = plan.ending.error
            result.isSkipped = status == nil
            news = status.map { News(status: $0, providerTS: plan.ending.providerTS) }
            if status == "retry_wait" { result.retryIn = plan.ending.wait }
        }
    }

    /// What Redis is to show of a request.
    struct News: Sendable {
        let status: String
        let providerTS: String?
    }

    private func perform(_ step: SendAttempt.Step, _ run: inout Run) async -> SendAttempt.Fact {
        let job = run.message.job
        do {
            switch step {
            case .claim: return try await claim(&run)
            case .begin: return try await begin(&run)
            case .post:
                let began = MonotonicTime.now()
                let (message, token, attempt) = (run.message, run.token, run.attempt)
                run.report = await withSpan("dispatch.send", .client) {
                    await exchange(message, token, attempt)
                }
                breakers.note(run.report, run.message)
                return .posted(
                    run.report,
                    took: MonotonicTime.now() - began,
                    random: Double.random(in: 0..<1)
                )
            case .record(let plan):
                let status = try await follow(plan, run.message, run.attempt, run.report)
                run.note(plan, status)
                // What keeps its lock has no other step in which to show what became of it.
                if plan.keepsLock { await show(run.news, of: job) }
                return .recorded(status)
            case .unlock:
                async let shown: Void = show(run.news, of: job)
                await idempotency.releaseSendLock(job, token: run.attempt)
                await shown
                return .done
            case .postpone(let wait):
                let wait = try await repository.postpone(
                    job,
                    by: wait,
                    reason: nil,
                    kind: run.postponement
                )
                run.result = JobProcessingResult(waiting: job, retryIn: wait)
                return .done
            case .end: return .done
            }
        } catch let error as CoordinationError {
            // Without its lock and its slot nothing is sent: the request stays queued.
            Degradation.note("dispatch_\(error.operation)")
            return .broken
        } catch {
            run.error = error
            return .broken
        }
    }

    private func claim(_ run: inout Run) async throws -> SendAttempt.Fact {
        let message = run.message
        let slots = SendSlots.slots(of: message)
        switch try await idempotency.acquireSendLock(message.job, token: run.attempt, slots: slots)
        {
        case .ours:
            run.claimed = .now()
            let wait = breakers.admit(message)
            return wait > .zero ? .notNow(wait, holdsLock: true) : .claimed
        case .held(let wait): return .notNow(wait, holdsLock: false)
        case .noSlot(let place, let wait):
            let wait = self.slots.place(message, slots[place], wait)
            run.postponement = wait == nil ? .parked : .slot
            return .notNow(wait ?? SendRepository.parkedWait, holdsLock: false)
        }
    }

    private func begin(_ run: inout Run) async throws -> SendAttempt.Fact {
        let asked = MonotonicTime.now()
        let beginning = try await repository.begin(run.message, token: run.attempt)
        run.result.status = beginning.status
        guard beginning.hasBegun else {
            run.result.isSkipped = true
            logger.debug(
                "not ours to send",
                metadata: run.message.job.logged(["state": "\(beginning.status)"])
            )
            return .notOurs(later: beginning.wait)
        }
        metrics.began(after: .now() - run.message.due)
        run.message.content.threadTS = beginning.threadTS
        guard await slots.mayPost(run.message, after: .now() - run.claimed) else {
            return .slotGone
        }
        return .begun(attempts: beginning.attempts, elapsed: MonotonicTime.now() - asked)
    }

    /// The places between the steps at which a test lets the process die.
    private static func passed(_ step: SendAttempt.Step, _ run: Run) async throws {
        switch step {
        case .claim: try await FaultPoints.reached("dispatch.slot_reserved")
        case .begin: try await FaultPoints.reached("dispatch.begun")
        case .post: try await FaultPoints.reached("dispatch.answered")
        case .record: try await FaultPoints.reached("dispatch.recorded")
        case .unlock: try await FaultPoints.reached("dispatch.released")
        case .postpone, .end: break
        }
    }
}
