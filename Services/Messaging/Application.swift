internal import PostgresClient
internal import RedisClient
internal import Outbox
internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Puts the service together and runs it.
@LoopActor
final class Application {
    private let configuration: MessagingConfiguration
    private let runtime: ServiceRuntime
    private let messages: MessageRepository
    private let conversations: ConversationRepository
    private let settings: ConfigurationRepository
    private let jobs: AIJobRepository
    private let lock: ConversationLock
    private let post: PostMessage
    private let autoAssign: AutoAssignMessageUseCase
    private let deferred: DeferredAssignments
    private let bot: BotRunner
    private let live: LiveHub

    init(_ configuration: MessagingConfiguration) {
        self.configuration = configuration
        let runtime = ServiceRuntime(configuration.service)
        self.runtime = runtime
        messages = MessageRepository(postgres: runtime.postgres)
        conversations = ConversationRepository(postgres: runtime.postgres)
        settings = ConfigurationRepository(
            postgres: runtime.postgres,
            secrets: configuration.service.secretBox
        )
        jobs = AIJobRepository(postgres: runtime.postgres)
        live = LiveHub(
            log: EventLog(postgres: runtime.postgres),
            wakeUps: LiveWakeUps(
                redis: runtime.redis,
                configuration: configuration.service.redis
            ),
            pollInterval: configuration.livePoll,
            logger: runtime.logger
        )
        let guards = Application.guards(runtime, configuration)
        lock = guards.conversation
        let queue = ConversationQueue()
        post = PostMessage(
            messages: messages,
            conversations: conversations,
            configuration: configuration,
            limiter: guards.room,
            lock: guards.message,
            queue: queue
        )
        autoAssign = AutoAssignMessageUseCase(
            messages: messages,
            limiter: guards.room,
            lock: guards.message,
            queue: queue
        )
        deferred = DeferredAssignments(
            postgres: runtime.postgres,
            useCase: autoAssign,
            logger: runtime.logger
        )
        bot = BotRunner(
            jobs: BotJobs(
                postgres: runtime.postgres,
                worker: lock.instance,
                lease: configuration.jobLease
            ),
            lock: lock,
            mirror: JobMirror(redis: runtime.redis),
            secrets: configuration.service.secretBox,
            providers: [
                "simulated": SimulatedProvider(),
                "openai": OpenAIProvider(
                    http: runtime.http,
                    allowedHosts: configuration.service.allowedHosts
                ),
            ],
            logger: runtime.logger,
            committed: { runtime.relay.wake() }
        )
    }

    /// What keeps work from being done twice, or too often.
    private struct Guards {
        let conversation: ConversationLock
        let message: MessageLock
        let room: RoomLimiter
    }

    /// Locks and counters: in Redis, or in memory where this process is the only one.
    private static func guards(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration
    ) -> Guards {
        var locks: (any LockStore)?
        var limiter: (any RateLimiter)?
        if let redis = runtime.redis {
            locks = RedisLockStore(redis)
            limiter = RedisRateLimiter(redis, algorithm: configuration.rateAlgorithm)
        } else if configuration.service.isSingleInstance {
            locks = MemoryLockStore()
            limiter = MemoryRateLimiter(algorithm: configuration.rateAlgorithm)
        }
        return Guards(
            conversation: ConversationLock(
                store: locks,
                ttl: configuration.conversationLock,
                instance: "messaging-\(UUID().text.prefix(8))"
            ),
            message: MessageLock(store: locks, ttl: configuration.messageLock),
            room: RoomLimiter(
                limiter: limiter,
                limit: configuration.rateLimit,
                window: configuration.rateWindow
            )
        )
    }

    func run() async throws {
        try await runtime.start()
        deferred.start()
        bot.start()
        await live.start()
        try await runtime.serve(
            routes,
            title: "Switchboard messaging",
            schemas: Schemas.components,
            health: { ["policies": Application.policies] },
            stop: { [self] in
                await deferred.stop()
                await bot.stop()
                await live.stop()
            }
        )
    }

    private var routes: [Route] {
        ConversationRoutes(
            conversations: conversations,
            handover: Handover(conversations: conversations, services: runtime.services)
        ).routes
            + MessageRoutes(
                post: post,
                messages: messages,
                conversations: conversations,
                committed: { [self] in await committed($0, $1, $2) }
            ).routes
            + threadRoutes
            + AssignmentRoutes(useCase: autoAssign).routes
            + ConfigurationRoutes(settings: settings).routes
            + JobRoutes(
                jobs: jobs,
                conversations: conversations,
                lock: lock,
                status: { [self] in handlerStatus() }
            ).routes
            + InternalRoutes(
                messages: messages,
                conversations: conversations,
                settings: settings,
                committed: { [self] in changed($0, $1) }
            ).routes
            + StreamRoutes(hub: live).routes
    }

    private var threadRoutes: [Route] {
        let threads = ThreadRepository(postgres: runtime.postgres)
        return ThreadRoutes(
            threads: threads,
            correction: ThreadCorrection(threads: threads),
            committed: { [self] in changed($0, $1) }
        ).routes
            + MessageChangeRoutes(
                threads: threads,
                committed: { [self] in changed($0, $1) }
            ).routes
    }

    /// After a commit: events and calls leave at once, and who follows the conversation is told.
    private func changed(_ caller: Caller, _ conversation: UUID?) {
        runtime.relay.wake()
        if let conversation { live.changed(LiveKey(caller, conversation)) }
    }

    /// After a commit: events and calls leave at once, and a new lock is shown.
    private func committed(_ caller: Caller, _ conversation: UUID, _ answer: [UInt8]) async {
        changed(caller, conversation)
        guard let bot = (try? JSON(parsing: answer))?["bot"],
            let job = bot["ai_job_id"]?.stringValue
        else { return }
        switch bot["status"]?.stringValue {
        case "ai_processing_started":
            self.bot.wake()
            guard let lockID = bot["lock_id"]?.stringValue else { return }
            await lock.show(caller, conversation: conversation, lockID: lockID, job: job)
        case "stopped", "human": await lock.clear(caller, conversation: conversation)
        default: break
        }
    }

    private func handlerStatus() -> JSON {
        let redis = runtime.redis?.isConnected ?? false
        let database = runtime.postgres.isAvailable
        return [
            "status": .string(database ? (redis ? "healthy" : "degraded") : "unhealthy"),
            "components": [
                "redis_connected": .bool(redis), "database_connected": .bool(database),
            ],
            "policies": Application.policies,
        ]
    }

    /// What becomes of each operation while Redis is away.
    private static let policies: JSON = [
        "message_lock": "proceed", "rate_limit": "proceed", "conversation_lock": "postgres",
        "ai_job_status": "postgres", "events": "wait_in_outbox",
    ]
}
