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
    /// How often a lease is renewed while the provider is being talked to.
    static let renewInterval: Duration = .seconds(15)
    /// How often and after what pause the record of an attempt is tried again.
    static let recordAttempts = 8
    static let recordPause: Duration = .milliseconds(500)
    /// How long a message rests while Redis, a channel or a token is missing.
    static let coordinationWait: Duration = .seconds(1)
    static let configurationWait: Duration = .seconds(30)

    private let repository: SendRepository
    private let resolver: MessageResolver
    private let idempotency: DispatchIdempotencyService
    private let slots: SendSlots
    private let transports: [Provider: any ChannelTransport]
    private let metrics: SendMetrics
    private let logger: Logger

    init(_ parts: SendParts) {
        repository = parts.repository
        resolver = parts.resolver
        idempotency = parts.idempotency
        slots = parts.slots
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
        if let reason = message.channel.pausedReason {
            return try await postpone(job, by: SendPlan.pausedWait, "workspace_paused: \(reason)")
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
        do {
            try await sendOnce(message, token)
        } catch let error as CoordinationError {
            // Without its lock and its slot nothing is sent: the request stays queued.
            Degradation.note("dispatch_\(error.operation)")
            try await postpone(job, by: SendMessageProcessor.coordinationWait, nil)
        }
    }

    private func sendOnce(_ message: ResolvedMessage, _ token: Secret?) async throws {
        let job = message.job
        let attempt = UUID()
        if case .held(let wait) = try await idempotency.acquireSendLock(job, token: attempt) {
            return try await postpone(job, by: wait, nil)
        }
        try await FaultPoints.reached("dispatch.locked")
        var isReleased = true
        do {
            let wait = try await slots.reserve(message)
            try await FaultPoints.reached("dispatch.slot_reserved")
            if wait > .zero {
                try await postpone(job, by: wait, nil)
            } else {
                isReleased = try await attemptSend(message, token, attempt)
            }
        } catch {
            // Before the commit nothing was sent; after it the lease decides, not this lock.
            await idempotency.releaseSendLock(job, token: attempt)
            throw error
        }
        if isReleased { await idempotency.releaseSendLock(job, token: attempt) }
        try await FaultPoints.reached("dispatch.released")
    }

    /// Returns whether the lock may go.
    private func attemptSend(
        _ message: ResolvedMessage,
        _ token: Secret?,
        _ attempt: UUID
    ) async throws -> Bool {
        let job = message.job
        let beginning = try await repository.begin(job, token: attempt)
        guard beginning.hasBegun else {
            logger.debug(
                "not ours to send",
                metadata: fields(job, ["state": "\(beginning.status)"])
            )
            return true
        }
        try await FaultPoints.reached("dispatch.begun")
        let began = MonotonicTime.now()
        let report = await send(message, token, attempt)
        try await FaultPoints.reached("dispatch.answered")
        let plan = SendPlan(
            report,
            attempt: beginning.attempts,
            random: Double.random(in: 0..<1),
            took: MonotonicTime.now() - began
        )
        try await follow(plan, message, attempt, report)
        return !plan.keepsLock
    }

    private func follow(
        _ plan: SendPlan,
        _ message: ResolvedMessage,
        _ attempt: UUID,
        _ report: SendReport
    ) async throws {
        let job = message.job
        if let block = plan.block {
            do {
                try await slots.block(message, for: block)
            } catch {
                Degradation.note("dispatch_\(error.operation)")
            }
        }
        if let reason = plan.pauseReason {
            try await repository.pause(
                job,
                workspace: message.channel.workspaceCode,
                reason: reason
            )
        }
        let status = try await record(plan.ending, job, attempt)
        try await FaultPoints.reached("dispatch.recorded")
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
            try? await EventLoop.shared.sleep(for: SendMessageProcessor.renewInterval)
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
    let transports: [Provider: any ChannelTransport]
    let metrics: SendMetrics
    let logger: Logger
}
