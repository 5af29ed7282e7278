import EventLoop
import HTTPServer
import JSON
import Logging
import Platform
import PostgresClient
import RedisClient
import Telemetry

/// A service with two routes, each one round trip to one store, and nothing else: what is measured
/// is the floor that the real services stand on.
///
/// `GET /incr` does one INCR, `GET /items/{id}` one prepared SELECT by key.
@main
enum BenchServer {
    static func main() throws {
        try EventLoop.run {
            var settings = Settings.ofProcess()
            let configuration = try ServiceConfiguration(
                name: "bench-server",
                defaultPort: 0,
                redisDefault: .required,
                settings: &settings
            )
            Telemetry.bootstrap(service: configuration.name, level: .info)
            let runtime = ServiceRuntime(configuration)
            try await runtime.start()
            guard let redis = runtime.redis else { throw SettingsError(["a Redis is needed"]) }
            try await runtime.serve(
                BenchRoutes(redis: redis, postgres: runtime.postgres).routes,
                title: "Bench server"
            )
        }
    }
}

/// The two routes; open, because what is compared with them checks no key either.
@LoopActor
struct BenchRoutes {
    let redis: RedisClient
    let postgres: PostgresClient

    var routes: [Route] { [incr, item] }

    private var incr: Route {
        Route(
            .get,
            "/incr",
            access: .open,
            summary: "One INCR",
            responses: [200: RouteResponse("The new count.", schema: ["type": "object"])]
        ) { _ in
            let count = try await redis.send(["INCR", "bench:counter"])
            var answer = JSONWriter(capacity: 64)
            answer.beginObject()
            answer.key("count")
            answer.value(count.integer)
            answer.endObject()
            return .json(answer)
        }
    }

    private var item: Route {
        Route(
            .get,
            "/items/{id}",
            access: .open,
            summary: "One SELECT by key",
            responses: [200: RouteResponse("The item.", schema: ["type": "object"])]
        ) { request in
            guard let id = Int(request.parameters["id"]) else { throw Problem.notFound }
            let rows = try await postgres.read(
                "select value from bench.items where id = $1",
                [.int(id)]
            )
            guard let row = rows.first else { throw Problem.notFound }
            var answer = JSONWriter(capacity: 64)
            answer.beginObject()
            answer.key("value")
            answer.value(try row.string("value"))
            answer.endObject()
            return .json(answer)
        }
    }
}
