internal import Coordination
public import EventLoop
internal import FoundationEssentials
public import HTTPClient
public import HTTPServer
public import JSON
public import Logging
public import Outbox
public import PostgresClient
public import RedisClient
internal import Telemetry
internal import Tracing

/// What every service has: its clients, its outbox, and the way it starts, serves and stops.
///
/// One factory makes the clients, so a service names none of their settings itself.
@LoopActor
public final class ServiceRuntime {
    /// How long a service waits at its start for a database that is not there yet.
    public static let databaseWait: Duration = .seconds(30)

    /// The settings.
    public let configuration: ServiceConfiguration
    /// The log; carries the service's name.
    public let logger: Logger
    /// The database.
    public let postgres: PostgresClient
    let redisClients: RedisClients
    /// Redis; `nil` when `REDIS_MODE=disabled`.
    public var redis: RedisClient? { redisClients.general }
    /// The Redis of caches, the same unless `REDIS_CACHE_URL` names another.
    public var cacheRedis: RedisClient? { redisClients.caches }
    /// The Redis of queues, the same unless `REDIS_QUEUE_URL` names another.
    public var queueRedis: RedisClient? { redisClients.queues }
    /// Outgoing HTTP.
    public let http: HTTPClient
    /// Calls to the other services.
    public let services: ServiceClient
    /// Checks keys.
    public let authenticator: KeyAuthenticator
    /// Delivers what transactions left behind.
    public let relay: OutboxRelay
    /// Stored answers by idempotency key.
    public let idempotency: PostgresIdempotencyStore

    private let locks: PostgresAdvisoryLocks
    private let partitions: PartitionKeeper
    private let revocations: KeyRevocations?
    private let spans: SpanExporter?
    private var server: HTTPServer?
    private var stopping: CheckedContinuation<Void, Never>?
    private var signals = 0
    let startedAt = MonotonicTime.now()

    /// Makes the clients of a service; nothing is connected yet.
    public init(_ configuration: ServiceConfiguration) {
        self.configuration = configuration
        let logger = Logger(label: configuration.name)
        self.logger = logger
        let observer = PostgresLog(logger: logger)
        postgres = PostgresClient(configuration.postgres, observer: observer)
        redisClients = RedisClients(configuration, logger: logger)
        let redis = redisClients.general
        http = HTTPClient()
        services = ServiceClient(http: http, configuration: configuration)
        authenticator = KeyAuthenticator(
            postgres: postgres,
            serviceToken: configuration.serviceToken,
            service: configuration.name
        )
        partitions = PartitionKeeper(postgres, logger: logger)
        idempotency = PostgresIdempotencyStore(postgres, lease: configuration.idempotencyLease)
        spans = ServiceRuntime.traces(configuration.traces, logger)
        postgres.traceparent = { Span.current?.place.description }
        revocations = redis == nil ? nil : KeyRevocations(configuration.redis, authenticator)
        let lost = LostLeadership()
        locks = PostgresAdvisoryLocks(configuration.postgres, observer: observer) { _ in
            lost.relay?.leadershipLost()
        }
        relay = OutboxRelay(
            source: configuration.name,
            postgres: postgres,
            stream: StreamProducer(redis, configuration.eventStreams),
            caller: services,
            locks: locks
        ) { OutboxLog.note($0, logger) }
        lost.relay = relay
        ClientMetrics.register(postgres: postgres, redis: redisClients, http: http)
    }

    /// Has the steps of traces written to the log and taken to the collector.
    private static func traces(_ settings: TraceSettings, _ logger: Logger) -> SpanExporter? {
        let exporter = settings.endpoint.map {
            SpanExporter(settings, endpoint: $0, instance: UUID().text, logger: logger)
        }
        Span.recorder = { [isLogged = settings.isLogged] span in
            let ended = EndedSpan(span)
            if isLogged { ended.log(to: logger) }
            exporter?.add(ended)
        }
        return exporter
    }

    /// Connects to the stores.
    ///
    /// - Throws: when the database cannot be had, is older than the program, or a required Redis is
    ///   not there: the message says which and what to do.
    public func start() async throws {
        try await postgres.start(waitingUpTo: ServiceRuntime.databaseWait)
        try await Migrator.requireUpToDate(postgres, version: Schema.version)
        try await partitions.start()
        await redisClients.start(logger: logger)
        await revocations?.start()
        try await locks.start()
        relay.start()
        spans?.start()
    }

    /// Serves `routes` until SIGTERM or SIGINT, then drains within
    /// ``ServiceConfiguration/drainLimit``; a second signal ends at once.
    ///
    /// - Parameters:
    ///   - title: the interface's name in its reference.
    ///   - meanings: what the fields of the reference mean, by their names.
    ///   - health: further components for `/health`.
    ///   - readiness: why the service cannot serve, beside its stores; `nil` when it can.
    ///   - stop: ends the service's own background work before the stores go.
    public func serve(
        _ routes: [Route],
        title: String,
        schemas: JSONObject = [:],
        meanings: [String: String] = [:],
        health: @escaping @LoopActor () async -> JSONObject = { [:] },
        readiness: @escaping @LoopActor () -> String? = { nil },
        stop: @escaping @LoopActor () async -> Void = {}
    ) async throws {
        let operations = OperationRoutes(runtime: self, health: health, readiness: readiness)
        let router = Router(
            routes: routes + operations.routes,
            title: title,
            version: Schema.release,
            schemas: schemas,
            meanings: meanings,
            documentation: .open
        )
        var settings = HTTPServerConfiguration()
        settings.host = configuration.host
        settings.port = configuration.port
        settings.sampler = configuration.traces.sampler
        let server = HTTPServer(
            configuration: settings,
            router: router,
            authenticator: authenticator,
            idempotency: idempotency,
            observer: RequestLog(logger: logger),
            known: CommonErrors.problem
        )
        self.server = server
        PrometheusRegistry.shared.sample(
            "http_requests_in_flight",
            "Requests whose handlers run."
        ) { Double(server.readings.requestsInFlight) }
        let port = try await server.start()
        logger.info("serving", metadata: ["port": "\(port)"])
        StartUpCode.letGo()
        try await untilSignal()
        logger.info("draining")
        endAtTheLatest(after: configuration.drainLimit)
        // Requests and background work end side by side: both have nearly the whole time.
        async let isDrained = server.drain(within: configuration.drainLimit * 9 / 10)
        await stop()
        _ = await isDrained
        await relay.stop()
        partitions.stop()
        await revocations?.stop()
        http.stop()
        locks.stop()
        await redisClients.stop()
        await postgres.stop()
        await spans?.stop()
        logger.info("stopped")
    }

    /// Whatever still runs then is left to its lease, as after a crash.
    private func endAtTheLatest(after limit: Duration) {
        EventLoop.shared.schedule(after: limit) { [logger] in
            logger.error("ended before everything was finished")
            LineWriter.standardOutput.flush(within: .milliseconds(200))
            ProcessExit.now(status: 1)
        }
    }

    private func untilSignal() async throws {
        let received: @LoopActor () -> Void = { [weak self] in self?.signalReceived() }
        try EventLoop.shared.onSignal(ServiceRuntime.terminate, received)
        try EventLoop.shared.onSignal(ServiceRuntime.interrupt, received)
        await withCheckedContinuation { stopping = $0 }
    }

    private static let interrupt: Int32 = 2
    private static let terminate: Int32 = 15

    private func signalReceived() {
        signals += 1
        guard signals == 1 else { ProcessExit.now(status: 130) }
        let waiting = stopping
        stopping = nil
        waiting?.resume()
    }
}

/// Lets the locks tell the relay, which is made after them.
@LoopActor
private final class LostLeadership {
    weak var relay: OutboxRelay?
    nonisolated init() {}
}
