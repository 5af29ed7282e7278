internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import JobQueue
internal import Logging
internal import Outbox
internal import Platform
internal import RedisClient

/// Everything that runs beside the routes: projector, queue, worker, sweeper, timers.
@LoopActor
final class Sender {
    /// How long what is being sent may still take at the end.
    static let drainLimit: Duration = .seconds(22)
    /// How long a look into a history may: it is made again by whoever comes next.
    static let looksLimit: Duration = .seconds(5)

    let parts: SendParts
    let worker: SendMessageWorker
    let keeper: JobKeeper
    let sweeper: SendSweeper
    private let readers: EventReaders
    private let timers: TimerRunner
    private let webhooks: WebhookSender

    init(
        _ runtime: ServiceRuntime,
        _ redis: RedisClient,
        _ configuration: DispatchConfiguration,
        _ requests: MessageRequestRepository,
        _ slack: SlackApiService
    ) {
        let logger = runtime.logger
        let parts = Sender.parts(runtime, redis, configuration, slack)
        self.parts = parts
        let projector = MessageRequestProjector(parts)
        let keeper = JobKeeper(
            parts,
            projector,
            redis: runtime.queueRedis ?? redis,
            interval: configuration.sweepInterval
        )
        self.keeper = keeper
        let worker = SendMessageWorker(
            parts,
            connection: configuration.service.queueRedis,
            concurrency: configuration.concurrency,
            lease: configuration.sendLease,
            threadEnded: { keeper.wake() }
        )
        self.worker = worker
        let webhooks = WebhookSender(
            WebhookRepository(postgres: runtime.postgres, box: configuration.service.secretBox),
            http: runtime.http,
            allowedHosts: configuration.service.allowedHosts,
            logger: logger
        )
        self.webhooks = webhooks
        let changed: @LoopActor () -> Void = { [weak runtime] in
            runtime?.relay.wake()
            keeper.wake()
            webhooks.wake()
        }
        let sweeper = SendSweeper(parts, worker: worker, wake: changed)
        self.sweeper = sweeper
        let committed: @LoopActor () -> Void = {
            changed()
            sweeper.wake()
        }
        readers = Sender.readers(runtime, redis, projector)
        let verifier = UnknownVerifier(parts, requests: requests, wake: committed)
        let prober = WorkspaceProber(
            parts,
            operations: OperationsRepository(postgres: runtime.postgres),
            wake: committed
        )
        let prover = WorkspaceProver(parts, wake: committed)
        timers = TimerRunner(
            owner: "dispatch-worker",
            postgres: runtime.postgres,
            failed: { logger.warning("timer", metadata: ["error": "\($0)"]) },
            handler: { timer in
                switch timer.kind {
                case WorkspaceProber.kind: try await prober.handle(timer)
                case WorkspaceProver.kind: try await prover.handle(timer)
                default: try await verifier.handle(timer)
                }
            }
        )
    }

    private static func readers(
        _ runtime: ServiceRuntime,
        _ redis: RedisClient,
        _ projector: MessageRequestProjector
    ) -> EventReaders {
        let logger = runtime.logger
        return EventReaders(
            redis: redis,
            configuration: runtime.configuration.redis,
            postgres: runtime.postgres,
            streams: runtime.configuration.eventStreams,
            group: MessageRequestProjector.group,
            worker: "dispatch-worker-\(UUID().text)",
            observer: { logger.note($0, reader: MessageRequestProjector.group) },
            handler: { try await projector.handle($0) }
        )
    }

    private static func parts(
        _ runtime: ServiceRuntime,
        _ redis: RedisClient,
        _ configuration: DispatchConfiguration,
        _ slack: SlackApiService
    ) -> SendParts {
        let repository = SendRepository(
            postgres: runtime.postgres,
            lease: configuration.sendLease
        )
        let tenants = TenantDirectory(runtime.postgres)
        let queues = runtime.queueRedis ?? redis
        let buckets = TenantBuckets(queues, own: configuration.largeTenants)
        return SendParts(
            repository: repository,
            dispatches: DispatchRepository(postgres: runtime.postgres),
            tenants: tenants,
            buckets: buckets,
            queue: MessageRequestQueueService(redis: queues, buckets: buckets) {
                tenants.terms(of: $0)
            },
            resolver: MessageResolver(
                repository: repository,
                projection: MessageRequestProjection(redis: redis, buckets: buckets),
                box: configuration.service.secretBox
            ),
            idempotency: DispatchIdempotencyService(
                locks: RedisLockStore(redis),
                claims: RedisClaims(redis),
                redis: redis,
                buckets: buckets,
                sendTakeover: configuration.sendLease
            ),
            slots: SendSlots(RedisPacer(redis), strikes: RedisRateLimiter(redis)),
            breakers: WorkspaceBreakers(),
            transports: [
                .slack: slack, .local: LocalTransport(repository),
                .webhook: WebhookTransport(
                    http: runtime.http,
                    allowedHosts: configuration.service.allowedHosts,
                    sendTimeout: configuration.sendTimeout
                ),
            ],
            metrics: SendMetrics(),
            logger: runtime.logger
        )
    }

    /// Begins to project and to send.
    ///
    /// - Throws: when the database does not say which streams there are.
    func start() async throws {
        // While Redis is away this process goes by its own list, and asks again.
        try? await parts.buckets.refresh()
        try await readers.start()
        keeper.start()
        await worker.start()
        sweeper.start()
        timers.start()
        webhooks.start()
    }

    /// Whether as many of a tenant's messages wait as its policy allows; no while Redis is away, which
    /// says how many there are.
    func isFull(_ tenant: String) async -> Bool {
        guard let backlog = await parts.queue.backlog(tenant) else { return false }
        return backlog >= parts.tenants.queuedMax(of: tenant)
    }

    /// Events that nobody of the group has read yet; nil when Redis does not say.
    func streamLag() async -> Int64? { await readers.lag() }

    /// Takes nothing more and finishes what is being sent.
    ///
    /// All of it ends side by side: nothing is taken while something else ends.
    func stop() async {
        async let sent: Void = worker.stop(within: Sender.drainLimit)
        async let looked: Void = timers.stop(within: Sender.looksLimit)
        async let read: Void = readers.stop()
        async let kept: Void = keeper.stop()
        async let told: Void = webhooks.stop()
        async let swept: Void = sweeper.stop()
        _ = await (sent, looked, read, kept, told, swept)
    }
}
