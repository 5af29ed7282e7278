internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Outbox
internal import Platform

/// What follows conversations: streams, sockets, sessions, presence, and the lists that are kept.
@LoopActor
final class LiveApplication {
    let hub: LiveHub
    let sessions: UserSessionService
    let presence: PresenceService
    let cache: QueryCache
    private let runtime: ServiceRuntime
    private let watch: PresenceWatch
    private let keys: KeyWatch
    private let bridge: EngineIOBridge
    private let wakeUps: LiveWakeUps

    init(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration,
        _ budget: CacheBudget
    ) {
        self.runtime = runtime
        let wakeUps = LiveWakeUps(
            redis: runtime.redis,
            configuration: configuration.service.redis
        )
        self.wakeUps = wakeUps
        bridge = EngineIOBridge(redis: runtime.redis, wakeUps: wakeUps)
        hub = LiveHub(
            log: EventLog(postgres: runtime.postgres),
            wakeUps: wakeUps,
            pollInterval: configuration.livePoll,
            logger: runtime.logger
        )
        sessions = UserSessionService(
            postgres: runtime.postgres,
            cache: SessionCache(redis: runtime.cacheRedis)
        )
        presence = PresenceService(
            shared: runtime.redis.map { RedisPresence($0) },
            ttl: configuration.userPresence
        )
        watch = PresenceWatch(
            hub: hub,
            sessions: sessions,
            presence: presence,
            grace: configuration.presenceGrace,
            logger: runtime.logger
        )
        keys = KeyWatch(runtime.authenticator, postgres: runtime.postgres)
        cache = QueryCache(
            store: runtime.cacheRedis.map { RedisGenerationCache($0) },
            admits: { budget.admits() }
        )
        runtime.relay.onPublished = { [weak self] in await self?.published($0) }
    }

    func start() async {
        await hub.start()
        sessions.start()
        watch.start()
        keys.start()
        bridge.start()
    }

    func stop() async {
        bridge.stop()
        await keys.stop()
        await watch.stop()
        await hub.stop()
        await sessions.stop()
    }

    func routes(
        conversations: ConversationRepository,
        dispatcher: SocketDispatcher
    ) -> [Route] {
        StreamRoutes(hub: hub, keys: keys).routes
            + IntegrationRoutes(
                coordination: runtime.redis,
                caches: runtime.cacheRedis,
                isListening: { [wakeUps] in wakeUps.isListening }
            ).routes
            + SessionRoutes(
                sessions: sessions,
                presence: presence,
                conversations: conversations
            ).routes
            + SocketRoutes(
                peer: peer,
                dispatcher: dispatcher,
                keys: keys,
                logger: runtime.logger
            ).routes
            + SocketIORoutes(
                authenticator: runtime.authenticator,
                keys: keys,
                bridge: bridge,
                dispatcher: dispatcher,
                logger: runtime.logger,
                peer: peer
            ).routes
    }

    /// What a client of a socket is to the service.
    private func peer(_ caller: Caller, _ transport: any SocketTransport) -> SocketPeer {
        SocketPeer(
            transport,
            caller: caller,
            hub: hub,
            presence: presence,
            sessions: sessions,
            logger: runtime.logger
        )
    }

    /// After a commit: events and calls leave at once, and who follows the conversation is told.
    ///
    /// Lists that are kept are thrown out before the caller hears of its success: who reads after
    /// it wrote sees what it wrote.
    func changed(_ caller: Caller, _ conversation: UUID?) async {
        runtime.relay.wake()
        guard let conversation else { return }
        await changed(caller.code, [conversation])
    }

    /// The same, where a tenant's code is all that is known.
    func changed(_ tenant: String, _ conversations: [UUID]) async {
        await cache.invalidate(tenant, conversations)
        for conversation in conversations {
            hub.changed(LiveRoom(tenant: tenant, conversation: conversation))
        }
    }

    /// The same for what no request changed (the bot, a timer, a process that died after its
    /// commit): its events come by here on their way out.
    private func published(_ rows: [OutboxRow]) async {
        var rooms: [String: Set<UUID>] = [:]
        for row in rows {
            guard let conversation = UUID(text: row.key) else { continue }
            rooms[row.tenant, default: []].insert(conversation)
        }
        for (tenant, conversations) in rooms { await changed(tenant, Array(conversations)) }
    }
}
