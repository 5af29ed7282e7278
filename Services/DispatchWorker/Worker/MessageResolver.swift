internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import RedisClient
internal import Telemetry
internal import Tracing

/// Finds what a job stands for.
@LoopActor
struct MessageResolver {
    /// What a job's request turned out to be.
    enum Resolution: Sendable {
        /// It may be sent now.
        case message(ResolvedMessage)
        /// It is to be sent later.
        case notYet(MessageReference, wait: Duration, reason: Reason)
        /// It is not to be sent, at least not for this job.
        case settled(MessageReference, status: String)
        /// Neither Redis nor PostgreSQL has it.
        case nowhere

        enum Reason: String, Sendable {
            /// It is not due yet.
            case early
            /// An earlier message of its thread has not ended.
            case thread
            /// Its channel is gone.
            case channel = "channel_not_configured"
        }
    }

    /// How long a message rests while a channel or a token is missing.
    nonisolated static let configurationWait: Duration = .seconds(30)

    let repository: SendRepository
    let projection: MessageRequestProjection
    let box: SecretBox

    /// The content from the projection, from PostgreSQL when Redis does not have it; its state and
    /// its channel as they are now.
    ///
    /// - Parameter generation: the job's; nil for whatever the request has now.
    func resolveMessageRequestData(
        _ tenantID: UUID,
        _ job: SendMessageJob,
        generation: Int?
    ) async throws -> Resolution {
        async let projection = projected(job)
        let state = try await repository.resolve(tenantID, job.messageRequestID, content: false)
        guard var document = state else { return .nowhere }
        let current = Int(document["generation"]?.intValue ?? 1)
        let reference = MessageReference(
            tenantID: tenantID,
            tenant: job.tenant,
            messageRequestID: job.messageRequestID,
            generation: current,
            channelCode: document["channel_code"]?.stringValue ?? ""
        )
        if let unready = MessageResolver.unready(reference, document, generation) {
            return unready
        }
        let shown = await projection
        var content = shown?.content
        if shown?.generation != current {
            // The projection is behind, or gone; it is only a copy.
            content = nil
            guard
                let whole = try await repository.resolve(
                    tenantID,
                    job.messageRequestID,
                    content: true
                )
            else { return .nowhere }
            document = whole
        }
        guard
            let channel = document["configuration"]?.present.flatMap(ChannelConfiguration.init)
        else {
            return .notYet(reference, wait: MessageResolver.configurationWait, reason: .channel)
        }
        let message = ResolvedMessage(
            job: reference,
            content: content ?? MessageContent(document),
            channel: channel,
            hasThread: document["has_thread"] == true,
            trace: document["traceparent"]?.stringValue.flatMap { TraceParent(text: $0) },
            due: .now() + .milliseconds(min(0, document["due_ms"]?.intValue ?? 0))
        )
        return .message(message)
    }

    private static func unready(
        _ reference: MessageReference,
        _ document: JSON,
        _ generation: Int?
    ) -> Resolution? {
        let status = document["status"]?.stringValue ?? ""
        guard ["accepted", "dispatched", "retry_wait", "sending"].contains(status),
            generation ?? reference.generation == reference.generation
        else { return .settled(reference, status: status) }
        // A lease that is held is met by the send lock and by the commit before the first byte.
        guard status != "sending" else { return nil }
        if let early = document["due_ms"]?.intValue, early > 0 {
            return .notYet(reference, wait: .milliseconds(early), reason: .early)
        }
        if let wait = document["thread_ms"]?.intValue, wait > 0 {
            return .notYet(reference, wait: .milliseconds(wait), reason: .thread)
        }
        return nil
    }

    private func projected(
        _ job: SendMessageJob
    ) async -> (generation: Int, content: MessageContent)? {
        do {
            return try await projection.content(job.tenant, job.messageRequestID)
        } catch {
            Degradation.note("projection")
            return nil
        }
    }

    /// The message in what `dispatch.unknown_request` answered.
    static func message(_ job: MessageReference, _ document: JSON) -> ResolvedMessage? {
        document["configuration"].flatMap(ChannelConfiguration.init).map {
            ResolvedMessage(job: job, content: MessageContent(document), channel: $0)
        }
    }

    /// Opens the workspace's token; nil when it has none.
    func token(of message: ResolvedMessage) throws(SecretBoxError) -> Secret? {
        guard let sealed = message.channel.sealedToken else { return nil }
        return try box.open(
            sealed,
            context: SecretPlace.context(
                message.job.tenant,
                SecretPlace.token,
                message.channel.workspaceCode
            )
        )
    }
}
