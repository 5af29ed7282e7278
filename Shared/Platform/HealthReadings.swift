internal import EventLoop
internal import JSON
internal import PostgresClient
internal import RedisClient

/// What `/health` measures when it is asked; null where there was no answer.
@LoopActor
enum HealthReadings {
    /// Pending rows of the outbox are counted up to here.
    static let outboxCountMax: Int64 = 10_000

    /// How long PostgreSQL takes to answer, in milliseconds.
    static func postgres(_ runtime: ServiceRuntime) async -> JSON {
        guard runtime.postgres.isAvailable else { return .null }
        return await milliseconds { _ = try await runtime.postgres.query("select 1 as one") }
    }

    /// How long Redis takes to answer, in milliseconds; of a cluster its slowest node.
    static func redis(_ redis: RedisClient) async -> JSON {
        guard redis.isConnected else { return .null }
        return await milliseconds { _ = try await redis.sendToAll(["PING"]) }
    }

    /// What the service has not delivered yet, and for how long the oldest of it has waited.
    static func outbox(_ runtime: ServiceRuntime) async -> JSON {
        guard runtime.postgres.isAvailable,
            let row = try? await runtime.postgres.query(
                """
                select count(*) pending,
                  coalesce(extract(epoch from now() - min(created_at)), 0)::float8 oldest_s,
                  (select count(*) from platform.outbox
                    where source = $1 and laid_aside_at is not null) laid_aside
                from (select created_at from platform.outbox
                  where source = $1 and published_at is null and laid_aside_at is null
                  limit $2) waiting
                """,
                [.string(runtime.configuration.name), .int(outboxCountMax)]
            ).one(),
            let pending = try? row.int64("pending"), let oldest = try? row.double("oldest_s"),
            let laidAside = try? row.int64("laid_aside")
        else { return .null }
        return [
            "pending": .int(pending), "oldest_s": .double(oldest), "laid_aside": .int(laidAside),
        ]
    }

    private static func milliseconds(_ call: @LoopActor () async throws -> Void) async -> JSON {
        let began = MonotonicTime.now()
        guard (try? await call()) != nil else { return .null }
        return .double((MonotonicTime.now() - began).inSeconds * 1000)
    }
}
