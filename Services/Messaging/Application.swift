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
    private let post: PostMessage
    private let autoAssign: AutoAssignMessageUseCase
    private let deferred: DeferredAssignments
    private let bot: BotApplication
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
        bot = BotApplication(
            configuration,
            runtime,
            stores: guards.conversations,
            settings: settings
        )
    }

    /// What keeps work from being done twice, or too often.
    @LoopActor
    private struct Guards {
        /// Where locks of conversations are shown: memory stands in where Redis does not answer.
        let conversations: [any LockStore]
        let message: MessageLock
        let room: RoomLimiter

        init(
            _ configuration: MessagingConfiguration,
            locks: (any LockStore)?,
            conversations: [any LockStore],
            limiter: (any RateLimiter)?
        ) {
            self.conversations = conversations
            message = MessageLock(store: locks, ttl: configuration.messageLock)
            room = RoomLimiter(
                limiter: limiter,
                limit: configuration.rateLimit,
                window: configuration.rateWindow
            )
        }
    }

    /// Locks and counters: in Redis, or in memory where this process is the only one.
    private static func guards(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration
    ) -> Guards {
        let memory = configuration.service.isSingleInstance ? MemoryLockStore() : nil
        let alone = memory.map { [$0 as any LockStore] } ?? []
        guard let redis = runtime.redis else {
            let limiter = memory.map { _ in
                MemoryRateLimiter(algorithm: configuration.rateAlgorithm)
            }
            return Guards(configuration, locks: memory, conversations: alone, limiter: limiter)
        }
        let locks = RedisLockStore(redis)
        return Guards(
            configuration,
            locks: locks,
            conversations: [locks] + alone,
            limiter: RedisRateLimiter(redis, algorithm: configuration.rateAlgorithm)
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
                configurations: bot.configurations,
                committed: { [self] in await committed($0, $1, $2) }
            ).routes
            + threadRoutes
            + AssignmentRoutes(useCase: autoAssign).routes
            + ConfigurationRoutes(settings: settings, configurations: bot.configurations).routes
            + bot.routes
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

    /// After a commit: events and calls leave at once, and the bot begins.
    private func committed(_ caller: Caller, _ conversation: UUID, _ answer: [UInt8]) async {
        changed(caller, conversation)
        guard let said = (try? JSON(parsing: answer))?["bot"] else { return }
        await bot.committed(caller, conversation, said)
    }

    /// What becomes of each operation while Redis is away.
    private static let policies: JSON = [
        "message_lock": "proceed", "rate_limit": "proceed", "conversation_lock": "postgres",
        "ai_job_status": "postgres", "events": "wait_in_outbox",
    ]
}
