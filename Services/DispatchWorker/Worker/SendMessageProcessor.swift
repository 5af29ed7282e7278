internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import PostgresClient
internal import Telemetry
internal import Tracing

/// Does what can be done for the job of a message request now: looks the request up, and sends it
/// unless it is not due, its channel rests, or it is settled.
@LoopActor
final class SendMessageProcessor {
    /// How long a job is kept whose request neither Redis nor PostgreSQL has, and how often it is
    /// looked for meanwhile.
    static let nowhereLimit: Duration = .seconds(60)
    static let nowhereWait: Duration = .seconds(2)

    /// How long a message that a pause holds rests: its end brings it forward.
    static let pausedWait: Duration = .seconds(600)

    private let repository: SendRepository
    private let resolver: MessageResolver
    private let runner: SendAttemptRunner
    private let metrics: SendMetrics
    private let logger: Logger

    init(_ parts: SendParts) {
        repository = parts.repository
        resolver = parts.resolver
        runner = SendAttemptRunner(parts)
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
            return JobProcessingResult(waiting: reference, retryIn: wait)
        case .notYet(let reference, let wait, .thread):
            return try await postpone(reference, by: wait, nil)
        case .notYet(let reference, let wait, .channel):
            return try await postpone(reference, by: wait, "channel_not_configured")
        case .settled(let reference, let status):
            var result = JobProcessingResult(
                status: status,
                messageRequestID: reference.messageRequestID
            )
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
            metrics.needs(.requestNowhere)
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
            metrics.needs(.tokenDoesNotOpen)
            logger.error(
                "a token does not open",
                metadata: message.job.logged(["error": "\(error)"])
            )
            return try await postpone(
                message.job,
                by: MessageResolver.configurationWait,
                "token_does_not_open"
            )
        }
        return try await runner.send(message, token)
    }

    /// What a pause or the quiet hours of its channel make of a message.
    static func rest(_ message: ResolvedMessage) -> (wait: Duration, reason: String)? {
        if let pause = message.channel.pause { return (pausedWait, pause) }
        guard let quiet = message.channel.quiet, message.content.priority > 0 else { return nil }
        return (quiet, "quiet_hours")
    }

    private func postpone(
        _ job: MessageReference,
        by wait: Duration,
        _ reason: String?,
        kind: SendRepository.Postponement? = nil
    ) async throws -> JobProcessingResult {
        let wait = try await repository.postpone(job, by: wait, reason: reason, kind: kind)
        return JobProcessingResult(waiting: job, retryIn: wait, error: reason)
    }
}
