internal import Coordination
internal import EventLoop
internal import JSON
internal import RedisClient
internal import Telemetry

/// Finds what a job's reference stands for.
@LoopActor
struct MessageResolver {
    let repository: SendRepository
    let projection: MessageRequestProjection
    let box: SecretBox

    /// The content from the projection, from PostgreSQL when Redis does not have it; the channel as
    /// it is configured now.
    ///
    /// Nil when the channel or the request is gone.
    func resolveMessageRequestData(_ job: SendMessageJob) async throws -> ResolvedMessage? {
        if let content = await projected(job) {
            let channel = try await repository.configuration(job, template: content.templateCode)
            guard let channel else { return nil }
            return ResolvedMessage(job: job, content: content, channel: channel)
        }
        guard let document = try await repository.resolve(job.tenantID, job.messageRequestID)
        else { return nil }
        return MessageResolver.message(job, document)
    }

    private func projected(_ job: SendMessageJob) async -> MessageContent? {
        do {
            return try await projection.content(job)
        } catch {
            Degradation.note("projection")
            return nil
        }
    }

    /// The message in what `dispatch.resolve` answered.
    static func message(_ job: SendMessageJob, _ document: JSON) -> ResolvedMessage? {
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
