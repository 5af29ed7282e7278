internal import EventLoop
internal import HTTPServer
internal import JSON
internal import PostgresClient
internal import RedisClient
internal import Telemetry

/// `/healthz`, `/readyz`, `/health` and `/metrics`: the same for every service.
@LoopActor
struct OperationRoutes {
    let runtime: ServiceRuntime
    let health: @LoopActor () async -> JSONObject
    let readiness: @LoopActor () -> String?

    var routes: [Route] { [alive, ready, components, metrics] }

    private static let ok = Response.json(200, ["status": "ok"])

    private var alive: Route {
        Route(
            .get,
            "/healthz",
            summary: "The process is alive",
            tag: "Operations",
            responses: [200: RouteResponse("It is.", schema: ["type": "object"])],
            immediateHandler: { _ in OperationRoutes.ok }
        )
    }

    private var ready: Route {
        Route(
            .get,
            "/readyz",
            access: .open,
            summary: "The service can serve",
            tag: "Operations",
            responses: [
                200: RouteResponse("It can.", schema: ["type": "object"]),
                503: RouteResponse("Something that it needs is away.", schema: ["type": "object"]),
            ]
        ) { _ in
            let faults = faults()
            return .json(
                faults.isEmpty ? 200 : 503,
                [
                    "status": faults.isEmpty ? "ready" : "not_ready",
                    "reasons": .array(faults.map(JSON.string)),
                    "degraded_reasons": impairments,
                ]
            )
        }
    }

    /// What is away although the service serves without it.
    private var impairments: JSON {
        .array(runtime.redisClients.away(required: false).map(JSON.string))
    }

    private func faults() -> [String] {
        var faults: [String] = []
        if !runtime.postgres.isAvailable { faults.append("postgres is away") }
        faults += runtime.redisClients.away(required: true)
        if let reason = readiness() { faults.append(reason) }
        return faults
    }

    private var components: Route {
        Route(
            .get,
            "/health",
            access: .roleOrService(.viewer),
            summary: "Components, and what stands in when one is away",
            tag: "Operations",
            responses: [200: RouteResponse("Their state.", schema: ["type": "object"])]
        ) { _ in
            var document: JSONObject = [
                "service": .string(runtime.configuration.name),
                "version": .string(Schema.release),
                "schema_version": .int(Int64(Schema.version)),
                "uptime_s": .int((MonotonicTime.now() - runtime.startedAt).milliseconds / 1000),
                "status": faults().isEmpty ? "ready" : "not_ready",
                "reasons": .array(faults().map(JSON.string)),
                "degraded_reasons": impairments,
                "postgres": await postgres(),
                "redis": ["mode": "disabled", "connected": false],
                "degraded": .object(degraded()),
            ]
            for server in runtime.redisClients.servers {
                document[server.name] = await reading(of: server)
            }
            document["outbox"] = await HealthReadings.outbox(runtime)
            for (name, value) in await health().members { document[name] = value }
            return .json(200, .object(document))
        }
    }

    private func degraded() -> JSONObject {
        JSONObject(
            Degradation.counts.sorted { $0.key < $1.key }.map {
                ($0.key, JSON.int(Int64($0.value)))
            }
        )
    }

    private func postgres() async -> JSON {
        [
            "round_trip_ms": await HealthReadings.postgres(runtime),
            "connected": .bool(runtime.postgres.isAvailable),
            "server_version": .int(Int64(runtime.postgres.serverVersion)),
        ]
    }

    private func reading(of server: RedisClients.Server) async -> JSON {
        let redis = server.client
        let away = redis.nodesAway.map { JSON.string("\($0)") }
        return [
            "mode": .string(runtime.configuration.redis.mode.rawValue),
            "connected": .bool(redis.isConnected),
            "nodes_away": .array(away),
            "round_trip_ms": await HealthReadings.redis(redis),
            "server_version": JSON(redis.server?.version),
            "maxmemory_policy": JSON(redis.server?.maxMemoryPolicy),
            "pending_commands": .int(Int64(redis.readings.pending)),
        ]
    }

    private var metrics: Route {
        Route(
            .get,
            "/metrics",
            access: .open,
            summary: "Prometheus metrics",
            tag: "Operations",
            responses: [200: RouteResponse("The metrics.", contentType: "text/plain")]
        ) { _ in
            Response(
                contentType: "text/plain; version=0.0.4; charset=utf-8",
                body: .bytes(PrometheusRegistry.shared.exposition())
            )
        }
    }
}
