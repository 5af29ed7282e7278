internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform
internal import RedisClient
internal import Telemetry

/// The assignment engine, wired.
@LoopActor
final class Application {
    private let runtime: ServiceRuntime
    private let contexts: any RoundRobinContextProvider
    private let sessions: SessionRepository
    private let service: AssignmentService
    private let drainer: QueueDrainer
    private let timers: TimerRunner
    private let reconciler: LoadReconciler
    private let streams: RedisClient?
    private let processor: Processor?
    private let conversations: ConversationMessages?
    private let positions: QueuePositions
    private let instances: InstanceWatch
    private let presence: Duration
    /// What becomes of each operation while Redis is away.
    private let policies: JSON

    init(_ configuration: Configuration) {
        let runtime = ServiceRuntime(configuration.common)
        let logger = runtime.logger
        let contexts = RoundRobinContextProviderFactory.make(
            redis: runtime.redis,
            fallback: configuration.roundRobinFallback,
            alone: { Degradation.note("round_robin") }
        )
        let sessions = SessionRepository(postgres: runtime.postgres)
        let service = AssignmentService(
            sessions: sessions,
            contexts: contexts,
            retries: EngineRetries(postgres: runtime.postgres),
            logger: logger
        )
        self.runtime = runtime
        self.contexts = contexts
        self.sessions = sessions
        self.service = service
        drainer = QueueDrainer(service: service, sessions: sessions, logger: logger)
        presence = configuration.presence
        policies = [
            "round_robin": configuration.roundRobinFallback == .memory
                ? "memory" : "error_and_retry",
            "events": "wait_in_outbox",
        ]
        let acting = EngineTimers(sessions: sessions, service: service, drainer: drainer)
        timers = TimerRunner(
            owner: EngineRetries.owner,
            postgres: runtime.postgres,
            failed: { logger.warning("timer: \($0)") }
        ) { try await acting.act($0) }
        reconciler = LoadReconciler(postgres: runtime.postgres, logger: logger)
        // A client of its own: closing it stops no assignment, and the other way round.
        let common = configuration.common
        streams = common.redis.mode == .disabled ? nil : RedisClients.make(common.redis)
        positions = QueuePositions(sessions: sessions, logger: logger)
        instances = InstanceWatch(postgres: runtime.postgres, contexts: contexts, logger: logger)
        conversations = streams.map { [service] streams in
            ConversationMessages(
                redis: streams,
                configuration: common,
                postgres: runtime.postgres,
                sessions: sessions,
                service: service,
                claimIdle: configuration.claimIdle,
                logger: logger
            )
        }
        processor = streams.map { streams in
            Processor(
                redis: streams,
                configuration: common,
                postgres: runtime.postgres,
                consumer: UUID().text,
                claimIdle: configuration.claimIdle,
                logger: logger
            )
        }
    }

    /// Serves until a signal.
    func run() async throws {
        try await runtime.start()
        timers.start()
        drainer.start()
        reconciler.start()
        positions.start()
        await instances.start()
        // Without Redis there is nothing to read yet; the client goes on trying.
        try? await streams?.start()
        try await processor?.start()
        try await conversations?.start()
        let roster = RosterRepository(postgres: runtime.postgres)
        let policyRepository = PolicyRepository(postgres: runtime.postgres)
        let routes =
            TeamRoutes(roster: roster, drainer: drainer).routes
            + AgentRoutes(roster: roster, drainer: drainer, presence: presence).routes
            + SessionRoutes(service: service, sessions: sessions, drainer: drainer).routes
            + SessionActionRoutes(service: service, sessions: sessions, drainer: drainer).routes
            + PolicyRoutes(policies: policyRepository, drainer: drainer).routes
            + RuleRoutes(policies: policyRepository, drainer: drainer).routes
            + EngineRoutes(service: service, sessions: sessions).routes
            + AnalyticsRoutes(
                collector: Collector(redis: streams),
                reports: Reports(postgres: runtime.postgres)
            ).routes
        try await runtime.serve(
            routes,
            title: "Switchboard assignment engine",
            meanings: FieldMeanings.all,
            health: { [self] in await health() },
            readiness: { [instances] in instances.fault },
            stop: { [self] in
                reconciler.stop()
                positions.stop()
                await instances.stop()
                await timers.stop()
                await drainer.stop()
                await processor?.stop()
                await conversations?.stop()
                await streams?.stop()
            }
        )
    }

    /// The counter in use, what stands in for Redis, and how far the readers of streams are behind.
    private func health() async -> JSONObject {
        [
            "rr_provider": .string(contexts.name),
            "policies": policies,
            "stream": [
                "lag": JSON(await conversations?.lag()),
                "reports_lag": JSON(await processor?.lag()),
            ],
        ]
    }
}
