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

    nonisolated static func key(_ tenant: String, _ id: UUID) -> String {
        "mr:projection:{\(tenant)}:\(id.text)"
    }

    /// Writes the document that the database answered.
    func store(
        _ tenant: String,
        _ id: UUID,
        document: JSON
    ) async throws(RedisError) {
        let key = MessageRequestProjection.key(tenant, id)
        _ = try await redis.transaction([
            [
                "HSET", .string(key), "generation", .int(document["generation"]?.intValue ?? 1),
                "status", .string(document["status"]?.stringValue ?? ""),
                "document", .bytes(document.serialized()),
            ],
            ["EXPIRE", .string(key), .int(MessageRequestProjection.openSeconds)],
        ])
    }

    /// Notes an outcome.
    func note(_ job: SendMessageJob, status: String, providerTS: String?) async throws(RedisError) {
        let key = MessageRequestProjection.key(job.tenant, job.messageRequestID)
        let isEnded = MessageRequestProjection.ended.contains(status)
        _ = try await redis.transaction([
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

    /// What the request says; nil when Redis does not have it, or not this generation.
    func content(_ job: SendMessageJob) async throws(RedisError) -> MessageContent? {
        let reply = try await redis.send([
            "HMGET", .string(MessageRequestProjection.key(job.tenant, job.messageRequestID)),
            "generation", "document",
        ])
        guard let values = reply.array, values.count == 2,
            values[0].integer == Int64(job.generation), let bytes = values[1].bytes,
            let document = try? JSON(parsing: bytes, limits: .foreign)
        else { return nil }
        return MessageContent(document)
    }
}
