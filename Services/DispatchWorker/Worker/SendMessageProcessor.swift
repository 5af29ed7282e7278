internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import PostgresClient
internal import Telemetry

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
    /// How long a message rests while a channel or a token is missing.
    static let configurationWait: Duration = .seconds(30)

    private let repository: SendRepository
    private let resolver: MessageResolver
    private let idempotency: DispatchIdempotencyService
    private let slots: SendSlots
    private let breakers: WorkspaceBreakers
    private let transports: [Provider: any ChannelTransport]
    private let metrics: SendMetrics
    private let logger: Logger

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

    /// Does what can be done for a due request now.
    func process(_ job: SendMessageJob) async throws {
        try await FaultPoints.reached("dispatch.claimed")
        guard let message = try await resolver.resolveMessageRequestData(job) else {
            return try await postpone(
                job,
                by: SendMessageProcessor.configurationWait,
                "channel_not_configured"
            )
        }
        try await FaultPoints.reached("dispatch.resolved")
        if let (wait, reason) = SendMessageProcessor.rest(message) {
            return try await postpone(job, by: wait, reason)
        }
        let token: Secret?
        do {
            token = try resolver.token(of: message)
        } catch {
            logger.error("a token does not open", metadata: fields(job, ["error": "\(error)"]))
            return try await postpone(
                job,
                by: SendMessageProcessor.configurationWait,
                "token_does_not_open"
            )
        }
        try await sendOnce(message, token)
    }

    /// What a pause or the quiet hours of its channel make of a message.
    static func rest(_ message: ResolvedMessage) -> (wait: Duration, reason: String)? {
        if let pause = message.channel.pause { return (SendPlan.pausedWait, pause) }
        guard let quiet = message.channel.quiet, message.content.priority > 0 else { return nil }
        return (quiet, "quiet_hours")
    }

    /// Performs what the attempt asks for, step by step, until it has ended.
    private func sendOnce(_ message: ResolvedMessage, _ token: Secret?) async throws {
        var run = Run(message: message, token: token, attempt: UUID())
        var attempt = SendAttempt(
            startLimit: repository.lease / SendMessageProcessor.startsPerLease
        )
        var step = attempt.first
        do {
            while true {
                if case .end = step { break }
                let fact = await perform(step, &run)
                try await SendMessageProcessor.passed(step, run)
                step = attempt.follow(fact)
            }
        } catch {
            // Before the commit nothing was sent; after it the lease decides, not this lock.
            await idempotency.releaseSendLock(message.job, token: run.attempt)
            throw error
        }
        if let error = run.error { throw error }
    }

    /// What an attempt needs on its way.
    private struct Run {
        var message: ResolvedMessage
        let token: Secret?
        let attempt: UUID
        var report = SendReport(outcome: .unknown(reason: "not_posted"))
        /// Why the attempt could not go on, unless it is only that Redis is away.
        var error: (any Error)?
    }

    private func perform(_ step: SendAttempt.Step, _ run: inout Run) async -> SendAttempt.Fact {
        let job = run.message.job
        do {
            switch step {
            case .lock:
                return .lock(try await idempotency.acquireSendLock(job, token: run.attempt))
            case .reserve:
                let wait = try await slots.reserve(run.message)
                guard wait == .zero else { return .slot(in: wait) }
                return .slot(in: breakers.admit(run.message))
            case .begin: return try await begin(&run)
            case .post:
                let began = MonotonicTime.now()
                run.report = await send(run.message, run.token, run.attempt)
                breakers.note(run.report, run.message)
                return .posted(
                    run.report,
                    took: MonotonicTime.now() - began,
                    random: Double.random(in: 0..<1)
                )
            case .record(let plan):
                return .recorded(try await follow(plan, run.message, run.attempt, run.report))
            case .unlock:
                await idempotency.releaseSendLock(job, token: run.attempt)
                return .done
            case .postpone(let wait):
                try await postpone(job, by: wait, nil)
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

    private func begin(_ run: inout Run) async throws -> SendAttempt.Fact {
        let asked = MonotonicTime.now()
        let beginning = try await repository.begin(run.message.job, token: run.attempt)
        guard beginning.hasBegun else {
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

    private func follow(
        _ plan: SendPlan,
        _ message: ResolvedMessage,
        _ attempt: UUID,
        _ report: SendReport
    ) async throws -> String? {
        let job = message.job
        if let block = plan.block {
            metrics.limited()
            do {
                try await slots.block(message, for: block)
            } catch {
                Degradation.note("dispatch_\(error.operation)")
            }
        }
        if let reason = plan.pauseReason { try await pause(message, reason) }
        let status = try await record(plan.ending, job, attempt)
        metrics.ended(status ?? "superseded", message.channel.provider, took: plan.ending.took)
        if let status {
            do {
                try await resolver.projection.note(
                    job,
                    status: status,
                    providerTS: plan.ending.providerTS
                )
            } catch {
                Degradation.note("projection")
            }
        }
        logger.log(
            level: report.needsAttention || status == nil ? .error : .info,
            "attempt ended",
            metadata: fields(
                job,
                ["state": "\(status ?? "superseded")", "error": "\(plan.ending.error ?? "")"]
            )
        )
        return status
    }

    private func pause(_ message: ResolvedMessage, _ reason: String) async throws {
        let workspace = message.channel.workspaceCode
        guard try await repository.pause(message.job, workspace: workspace, reason: reason) else {
            return
        }
        metrics.workspaceRefused()
        logger.error(
            "a workspace refuses us: it is paused until it has a token that works",
            metadata: [
                "tenant": "\(message.job.tenant)", "workspace": "\(workspace)",
                "error": "\(reason)",
            ]
        )
    }

    /// Sends under a lease that is renewed; a lease that was lost ends the exchange.
    private func send(
        _ message: ResolvedMessage,
        _ token: Secret?,
        _ attempt: UUID
    ) async -> SendReport {
        guard let transport = transports[message.channel.provider] else {
            return SendReport(outcome: .failed(reason: "no_transport"), needsAttention: true)
        }
        let sending = Task { await transport.send(message, token: token) }
        let renewing = Task { await keepLease(message.job, attempt) { sending.cancel() } }
        let report = await sending.value
        renewing.cancel()
        return report
    }

    private func keepLease(
        _ job: SendMessageJob,
        _ attempt: UUID,
        lost: @LoopActor () -> Void
    ) async {
        while !Task.isCancelled {
            try? await EventLoop.shared.sleep(
                for: repository.lease / SendMessageProcessor.renewalsPerLease
            )
            guard !Task.isCancelled else { return }
            // A database that is away takes nothing from us: only its "no" does.
            guard let isOurs = try? await repository.renew(job, token: attempt), !isOurs else {
                continue
            }
            return lost()
        }
    }

    /// Records the end of an attempt; the token makes repeating it harmless.
    private func record(
        _ ending: SendRepository.Ending,
        _ job: SendMessageJob,
        _ attempt: UUID
    ) async throws -> String? {
        for _ in 1..<SendMessageProcessor.recordAttempts {
            do {
                return try await repository.finish(job, token: attempt, ending)
            } catch let error as PostgresError where error.isUnavailable || error.outcomeUnknown {
                try await EventLoop.shared.sleep(for: SendMessageProcessor.recordPause)
            }
        }
        return try await repository.finish(job, token: attempt, ending)
    }

    private func postpone(
        _ job: SendMessageJob,
        by wait: Duration,
        _ reason: String?
    ) async throws {
        try await repository.postpone(job, by: wait, reason: reason)
    }

    private func fields(_ job: SendMessageJob, _ more: Logger.Metadata) -> Logger.Metadata {
        more.merging([
            "tenant": "\(job.tenant)",
            "message_request_id": "\(job.messageRequestID.text)",
        ]) { own, _ in own }
    }
}

/// What sending is made of.
@LoopActor
struct SendParts {
    let repository: SendRepository
    let resolver: MessageResolver
    let idempotency: DispatchIdempotencyService
    let slots: SendSlots
    let breakers: WorkspaceBreakers
    let transports: [Provider: any ChannelTransport]
    let metrics: SendMetrics
    let logger: Logger
}
