internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Outbox
internal import Platform
internal import PostgresClient
internal import RedisClient

/// Puts the bot's parts together: what document 004 calls the MessageHandler and its managers.
@LoopActor
final class BotApplication {
    let configurations: BotConfigService
    let providers: AIProviders
    private let runtime: ServiceRuntime
    private let locks: MessageLockManager
    private let memory: AnalysisCache
    private let runner: BotRunner
    private let offline: OfflineJobs
    private let manager: BackgroundJobManager
    private let handler: MessageHandler
    private let handoffs: HandoffExpiry
    private let handovers: LateHandovers
    private let debounceCount: Int

    /// - Parameter stores: where locks of conversations are shown, in the order they are asked.
    init(
        _ configuration: MessagingConfiguration,
        _ runtime: ServiceRuntime,
        stores: [any LockStore],
        settings: ConfigurationRepository,
        budget: CacheBudget
    ) {
        self.runtime = runtime
        debounceCount = configuration.debounceCount
        configurations = BotConfigService(
            settings: settings,
            logger: runtime.logger,
            freshFor: configuration.bot.configurationFresh,
            staleFor: configuration.bot.configurationStale
        )
        let jobs = AIJobRepository(postgres: runtime.postgres)
        locks = MessageLockManager(
            stores: stores,
            ttl: configuration.conversationLock,
            instance: configuration.instance,
            jobs: jobs
        )
        memory = AnalysisCache(redis: runtime.cacheRedis, admits: { budget.admits() })
        providers = BotApplication.providers(runtime, configuration, memory)
        let mirror = JobMirror(redis: runtime.redis)
        runner = BotRunner(
            jobs: BotJobs(
                postgres: runtime.postgres,
                settings: configuration.bot,
                worker: locks.instance
            ),
            locks: locks,
            mirror: mirror,
            secrets: configuration.service.secretBox,
            providers: providers,
            logger: runtime.logger,
            committed: { runtime.relay.wake() }
        )
        offline = OfflineJobs(
            locks: locks,
            mirror: mirror,
            providers: providers,
            settings: configuration.bot
        )
        manager = BackgroundJobManager(
            jobs: jobs,
            locks: locks,
            mirror: mirror,
            offline: offline,
            runner: runner,
            debounce: configuration.debounce
        )
        handoffs = HandoffExpiry(
            postgres: runtime.postgres,
            services: runtime.services,
            interval: configuration.bot.sweepInterval,
            logger: runtime.logger
        )
        handovers = BotApplication.handovers(runtime, configuration, manager)
        handler = MessageHandler(
            configurations: configurations,
            jobs: manager,
            handovers: handovers,
            start: { [runner] in runner.start() }
        )
    }

    private static func handovers(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration,
        _ manager: BackgroundJobManager
    ) -> LateHandovers {
        LateHandovers(
            postgres: runtime.postgres,
            redis: runtime.redis,
            isAlone: configuration.service.isSingleInstance,
            interval: configuration.bot.sweepInterval,
            logger: runtime.logger,
            asked: { wish, job in
                runtime.relay.wake()
                await manager.ended(wish.caller, wish.conversation, job: job?.text)
            }
        )
    }

    private static func providers(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration,
        _ memory: AnalysisCache
    ) -> AIProviders {
        AIProviders(
            named: [
                "simulated": SimulatedProvider(),
                "openai": OpenAIProvider(
                    http: runtime.http,
                    allowedHosts: configuration.service.allowedHosts
                ),
            ],
            memory: memory
        )
    }

    func start() {
        handler.initialize()
        handoffs.start()
        handovers.start()
    }

    func stop() async {
        await handoffs.stop()
        await handovers.stop()
        await runner.stop()
        await offline.stop()
        await memory.drain()
    }

    var routes: [Route] {
        HandlerRoutes(
            handler: handler,
            status: { [self] in await status() }
        ).routes
            + JobRoutes(manager: manager, locks: locks).routes
    }

    /// Says what is done after each job that ended here.
    func onEnded(_ body: @escaping @LoopActor (JobWork) async -> Void) {
        runner.onEnded = body
    }

    /// After the commit of a message, whose answer says what it means for the bot.
    ///
    /// - Parameter isLast: the bot waits for nothing after it.
    func committed(
        _ caller: Caller,
        _ conversation: UUID,
        _ bot: JSON,
        isLast: Bool
    ) async {
        let job = bot["ai_job_id"]?.stringValue
        switch bot["status"]?.stringValue {
        case "ai_processing_started":
            runner.wake()
            guard let job, let lockID = bot["lock_id"]?.stringValue else { return }
            await manager.created(caller, conversation, job: job, lockID: lockID)
        case "buffered":
            // The last one of a burst that is long enough makes the job due at once; where a
            // channel counts otherwise, the runner finds it within its poll.
            let count = bot["consolidated_messages"]?.intValue ?? 0
            if isLast || count >= Int64(debounceCount) { runner.wake() }
        case "locked":
            if let id = job.flatMap(UUID.init(uuidString:)) { runner.newerMessage(than: id) }
        case "stopped", "human":
            if job != nil { await manager.ended(caller, conversation, job: job) }
        default: break
        }
    }

    /// A job was cancelled because its conversation changed hands.
    func silenced(_ caller: Caller, _ conversation: UUID, _ job: UUID) async {
        await manager.ended(caller, conversation, job: job.text)
    }

    private func status() async -> JSON {
        let redis = runtime.redis?.isConnected ?? false
        let database = runtime.postgres.isAvailable
        let workers = (try? await manager.getWorkerStatus()) ?? []
        let isAlone = runtime.configuration.isSingleInstance
        return [
            "status": .string(database ? (redis ? "healthy" : "degraded") : "unhealthy"),
            "components": [
                "redis_connected": .bool(redis), "database_connected": .bool(database),
                "workers": .array(workers),
            ],
            "policies": [
                "message_lock": "proceed", "rate_limit": "proceed",
                "conversation_lock": .string(isAlone ? "postgres, memory" : "postgres"),
                "ai_job_status": "postgres", "bot_configuration": "last good, default, people",
            ],
        ]
    }
}
