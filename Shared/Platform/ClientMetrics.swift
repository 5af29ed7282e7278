internal import EventLoop
internal import HTTPClient
internal import PostgresClient
internal import RedisClient
internal import Telemetry

/// What a process's clients hold at the moment, and what they refused: a pool that is too small shows
/// here before its callers time out.
@LoopActor
enum ClientMetrics {
    static func register(postgres: PostgresClient, redis: RedisClients, http: HTTPClient) {
        show(postgres)
        for server in redis.servers { show(server.client, named: server.name) }
        show(http)
    }

    private static func show(_ postgres: PostgresClient) {
        let registry = PrometheusRegistry.shared
        let gauges: [(String, String, @LoopActor (PostgresStatistics) -> Int)] = [
            ("postgres_pool_connected", "Connections of the pool that are up.", { $0.poolLive }),
            (
                "postgres_pool_in_use", "Connections of the pool that somebody has.",
                { $0.poolLeased }
            ),
            ("postgres_pool_waiting", "Callers that wait for a connection.", { $0.poolWaiting }),
            (
                "postgres_readers_connected", "Connections for reads that are up.",
                { $0.readersLive }
            ),
            ("postgres_reads_in_flight", "Reads that have no answer yet.", { $0.readsInFlight }),
        ]
        for (name, help, value) in gauges {
            registry.sample(name, help) { Double(value(postgres.statistics)) }
        }
        let counters: [(String, String, @LoopActor (PostgresStatistics) -> Int)] = [
            (
                "postgres_pool_exhausted_total",
                "Callers refused because no connection came free in time.", { $0.poolExhausted }
            ),
            (
                "postgres_transaction_retries_total",
                "Transactions that were run again.", { $0.transactionRetries }
            ),
            (
                "postgres_read_retries_total",
                "Reads sent again because their connection was lost.", { $0.readsRetried }
            ),
        ]
        for (name, help, value) in counters {
            registry.sample(name, help, as: .counter) {
                Double(value(postgres.statistics))
            }
        }
    }

    private static func show(_ redis: RedisClient, named server: String) {
        let registry = PrometheusRegistry.shared
        registry.sample(
            "redis_commands_pending",
            "Commands that have no answer yet.",
            ["server": server]
        ) { Double(redis.readings.pending) }
        let counters: [(String, String, @LoopActor (RedisReadings) -> Int)] = [
            ("redis_commands_total", "Commands sent.", { $0.commands }),
            ("redis_deadlines_total", "Commands without an answer in time.", { $0.deadlines }),
            (
                "redis_refusals_total",
                "Commands refused because too many were waiting.", { $0.refusals }
            ),
            ("redis_connections_total", "Connections that came up.", { $0.connections }),
        ]
        for (name, help, value) in counters {
            registry.sample(name, help, as: .counter, ["server": server]) {
                Double(value(redis.readings))
            }
        }
    }

    private static func show(_ http: HTTPClient) {
        let registry = PrometheusRegistry.shared
        registry.sample("http_client_in_flight", "Outgoing requests under way.") {
            Double(http.readings.inFlight)
        }
        registry.sample("http_client_waiting", "Outgoing requests that wait for a place.") {
            Double(http.readings.waiting)
        }
    }
}
