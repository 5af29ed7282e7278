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
    private let providers: [String: any AIProvider]
    private let live: LiveApplication

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
        let live = LiveApplication(runtime, configuration)
        self.live = live
        let stores = Application.stores(runtime, configuration)
        lock = ConversationLock(
            store: stores.locks,
            ttl: configuration.conversationLock,
            instance: "messaging-\(UUID().text.prefix(8))"
        )
        let limiter = RoomLimiter(
            limiter: stores.limiter,
            limit: configuration.rateLimit,
            window: configuration.rateWindow
        )
        let messageLock = MessageLock(store: stores.locks, ttl: configuration.messageLock)
        let queue = ConversationQueue()
        post = PostMessage(
            messages: messages,
            conversations: conversations,
            configuration: configuration,
            limiter: limiter,
            lock: messageLock,
            queue: queue
        )
        autoAssign = AutoAssignMessageUseCase(
            messages: messages,
            limiter: limiter,
            lock: messageLock,
            queue: queue,
            committed: { await live.changed($0, $1) }
        )
        deferred = DeferredAssignments(
            postgres: runtime.postgres,
            useCase: autoAssign,
            logger: runtime.logger
        )
        providers = [
            "simulated": SimulatedProvider(),
            "openai": OpenAIProvider(
                http: runtime.http,
                allowedHosts: configuration.service.allowedHosts
            ),
        ]
        bot = BotRunner(
            jobs: BotJobs(
                postgres: runtime.postgres,
                worker: lock.instance,
                lease: configuration.jobLease
            ),
            lock: lock,
            mirror: JobMirror(redis: runtime.redis),
            secrets: configuration.service.secretBox,
            providers: providers,
            logger: runtime.logger,
            committed: { runtime.relay.wake() }
        )
    }

    /// Locks and counters: in Redis, or in memory where this process is the only one.
    private static func stores(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration
    ) -> (locks: (any LockStore)?, limiter: (any RateLimiter)?) {
        if let redis = runtime.redis {
            return (
                RedisLockStore(redis),
                RedisRateLimiter(redis, algorithm: configuration.rateAlgorithm)
            )
        }
        guard configuration.service.isSingleInstance else { return (nil, nil) }
        return (MemoryLockStore(), MemoryRateLimiter(algorithm: configuration.rateAlgorithm))
    }

    func run() async throws {
        let inbound = InboundApplication(
            runtime,
            configuration,
            conversations: conversations,
            post: post,
            committed: { [self] in await committed($0, $1, $2) }
        )
        try await runtime.start()
        deferred.start()
        bot.start()
        await live.start()
        inbound.start()
        try await runtime.serve(
            routes + inbound.routes,
            title: "Switchboard messaging",
            schemas: Schemas.components,
            health: { ["policies": Application.policies] },
            stop: { [self] in
                await deferred.stop()
                await bot.stop()
                await inbound.stop()
                await live.stop()
            }
        )
    }

    private var routes: [Route] {
        ConversationRoutes(
            conversations: conversations,
            handover: Handover(conversations: conversations, services: runtime.services),
            cache: live.cache
        ).routes
            + MessageRoutes(
                post: post,
                messages: messages,
                conversations: conversations,
                cache: live.cache,
                messagesTTL: configuration.messageCache,
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
                committed: { [live] in await live.changed($0, $1) }
            ).routes
            + live.routes(conversations: conversations, dispatcher: dispatcher)
    }

    /// The eight groups of events of a socket.
    private var dispatcher: SocketDispatcher {
        let threads = ThreadRepository(postgres: runtime.postgres)
        let people = PeopleRepository(postgres: runtime.postgres)
        return SocketDispatcher(
            sessions: live.sessions,
            handlers: [
                ConnectionHandler(sessions: live.sessions),
                ThreadHandler(
                    threads: threads,
                    committed: { [live] in await live.changed($0, $1) }
                ),
                NavigationHandler(
                    sessions: live.sessions,
                    conversations: conversations,
                    presence: live.presence
                ),
                MessageOperationsHandler(
                    threads: threads,
                    committed: { [live] in await live.changed($0, $1) }
                ),
                SendMessageHandler(
                    post: post,
                    committed: { [self] in await committed($0, $1, $2) }
                ),
                ContactHandler(people: people),
                FeedbackHandler(people: people),
                CoachingHandler(
                    postgres: runtime.postgres,
                    secrets: configuration.service.secretBox,
                    advise: { [self] work throws(AIProviderError) in try await advise(work) }
                ),
            ]
        )
    }

    /// Asks the AI that some work names.
    private func advise(_ work: JobWork) async throws(AIProviderError) -> AIAnswer {
        guard let provider = providers[work.provider] else {
            throw AIProviderError(
                isFinal: true,
                description: "there is no provider '\(work.provider)'"
            )
        }
        return try await provider.answer(work.request)
    }

    private var threadRoutes: [Route] {
        let threads = ThreadRepository(postgres: runtime.postgres)
        return ThreadRoutes(
            threads: threads,
            correction: ThreadCorrection(threads: threads),
            committed: { [live] in await live.changed($0, $1) }
        ).routes
            + MessageChangeRoutes(
                threads: threads,
                committed: { [live] in await live.changed($0, $1) }
            ).routes
    }

    /// After a commit: events and calls leave at once, and a new lock is shown.
    private func committed(_ caller: Caller, _ conversation: UUID, _ answer: [UInt8]) async {
        await live.changed(caller, conversation)
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
