internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import Platform

/// What other people's servers send in.
@LoopActor
final class InboundApplication {
    private let inbound: InboundRepository
    private let worker: InboundWorker
    private let authenticator: SlackAuthenticator
    private let runtime: ServiceRuntime

    /// - Parameter committed: called after each message that was stored.
    init(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration,
        conversations: ConversationRepository,
        post: PostMessage,
        committed: @escaping @LoopActor (Caller, UUID, _ bot: [UInt8]?) async -> Void
    ) {
        self.runtime = runtime
        inbound = InboundRepository(
            postgres: runtime.postgres,
            secrets: configuration.service.secretBox
        )
        authenticator = SlackAuthenticator(
            secret: configuration.slackSigning,
            inbound: inbound
        )
        worker = InboundWorker(
            inbound: inbound,
            conversations: conversations,
            post: post,
            logger: runtime.logger,
            committed: committed
        )
    }

    func start() { worker.start() }

    func stop() async { await worker.stop() }

    var routes: [Route] {
        SlackRoutes(
            inbound: inbound,
            authenticator: authenticator,
            logger: runtime.logger,
            received: { [worker] in worker.wake() }
        ).routes + InboundRoutes(inbound: inbound, received: { [worker] in worker.wake() }).routes
    }
}
