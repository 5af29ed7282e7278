internal import EventLoop
internal import HTTPServer
internal import JSON
internal import RedisClient
internal import Telemetry

/// The ten places where Redis makes the service fast, each with how it is at this moment.
@LoopActor
struct IntegrationRoutes {
    /// What of Redis an integration needs.
    private enum Need {
        /// The Redis of locks, limits and presence (`REDIS_URL`).
        case coordination
        /// The Redis of the caches (`REDIS_CACHE_URL`).
        case caches
        /// That of coordination, and a subscription to what other instances tell.
        case fanout
    }

    /// One of them: its name, the operation that `redis_degraded_total` counts, what is done without
    /// Redis, what it needs, and the namespace of its cache, if it is one.
    private struct Item {
        let name: String
        let operation: String
        let without: String
        var needs = Need.coordination
        var namespace: String?
    }

    private static let items = [
        Item(
            name: "message_cache",
            operation: "ai_analysis",
            without: "the AI is asked",
            needs: .caches,
            namespace: "ai_analysis"
        ),
        Item(
            name: "presence_tracking",
            operation: "presence",
            without: "this instance's own, and who was last known to be there"
        ),
        Item(name: "distributed_locking", operation: "lock", without: "the database's unique key"),
        Item(name: "rate_limiting", operation: "rate_limit", without: "no limit"),
        Item(
            name: "socket_io_adapter",
            operation: "realtime_fanout",
            without: "a look at the log each second",
            needs: .fanout
        ),
        Item(
            name: "session_cache",
            operation: "cache",
            without: "the database is read",
            needs: .caches,
            namespace: "session"
        ),
        Item(
            name: "thread_query_cache",
            operation: "cache",
            without: "the database is read",
            needs: .caches,
            namespace: QueryCache.Namespace.threads.rawValue
        ),
        Item(
            name: "message_query_cache",
            operation: "cache",
            without: "the database is read",
            needs: .caches,
            namespace: QueryCache.Namespace.messages.rawValue
        ),
        Item(
            name: "thread_invalidation",
            operation: "cache",
            without: "nothing is kept",
            needs: .caches
        ),
        Item(
            name: "message_invalidation",
            operation: "cache",
            without: "nothing is kept",
            needs: .caches
        ),
    ]

    let coordination: RedisClient?
    let caches: RedisClient?
    /// Whether other instances are heard.
    let isListening: @LoopActor () -> Bool

    var routes: [Route] { [list] }

    private var list: Route {
        Route(
            .get,
            "/v1/admin/integrations",
            access: .role(.admin),
            summary: "What Redis is used for, and how each is now",
            description: "`active`, or `fallback` with what is done instead: each by what it "
                + "needs, of which every server is asked for this answer. Caches with their hits "
                + "and misses since the process began.",
            tag: "Operations",
            responses: [200: RouteResponse("The ten.", schema: Schemas.free)],
            handler: { _ in
                let coordinates = await answers(coordination)
                let keeps = await answers(caches)
                let degraded = Degradation.counts
                return .json([
                    "items": .array(
                        IntegrationRoutes.items.map { item in
                            let isThere =
                                switch item.needs {
                                case .coordination: coordinates
                                case .caches: keeps
                                case .fanout: coordinates && isListening()
                                }
                            return IntegrationRoutes.document(item, isThere, degraded)
                        }
                    )
                ])
            }
        )
    }

    private func answers(_ redis: RedisClient?) async -> Bool {
        guard let redis else { return false }
        return (try? await redis.sendToAll(["PING"])) != nil
    }

    private static func document(_ item: Item, _ isThere: Bool, _ degraded: [String: Int]) -> JSON {
        var document: JSONObject = [
            "name": .string(item.name), "status": isThere ? "active" : "fallback",
            "degraded_total": .int(Int64(degraded[item.operation] ?? 0)),
        ]
        if !isThere { document["instead"] = .string(item.without) }
        if let namespace = item.namespace {
            let metrics = CacheMetrics.of(namespace)
            document["hits"] = .int(Int64(metrics.hits.value))
            document["misses"] = .int(Int64(metrics.misses.value))
        }
        return .object(document)
    }
}
