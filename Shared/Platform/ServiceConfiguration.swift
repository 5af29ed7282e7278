public import Coordination
internal import EventLoop
public import HTTPClient
public import Outbox
public import PostgresClient
public import RedisClient

/// What all three services are told by their environment.
public struct ServiceConfiguration: Sendable {
    /// The service's own name: `messaging`, `assignment-engine`, `dispatch-worker`.
    public let name: String
    /// Where it listens.
    public let host: String
    /// The port it listens on.
    public let port: Int
    /// The database.
    public let postgres: PostgresConfiguration
    /// The Redis of locks, counters and streams; its mode is that of all of them.
    public let redis: RedisConfiguration
    /// The Redis of caches: `REDIS_CACHE_URL`, else the same.
    public let cacheRedis: RedisConfiguration
    /// The Redis of queues: `REDIS_QUEUE_URL`, else the same.
    public let queueRedis: RedisConfiguration
    /// What happens in the product is spread over so many streams: `EVENT_PARTITIONS`.
    public let eventStreams: EventStreams
    /// What the services show each other.
    public let serviceToken: Secret
    /// Seals what is secret at rest.
    public let secretBox: SecretBox
    /// The base URLs of the services.
    public let messagingURL: String
    /// See ``messagingURL``.
    public let assignmentEngineURL: String
    /// See ``messagingURL``.
    public let dispatchWorkerURL: String
    /// Hosts that outgoing calls may reach although the guard would refuse them.
    public let allowedHosts: AllowedHosts
    /// Whether this process is the only one of its service: then memory may stand in for Redis.
    public let isSingleInstance: Bool
    /// How long the claim of an idempotency key holds without an answer.
    public let idempotencyLease: Duration
    /// `trace` … `critical`.
    public let logLevel: String
    /// How long a service finishes what it began after SIGTERM; 25 s.
    public let drainLimit: Duration
    /// How traces are recorded, and where they go.
    public let traces: TraceSettings

    private static func allowedHosts(_ settings: inout Settings) -> AllowedHosts? {
        let hosts = settings.optional("OUTBOUND_ALLOW_HOSTS") ?? ""
        let allowed = hosts.isEmpty ? AllowedHosts.none : AllowedHosts(parsing: hosts)
        if allowed == nil {
            settings.note("OUTBOUND_ALLOW_HOSTS is '\(hosts)': expected host:port,host:port")
        }
        return allowed
    }

    private static func eventStreams(_ settings: inout Settings) -> EventStreams {
        let range = 1...EventStreams.partitionsMax
        return EventStreams(
            partitions: settings.integer("EVENT_PARTITIONS", default: 1, in: range)
        )
    }

    /// Reads the settings that all services share; faults are noted in `settings`.
    ///
    /// - Parameters:
    ///   - defaultPort: 8081, 8082 or 8083.
    ///   - redisDefault: what an unset `REDIS_MODE` means when a Redis is named.
    /// - Throws: ``SettingsError`` when something is missing or malformed, with every fault.
    public init(
        name: String,
        defaultPort: Int,
        redisDefault: RedisConfiguration.Mode,
        settings: inout Settings
    ) throws(SettingsError) {
        self.name = name
        host = settings.optional("HOST") ?? "0.0.0.0"
        port = settings.integer("PORT", default: defaultPort, in: 0...65535)
        let database = settings.required(
            "DATABASE_URL",
            "postgres://user:password@host:5432/database"
        )
        serviceToken = Secret(
            settings.required("SERVICE_TOKEN", "the same random text for all three services")
        )
        let key = settings.required("SECRETS_KEY", "32 bytes in base64: openssl rand -base64 32")
        messagingURL = settings.optional("MESSAGING_URL") ?? "http://127.0.0.1:8081"
        assignmentEngineURL = settings.optional("ASSIGNMENT_ENGINE_URL") ?? "http://127.0.0.1:8082"
        dispatchWorkerURL = settings.optional("DISPATCH_WORKER_URL") ?? "http://127.0.0.1:8083"
        eventStreams = ServiceConfiguration.eventStreams(&settings)
        isSingleInstance = settings.flag("SINGLE_INSTANCE", default: false)
        idempotencyLease = settings.milliseconds(
            "IDEMPOTENCY_LEASE_MS",
            default: Int(PostgresIdempotencyStore.leaseMilliseconds)
        )
        logLevel = settings.optional("LOG_LEVEL") ?? "info"
        drainLimit = settings.milliseconds("DRAIN_MS", default: 25_000)
        traces = TraceSettings(&settings, service: name)
        let allowed = ServiceConfiguration.allowedHosts(&settings)
        guard !database.isEmpty, !key.isEmpty else {
            try settings.check()
            throw SettingsError(["DATABASE_URL and SECRETS_KEY are needed"])
        }
        let postgres = settings.noting { () throws(PostgresError) in
            try PostgresConfiguration(url: database, applicationName: name)
        }
        func redis(for purpose: RedisConfiguration.Purpose) -> RedisConfiguration? {
            settings.noting {
                [environment = settings.environment] () throws(RedisConfigurationError) in
                try RedisConfiguration(
                    environment: environment,
                    serviceDefault: redisDefault,
                    purpose: purpose
                )
            }
        }
        let general = redis(for: .general)
        let caches = redis(for: .cache)
        let queues = redis(for: .queue)
        let box = settings.noting { () throws(SecretBoxError) in
            try SecretBox(parsing: key)
        }
        try settings.check()
        guard let postgres, let general, let caches, let queues, let box, let allowed else {
            throw SettingsError(["a setting could not be read"])
        }
        self.postgres = postgres
        self.redis = general
        cacheRedis = caches
        queueRedis = queues
        secretBox = box
        allowedHosts = allowed
    }
}

extension Settings {
    /// Runs a parser of a setting and notes its complaint.
    mutating func noting<Value, Failure: Error>(
        _ parse: () throws(Failure) -> Value
    ) -> Value? {
        do {
            return try parse()
        } catch {
            note("\(error)")
            return nil
        }
    }
}
