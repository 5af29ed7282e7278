public import EventLoop
public import Logging
public import RedisClient

/// A process's clients of Redis: the one place where they are made, so that another library for them
/// is one line here.
@LoopActor
public struct RedisClients {
    /// Locks, counters, streams and presence; nil when `REDIS_MODE=disabled`.
    public let general: RedisClient?
    /// Caches: the same client unless `REDIS_CACHE_URL` names another server.
    public let caches: RedisClient?
    /// Queues: the same client unless `REDIS_QUEUE_URL` names another server.
    public let queues: RedisClient?

    private let isRequired: Bool

    init(_ configuration: ServiceConfiguration, logger: Logger) {
        let general =
            configuration.redis.mode == .disabled
            ? nil : RedisClients.make(configuration.redis, logger: logger)
        func client(_ other: RedisConfiguration) -> RedisClient? {
            other.isSameServer(as: configuration.redis) || general == nil
                ? general : RedisClients.make(other, logger: logger)
        }
        self.general = general
        caches = client(configuration.cacheRedis)
        queues = client(configuration.queueRedis)
        isRequired = configuration.redis.mode == .required
    }

    /// A client of its own, that is not connected yet.
    ///
    /// - Parameter logger: told what the client notices; nil for what lives for a moment.
    public static func make(
        _ configuration: RedisConfiguration,
        logger: Logger? = nil
    ) -> RedisClient {
        guard let logger else { return RedisClient(configuration) }
        return RedisClient(configuration) { RedisLog.note($0, logger) }
    }

    /// A server that is in use, under the name that `/health` gives it.
    struct Server {
        let name: String
        /// The setting that names it.
        let setting: String
        let client: RedisClient
        /// Whether the process cannot serve without it: caches are only faster.
        let isRequired: Bool
    }

    /// Each server once.
    var servers: [Server] {
        guard let general else { return [] }
        var servers = [
            Server(name: "redis", setting: "REDIS_URL", client: general, isRequired: isRequired)
        ]
        if let queues, queues !== general {
            servers.append(
                Server(
                    name: "redis_queue",
                    setting: "REDIS_QUEUE_URL",
                    client: queues,
                    isRequired: isRequired
                )
            )
        }
        if let caches, caches !== general {
            servers.append(
                Server(
                    name: "redis_cache",
                    setting: "REDIS_CACHE_URL",
                    client: caches,
                    isRequired: false
                )
            )
        }
        return servers
    }

    /// Which servers are away, in words: those without which the process cannot serve, or the others.
    func away(required: Bool) -> [String] {
        servers.filter { $0.isRequired == required && !$0.client.isConnected }
            .map { server in
                let nodes = server.client.nodesAway.map(\.description).joined(separator: ", ")
                let detail = nodes.isEmpty ? "" : ": \(nodes)"
                return server.name == "redis"
                    ? "redis is away\(detail)"
                    : "\(server.name) is away (\(server.setting))\(detail)"
            }
    }

    /// Connects; what is not there is tried again and again.
    func start(logger: Logger) async {
        for server in servers {
            do {
                try await server.client.start()
                // A server of caches alone may do as it likes.
                if server.client.server?.mayEvict == true, server.name != "redis_cache" {
                    logger.warning("\(server.name) may evict keys: set maxmemory-policy noeviction")
                }
            } catch {
                // What works meanwhile is each operation's own policy.
                logger.warning(
                    "redis is away at start",
                    metadata: [
                        "reason": "\(error)", "setting": "\(server.setting)",
                        "degraded": "\(!server.isRequired)",
                    ]
                )
            }
        }
    }

    /// Closes all, the general one last.
    func stop() async {
        for server in servers.reversed() { await server.client.stop() }
    }
}
