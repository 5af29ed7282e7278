internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import RedisClient

/// Accepted requests as Redis shows them: what to say, and what became of it.
///
/// A copy, not the truth.
@LoopActor
struct MessageRequestProjection {
    /// How long a request is shown after its end.
    static let endedSeconds: Int64 = 86_400
    /// How long one is shown that never ended.
    static let openSeconds: Int64 = 604_800
    private static let ended: Set<String> = ["sent", "failed", "cancelled", "expired"]

    let redis: RedisClient
    let buckets: TenantBuckets

    nonisolated static func key(_ tag: String, _ id: UUID) -> String {
        "mr:projection:{\(tag)}:\(id.text)"
    }

    private func key(of tenant: String, _ id: UUID) -> String {
        MessageRequestProjection.key(buckets.tag(tenant, id), id)
    }

    /// A request as the database showed it.
    struct Shown: Sendable {
        let tenant: String
        let id: UUID
        let document: JSON
    }

    /// Writes what the database answered.
    func store(_ requests: [Shown]) async throws(RedisError) {
        _ = try await redis.pipeline(
            requests.flatMap { request -> [[RedisArgument]] in
                let key = key(of: request.tenant, request.id)
                let document = request.document
                return [
                    [
                        "HSET", .string(key), "generation",
                        .int(document["generation"]?.intValue ?? 1), "status",
                        .string(document["status"]?.stringValue ?? ""), "document",
                        .bytes(document.serialized()),
                    ],
                    ["EXPIRE", .string(key), .int(MessageRequestProjection.openSeconds)],
                ]
            }
        )
    }

    /// Notes an outcome.
    func note(_ job: MessageReference, status: String, providerTS: String?) async throws(RedisError)
    {
        let key = key(of: job.tenant, job.messageRequestID)
        let isEnded = MessageRequestProjection.ended.contains(status)
        _ = try await redis.pipeline([
            [
                "HSET", .string(key), "status", .string(status), "provider_ts",
                .string(providerTS ?? ""),
            ],
            [
                "EXPIRE", .string(key),
                .int(
                    isEnded
                        ? MessageRequestProjection.endedSeconds
                        : MessageRequestProjection.openSeconds
                ),
            ],
        ])
    }

    /// What the request says and in which generation; nil when Redis does not have it.
    func content(
        _ tenant: String,
        _ id: UUID
    ) async throws(RedisError) -> (generation: Int, content: MessageContent)? {
        let reply = try await redis.send([
            "HMGET", .string(key(of: tenant, id)), "generation", "document",
        ])
        guard let values = reply.array, values.count == 2, let generation = values[0].integer,
            let bytes = values[1].bytes,
            let document = try? JSON(parsing: bytes, limits: .foreign)
        else { return nil }
        return (Int(generation), MessageContent(document))
    }
}
