internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging
internal import Outbox
internal import Platform
internal import RedisClient

/// The service: its routes, and what sends in the background.
@LoopActor
final class Application {
    private let configuration: DispatchConfiguration
    private let runtime: ServiceRuntime
    private let requests: MessageRequestRepository
    private let repository: ConfigurationRepository
    private let slack: SlackApiService
    private var sender: Sender?

    init(_ configuration: DispatchConfiguration) {
        self.configuration = configuration
        runtime = ServiceRuntime(configuration.service)
        slack = SlackApiService(
            http: runtime.http,
            baseURL: configuration.slackBaseURL,
            allowedHosts: configuration.service.allowedHosts,
            sendTimeout: configuration.sendTimeout
        )
        requests = MessageRequestRepository(postgres: runtime.postgres)
        repository = ConfigurationRepository(
            postgres: runtime.postgres,
            box: configuration.service.secretBox
        )
    }

    /// Serves until SIGTERM.
    func run() async throws {
        try await runtime.start()
        if let redis = runtime.redis {
            let sender = Sender(runtime, redis, configuration, requests, slack)
            self.sender = sender
            try await sender.start()
        } else {
            runtime.logger.warning("without Redis requests are stored and nothing is sent")
        }
        try await runtime.serve(
            routes,
            title: "Switchboard dispatch-worker",
            schemas: Schemas.named,
            meanings: FieldMeanings.all,
            health: { [weak self] in await self?.health() ?? [:] },
            readiness: { [weak self] in self?.sender == nil ? "redis is disabled" : nil },
            stop: { [weak self] in await self?.sender?.stop() }
        )
    }

    private func health() async -> JSONObject {
        [
            "stream": ["lag": JSON(await sender?.streamLag())],
            "sender": [
                "running": .bool(sender != nil),
                "in_flight": .int(Int64(sender?.worker.inFlight ?? 0)),
                "concurrency": .int(Int64(configuration.concurrency)),
            ],
            "policies": [
                "dispatch_lock": "fail_closed", "send_lock": "fail_closed",
                "projection": "read_database", "events": "wait_in_outbox",
            ],
        ]
    }

    private var routes: [Route] {
        let committed: @LoopActor () -> Void = { [weak self] in self?.committed() }
        // Its event makes the job; nothing has to be looked for.
        let accepted: @LoopActor () -> Void = { [weak self] in self?.runtime.relay.wake() }
        let postgres = runtime.postgres
        let operations = OperationsRepository(postgres: postgres)
        let templates = TemplateRepository(postgres: postgres)
        return MessageRequestRoutes(
            repository: requests,
            templates: templates,
            isFull: { [weak self] in await self?.sender?.isFull($0.code) ?? false },
            committed: accepted
        ).routes
            + ReplayRoutes(repository: operations, committed: accepted).routes
            + PauseRoutes(repository: operations, committed: committed).routes
            + QueueRoutes(repository: operations, requests: requests) { [weak self] in
                self?.sender?.parts.tenants.forgetPolicies()
                self?.sender?.keeper.wake()
            }.routes
            + TemplateRoutes(repository: templates).routes
            + WebhookRoutes(
                repository: WebhookRepository(
                    postgres: postgres,
                    box: configuration.service.secretBox
                ),
                allowedHosts: configuration.service.allowedHosts
            ).routes
            + MessageRequestActions(repository: requests) { [weak self] tenant, id in
                await self?.settled(tenant, id)
            }.routes
            + WorkspaceRoutes(
                repository: repository,
                slack: slack,
                allowedHosts: configuration.service.allowedHosts,
                committed: committed
            ).routes
            + ChannelRoutes(repository: repository, committed: committed).routes
    }

    private func committed() {
        runtime.relay.wake()
        sender?.keeper.wake()
        sender?.sweeper.wake()
    }

    private func settled(_ tenant: Tenant, _ id: UUID) async {
        await sender?.parts.idempotency.dropLocks(tenant.code, id)
        committed()
    }
}
