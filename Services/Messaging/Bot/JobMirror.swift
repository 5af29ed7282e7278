internal import EventLoop
internal import FoundationEssentials
internal import Platform
internal import RedisClient
internal import Telemetry

/// The state of AI jobs in Redis for an hour, `job:ai:{tenant}:<id>`; the database's row is the truth.
@LoopActor
struct JobMirror {
    static let ttlSeconds: Int64 = 3600

    let redis: RedisClient?

    nonisolated static func key(_ tenant: String, _ job: UUID) -> String {
        "job:ai:{\(tenant)}:\(job.text)"
    }

    func show(_ work: JobWork, status: String) async {
        guard let redis else { return }
        let key = JobMirror.key(work.tenant, work.id)
        do {
            _ = try await redis.transaction([
                [
                    "HSET", .string(key), "status", .string(status), "conversation_id",
                    .string(work.conversationID.text), "attempts", .int(Int64(work.attempts)),
                    "consolidated_messages", .int(Int64(work.consolidated)),
                ],
                ["EXPIRE", .string(key), .int(JobMirror.ttlSeconds)],
            ])
        } catch {
            Degradation.note("ai_job_status")
        }
    }
}
