internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import PostgresClient
internal import Telemetry
internal import Tracing

/// Sends one message request: lock, slot, the one commit, the provider, the record.
///
/// Between any two of its steps the process may die: before the commit nothing was sent, after it
/// the lease runs out and the request is looked for at the provider.
@LoopActor
final class SendMessageProcessor {
    /// Parts of a lease: after one of the first it is renewed while the provider is being talked to,
    /// after one of the second an attempt no longer begins to send.
    nonisolated static let renewalsPerLease = 4
    nonisolated static let startsPerLease = 3
    /// How often and after what pause the record of an attempt is tried again.
    static let recordAttempts = 8
    static let recordPause: Duration = .milliseconds(500)
    /// How long a job is kept whose request neither Redis nor PostgreSQL has, and how often it is
    /// looked for meanwhile.
    static let nowhereLimit: Duration = .seconds(60)
    static let nowhereWait: Duration = .seconds(2)

    let repository: SendRepository
    let resolver: MessageResolver
    private let idempotency: DispatchIdempotencyService
    let slots: SendSlots
    let breakers: WorkspaceBreakers
    let transports: [Provider: any ChannelTransport]
    let metrics: SendMetrics
    let logger: Logger

    init(_ parts: SendParts) {
        repository = parts.repository
        resolver = parts.resolver
        idempotency = parts.idempotency
        slots = parts.slots
        breakers = parts.breakers
        transports = parts.transports
        metrics = parts.metrics
        logger = parts.logger
    }

    /// Does what can be done for a job now.
    ///
    /// - Parameters:
    ///   - generation: that of the job; nil for the one that the request has now.
    ///   - age: how long ago the job was made.
    func process(
        _ tenantID: UUID,
        _ job: SendMessageJob,
        generation: Int?,
        age: Duration
    ) async throws -> JobProcessingResult {
        let began = MonotonicTime.now()
        try await FaultPoints.reached("dispatch.claimed")
        let resolution = try await resolver.resolveMessageRequestData(
            tenantID,
            job,
            generation: generation
        )
        try await FaultPoints.reached("dispatch.resolved")
        switch resolution {
        case .message(let message):
            // Whose trace it is part of stands in the request, so its first step is over by then.
            return try await withSpan("dispatch", .consumer, below: message.trace, began: began) {
                Span.past("dispatch.resolve", since: began)
                return try await send(message)
            }
        case .notYet(let reference, let wait, .early):
            return result(reference, "waiting", retryIn: wait)
        case .notYet(let reference, let wait, .thread):
            return try await postpone(reference, by: wait, nil)
        case .notYet(let reference, let wait, .channel):
            return try await postpone(reference, by: wait, "channel_not_configured")
        case .settled(let reference, let status):
            var result = result(reference, status)
            result.isSkipped = true
            return result
        case .nowhere: return nowhere(job, age)
        }
    }

    /// It may be on its way into a database that lags; after a minute it is not.
    private func nowhere(_ job: SendMessageJob, _ age: Duration) -> JobProcessingResult {
        var result = JobProcessingResult(
            status: "nowhere",
            messageRequestID: job.messageRequestID,
            error: "message_request_not_found"
        )
        if age < SendMessageProcessor.nowhereLimit {
            result.retryIn = SendMessageProcessor.nowhereWait
        } else {
            result.isSkipped = true
            logger.error(
                "a job's request is nowhere",
                metadata: [
                    "tenant": "\(job.tenant)",
                    "message_request_id": "\(job.messageRequestID.text)",
                ]
            )
        }
        return result
    }

    private func send(_ message: ResolvedMessage) async throws -> JobProcessingResult {
        if let (wait, reason) = SendMessageProcessor.rest(message) {
            return try await postpone(
                message.job,
                by: wait,
                reason,
                kind: message.channel.pause == nil ? nil : .pause
            )
        }
        let token: Secret?
        do {
            token = try resolver.token(of: message)
        } catch {
            logger.error(
                "a token does not open",
                metadata: fields(message.job, ["error": "\(error)"])
            )
            return try await postpone(
                message.job,
                by: MessageResolver.configurationWait,
                "token_does_not_open"
            )
        }
        return try await sendOnce(message, token)
    }

    /// What a pause or the quiet hours of its channel make of a message.
    static func rest(_ message: ResolvedMessage) -> (wait: Duration, reason: String)? {
        if let pause = message.channel.pause { return (SendPlan.pausedWait, pause) }
        guard let quiet = message.channel.quiet, message.content.priority > 0 else { return nil }
        return (quiet, "quiet_hours")
    }

    /// Performs what the attempt asks for, step by step, until it has ended.
    private func sendOnce(
        _ message: ResolvedMessage,
        _ token: Secret?
    ) async throws -> JobProcessingResult {
        var run = Run(
            message: message,
            token: token,
            attempt: UUID(),
            result: result(message.job, "waiting")
        )
        run.result.isOfThread = message.hasThread
        var attempt = SendAttempt(
            startLimit: repository.lease / SendMessageProcessor.startsPerLease
        )
        var step = attempt.first
        do {
            while true {
                if case .end = step { break }
                let began = MonotonicTime.now()
                let fact = await perform(step, &run)
                if let name = step.spanName { Span.past(name, since: began) }
                try await SendMessageProcessor.passed(step, run)
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
        var result: JobProcessingResult
        var report = SendReport(outcome: .unknown(reason: "not_posted"))
        var postponement: SendRepository.Postponement?
        /// Why the attempt could not go on, unless it is only that Redis is away.
        var error: (any Error)?

        /// Takes over what was recorded; `status` nil when somebody else has the request by now.
        mutating func note(_ plan: SendPlan, _ status: String?) {
            result.status = status ?? "superseded"
            result.providerTS = plan.ending.providerTS
            result.error = plan.ending.error
            result.isSkipped = status == nil
            if status == "retry_wait" { result.retryIn = plan.ending.wait }
        }
    }

    private func perform(_ step: SendAttempt.Step, _ run: inout Run) async -> SendAttempt.Fact {
        let job = run.message.job
        do {
            switch step {
            case .lock:
                return .lock(try await idempotency.acquireSendLock(job, token: run.attempt))
            case .reserve:
                return .slot(in: try await reserve(&run))
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
                return .recorded(status)
            case .unlock:
                await idempotency.releaseSendLock(job, token: run.attempt)
                return .done
            case .postpone(let wait):
                run.result = try await postpone(job, by: wait, nil, kind: run.postponement)
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

    private func result(
        _ reference: MessageReference,
        _ status: String,
        retryIn: Duration? = nil
    ) -> JobProcessingResult {
        JobProcessingResult(
            status: status,
            messageRequestID: reference.messageRequestID,
            retryIn: retryIn
        )
    }

    /// How long the provider's slot is still taken; zero when it is ours.
    private func reserve(_ run: inout Run) async throws -> Duration {
        switch try await slots.reserve(run.message) {
        case .ours: return breakers.admit(run.message)
        case .later(let wait):
            run.postponement = .slot
            return wait
        case .crowded:
            run.postponement = .parked
            return SendRepository.parkedWait
        }
    }

    private func begin(_ run: inout Run) async throws -> SendAttempt.Fact {
        let asked = MonotonicTime.now()
        let beginning = try await repository.begin(run.message.job, token: run.attempt)
        run.result.status = beginning.status
        guard beginning.hasBegun else {
            run.result.isSkipped = true
            logger.debug(
                "not ours to send",
                metadata: fields(run.message.job, ["state": "\(beginning.status)"])
            )
            return .notOurs(later: beginning.wait)
        }
        run.message.content.threadTS = beginning.threadTS
        return .begun(attempts: beginning.attempts, elapsed: MonotonicTime.now() - asked)
    }

    /// The places between the steps at which a test lets the process die.
    private static func passed(_ step: SendAttempt.Step, _ run: Run) async throws {
        switch step {
        case .lock: try await FaultPoints.reached("dispatch.locked")
        case .reserve: try await FaultPoints.reached("dispatch.slot_reserved")
        case .begin: try await FaultPoints.reached("dispatch.begun")
        case .post: try await FaultPoints.reached("dispatch.answered")
        case .record: try await FaultPoints.reached("dispatch.recorded")
        case .unlock: try await FaultPoints.reached("dispatch.released")
        case .postpone, .end: break
        }
    }

    private func postpone(
        _ job: MessageReference,
        by wait: Duration,
        _ reason: String?,
        kind: SendRepository.Postponement? = nil
    ) async throws -> JobProcessingResult {
        let wait = try await repository.postpone(
            job,
            by: wait,
            reason: reason,
            kind: kind
        )
        var result = result(job, "waiting", retryIn: wait)
        result.error = reason
        return result
    }

    func fields(_ job: MessageReference, _ more: Logger.Metadata) -> Logger.Metadata {
        more.merging([
            "tenant": "\(job.tenant)",
            "message_request_id": "\(job.messageRequestID.text)",
        ]) { own, _ in own }
    }
}
