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
        let stores = Application.stores(runtime, configuration)
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
            stores: stores.conversations,
            settings: settings
        )
    }

    /// Locks and counters: in Redis, or in memory where this process is the only one.
    private static func stores(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration
    ) -> Stores {
        let memory = configuration.service.isSingleInstance ? MemoryLockStore() : nil
        let alone = memory.map { [$0 as any LockStore] } ?? []
        if let redis = runtime.redis {
            let locks = RedisLockStore(redis)
            return Stores(
                locks: locks,
                conversations: [locks] + alone,
                limiter: RedisRateLimiter(redis, algorithm: configuration.rateAlgorithm)
            )
        }
        return Stores(
            locks: memory,
            conversations: alone,
            limiter: memory.map { _ in
                MemoryRateLimiter(algorithm: configuration.rateAlgorithm)
            }
        )
    }

    private struct Stores {
        let locks: (any LockStore)?
        /// Those of conversations: memory stands in where Redis does not answer.
        let conversations: [any LockStore]
        let limiter: (any RateLimiter)?
    }

    func run() async throws {
        try await runtime.start()
        deferred.start()
        bot.start()
        try await runtime.serve(
            routes,
            title: "Switchboard messaging",
            schemas: Schemas.components,
            stop: { [self] in
                await deferred.stop()
                await bot.stop()
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
            + AssignmentRoutes(useCase: autoAssign).routes
            + ConfigurationRoutes(settings: settings, configurations: bot.configurations).routes
            + bot.routes
            + InternalRoutes(
                messages: messages,
                conversations: conversations,
                settings: settings
            ).routes
    }

    /// After a commit: events and calls leave at once, and the bot begins.
    private func committed(_ caller: Caller, _ conversation: UUID, _ answer: [UInt8]) async {
        runtime.relay.wake()
        guard let said = (try? JSON(parsing: answer))?["bot"] else { return }
        await bot.committed(caller, conversation, said)
    }
}
