internal import ArgumentParser
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform
internal import PostgresClient
internal import RedisClient
internal import Telemetry

/// `dispatch-worker rebuild-projection`: shows Redis again what PostgreSQL knows.
struct RebuildProjection: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebuild-projection",
        abstract: "Writes message requests that are open or ended in the last day into Redis."
    )

    /// Requests that are read and written at once.
    static let pageSize = 500

    @Option(help: "Only this tenant's.")
    var tenant: String?

    func run() throws {
        let tenant = tenant
        try EventLoop.run {
            let configuration = try DispatchConfiguration(noRedis: false)
            Telemetry.bootstrap(
                service: configuration.service.name,
                level: .init(rawValue: configuration.service.logLevel) ?? .info
            )
            let runtime = ServiceRuntime(configuration.service)
            try await runtime.postgres.start(waitingUpTo: ServiceRuntime.databaseWait)
            guard let redis = runtime.redis else {
                throw ValidationError("REDIS_MODE is disabled: there is nothing to rebuild")
            }
            try await redis.start()
            let queues = runtime.queueRedis ?? redis
            if queues !== redis { try await queues.start() }
            let buckets = TenantBuckets(queues, own: configuration.largeTenants)
            try await buckets.refresh()
            let count = try await RebuildProjection.rebuild(
                runtime.postgres,
                MessageRequestProjection(redis: redis, buckets: buckets),
                tenant
            )
            print("projected \(count) message requests")
            if queues !== redis { await queues.stop() }
            await redis.stop()
            await runtime.postgres.stop()
        }
    }

    /// Writes page by page, in the order of the keys; returns how many requests.
    @LoopActor
    static func rebuild(
        _ postgres: PostgresClient,
        _ projection: MessageRequestProjection,
        _ tenant: String?
    ) async throws -> Int {
        var count = 0
        var last: (tenant: UUID, id: UUID)?
        while true {
            let rows = try await postgres.query(
                """
                select m.tenant_id, m.id, m.tenant, dispatch.request_json(m, false) as answer
                  from dispatch.message_requests m
                 where (m.finished_at is null or m.finished_at > now() - interval '1 day')
                   and ($1::text is null or m.tenant = $1)
                   and ($2::uuid is null or (m.tenant_id, m.id) > ($2, $3::uuid))
                 order by m.tenant_id, m.id limit $4
                """,
                [
                    PostgresValue(tenant), PostgresValue(last?.tenant), PostgresValue(last?.id),
                    .int(pageSize),
                ],
                idempotent: true
            )
            var shown: [MessageRequestProjection.Shown] = []
            for row in rows {
                let id = try row.uuid("id")
                shown.append(
                    .init(
                        tenant: try row.string("tenant"),
                        id: id,
                        document: try JSON(stored: row)
                    )
                )
                last = (try row.uuid("tenant_id"), id)
            }
            try await projection.store(shown)
            count += rows.count
            if rows.count < pageSize { return count }
        }
    }
}
