internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import PostgresClient
internal import Telemetry
internal import Tracing

/// What is done between the commit before the first byte and the record of what came of it.
extension SendAttemptRunner {
    func follow(
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
        let status = try await withSpan("dispatch.record") {
            try await record(plan.ending, job, attempt)
        }
        metrics.ended(status ?? "superseded", message.channel.provider, took: plan.ending.took)
        if let attention = report.attention { metrics.needs(attention) }
        logger.log(
            level: report.attention != nil || status == nil ? .error : .info,
            "attempt ended",
            metadata: job.logged([
                "state": "\(status ?? "superseded")", "error": "\(plan.ending.error ?? "")",
            ])
        )
        return status
    }

    /// Shows what was recorded of a request; nil when nothing was.
    func show(_ news: News?, of job: MessageReference) async {
        guard let news else { return }
        do {
            try await withSpan("dispatch.report") {
                try await projection.note(job, status: news.status, providerTS: news.providerTS)
            }
        } catch {
            Degradation.note("projection")
        }
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

    /// Talks to the provider under a lease that is renewed; a lease that was lost ends the exchange.
    func exchange(
        _ message: ResolvedMessage,
        _ token: Secret?,
        _ attempt: UUID
    ) async -> SendReport {
        guard let transport = transports[message.channel.provider] else {
            return SendReport(outcome: .failed(reason: "no_transport"), attention: .ourBug)
        }
        let sending = Task { await transport.send(message, token: token) }
        let renewing = Task { await keepLease(message.job, attempt) { sending.cancel() } }
        let report = await sending.value
        renewing.cancel()
        return report
    }

    private func keepLease(
        _ job: MessageReference,
        _ attempt: UUID,
        lost: @LoopActor () -> Void
    ) async {
        while !Task.isCancelled {
            try? await EventLoop.shared.sleep(
                for: repository.lease / SendAttemptRunner.renewalsPerLease
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
        _ job: MessageReference,
        _ attempt: UUID
    ) async throws -> String? {
        for _ in 1..<SendAttemptRunner.recordAttempts {
            do {
                return try await repository.finish(job, token: attempt, ending)
            } catch let error as PostgresError where error.isUnavailable || error.outcomeUnknown {
                try await EventLoop.shared.sleep(for: SendAttemptRunner.recordPause)
            }
        }
        return try await repository.finish(job, token: attempt, ending)
    }
}
