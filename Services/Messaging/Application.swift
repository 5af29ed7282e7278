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
    private let assignments: AssignmentQueue
    private let bot: BotApplication
    private let live: LiveApplication
    private let budget: CacheBudget

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
        let budget = CacheBudget(
            redis: runtime.cacheRedis,
            megabytes: configuration.cacheMegabytes
        )
        self.budget = budget
        let live = LiveApplication(runtime, configuration, budget)
        self.live = live
        let guards = Application.guards(runtime, configuration)
        let bot = BotApplication(
            configuration,
            runtime,
            stores: guards.conversations,
            settings: settings,
            budget: budget
        )
        self.bot = bot
        bot.onEnded { await live.changed($0.tenant, [$0.conversationID]) }
        let queue = ConversationQueue()
        post = PostMessage(
            messages: messages,
            conversations: conversations,
            configuration: configuration,
            limiter: guards.room,
            lock: guards.message,
            queue: queue,
            controlWord: { await bot.configurations.controlWord($0, $1) }
        )
        autoAssign = AutoAssignMessageUseCase(
            messages: messages,
            limiter: guards.room,
            lock: guards.message,
            queue: queue,
            logger: runtime.logger,
            committed: { await live.changed($0, $1) }
        )
        assignments = AssignmentQueue(runtime, configuration, useCase: autoAssign)
        deferred = DeferredAssignments(
            postgres: runtime.postgres,
            useCase: autoAssign,
            logger: runtime.logger
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
            message = MessageLock(
                store: locks,
                ttl: configuration.messageLock,
                instance: configuration.instance,
                policy: configuration.lockPolicy
            )
            room = RoomLimiter(
                limiter: limiter,
                limit: configuration.rateLimit,
                window: configuration.rateWindow,
                policy: configuration.ratePolicy
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
        let inbound = InboundApplication(
            runtime,
            configuration,
            conversations: conversations,
            post: post,
            committed: { [self] in await committed($0, $1, $2) }
        )
        try await runtime.start()
        budget.start()
        deferred.start()
        await assignments.start()
        bot.start()
        await live.start()
        inbound.start()
        try await runtime.serve(
            routes + inbound.routes,
            title: "Switchboard messaging",
            schemas: Schemas.components,
            meanings: FieldMeanings.all,
            health: { [configuration] in ["policies": configuration.redisPolicies] },
            stop: { [self] in
                await budget.stop()
                await deferred.stop()
                await assignments.stop()
                await bot.stop()
                await inbound.stop()
                await live.stop()
            }
        )
    }

    private var routes: [Route] {
        ConversationRoutes(
            conversations: conversations,
            handover: Handover(
                conversations: conversations,
                services: runtime.services,
                silenced: { [bot] in await bot.silenced($0, $1, $2) }
            )
        ).routes
            + RoomListRoutes(
                messages: messages,
                conversations: conversations,
                cache: live.cache,
                messagesTTL: configuration.messageCache
            ).routes
            + MessageRoutes(
                post: post,
                messages: messages,
                assignments: assignments,
                committed: { [self] in await committed($0, $1, $2) }
            ).routes
            + ClosingRoutes(
                conversations: conversations,
                settings: settings,
                committed: { [live] in await live.changed($0, $1) },
                silenced: { [bot] in await bot.silenced($0, $1, $2) }
            ).routes
            + threadRoutes
            + TypingRoutes(messages: messages, configuration: configuration).routes
            + AssignmentRoutes(useCase: autoAssign).routes
            + AssignmentJobRoutes(messages: messages, useCase: autoAssign, queue: assignments)
            .routes
            + ConfigurationRoutes(settings: settings, configurations: bot.configurations).routes
            + bot.routes
            + InternalRoutes(
                messages: messages,
                conversations: conversations,
                settings: settings,
                committed: { [live] in await live.changed($0, $1) },
                silenced: { [bot] in await bot.silenced($0, $1, $2) }
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
                    conversations: conversations
                ),
                MessageOperationsHandler(
                    correction: ThreadCorrection(threads: threads),
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
                    advise: { [bot] work throws(AIProviderError) in
                        try await bot.providers.answer(work)
                    }
                ),
            ]
        )
    }

    private var threadRoutes: [Route] {
        let threads = ThreadRepository(postgres: runtime.postgres)
        let correction = ThreadCorrection(threads: threads)
        return ThreadRoutes(
            threads: threads,
            correction: correction,
            committed: { [live] in await live.changed($0, $1) }
        ).routes
            + MessageChangeRoutes(
                correction: correction,
                committed: { [live] in await live.changed($0, $1) }
            ).routes
    }

    /// After a commit: events and calls leave at once, and the bot begins.
    private func committed(_ caller: Caller, _ conversation: UUID, _ bot: [UInt8]?) async {
        let said = bot.flatMap { try? JSON(parsing: $0) }
        // A message to a closed conversation may have begun the next one.
        let conversation = said?["conversation_id"]?.uuidValue ?? conversation
        await live.changed(caller, conversation)
        guard let said else { return }
        await self.bot.committed(caller, conversation, said, isLast: said["is_last"] == true)
    }
}
