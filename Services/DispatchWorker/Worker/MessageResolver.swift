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
        guard
            var state = try await repository.resolve(tenantID, job.messageRequestID, content: false)
        else { return .nowhere }
        let reference = MessageReference(
            tenantID: tenantID,
            tenant: job.tenant,
            messageRequestID: job.messageRequestID,
            generation: state.generation,
            channelCode: state.channelCode
        )
        if let unready = MessageResolver.unready(reference, state, generation) { return unready }
        var content: MessageContent?
        if let shown = await projection, shown.generation == state.generation {
            content = shown.content
        } else {
            // The projection is behind, or gone; it is only a copy.
            guard
                let whole = try await repository.resolve(
                    tenantID,
                    job.messageRequestID,
                    content: true
                )
            else { return .nowhere }
            state = whole
            content = whole.content
        }
        guard let channel = state.channel, let content else {
            return .notYet(reference, wait: MessageResolver.configurationWait, reason: .channel)
        }
        let message = ResolvedMessage(
            job: reference,
            content: content,
            channel: channel,
            hasThread: state.hasThread,
            trace: state.trace,
            due: .now() + min(.zero, state.due)
        )
        return .message(message)
    }

    private static func unready(
        _ reference: MessageReference,
        _ state: RequestState,
        _ generation: Int?
    ) -> Resolution? {
        guard ["accepted", "dispatched", "retry_wait", "sending"].contains(state.status),
            generation ?? reference.generation == reference.generation
        else { return .settled(reference, status: state.status) }
        // A lease that is held is met by the send lock and by the commit before the first byte.
        guard state.status != "sending" else { return nil }
        if state.due > .zero { return .notYet(reference, wait: state.due, reason: .early) }
        if state.threadWait > .zero {
            return .notYet(reference, wait: state.threadWait, reason: .thread)
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
