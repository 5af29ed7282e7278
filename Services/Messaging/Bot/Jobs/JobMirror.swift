internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import RedisClient
internal import Telemetry

/// The state of AI jobs in Redis for an hour, `job:ai:{tenant}:<id>`.
///
/// The database's row is the truth and what is asked first; this answers while the database is away,
/// and for jobs that were made meanwhile. Only those keep their result here, for there is no row.
@LoopActor
struct JobMirror {
    static let ttlSeconds: Int64 = 3600

    let redis: RedisClient?

    nonisolated static func key(_ tenant: String, _ job: UUID) -> String {
        "job:ai:{\(tenant)}:\(job.text)"
    }

    /// Shows members of a job's document; those that it showed before stay.
    func show(_ tenant: String, _ job: UUID, _ members: JSONObject) async {
        guard let redis else { return }
        let key = JobMirror.key(tenant, job)
        var command: [RedisArgument] = ["HSET", .string(key)]
        for (name, value) in members.members {
            command += [.string(name), .string(value.text)]
        }
        do {
            _ = try await redis.transaction([
                command, ["EXPIRE", .string(key), .int(JobMirror.ttlSeconds)],
            ])
        } catch {
            Degradation.note("ai_job_status")
        }
    }

    /// The document of a job; `nil` when none is shown or Redis does not answer.
    func find(_ tenant: String, _ job: UUID) async -> JSONObject? {
        guard let redis else { return nil }
        do {
            let reply = try await redis.send(["HGETALL", .string(JobMirror.key(tenant, job))])
            guard let words = reply.array, !words.isEmpty else { return nil }
            var document: JSONObject = ["id": .string(job.text)]
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                guard let name = words[index].text, let text = words[index + 1].text else {
                    continue
                }
                document[name] = (try? JSON(parsing: Array(text.utf8), limits: .foreign)) ?? .null
            }
            return document
        } catch {
            Degradation.note("ai_job_status")
            return nil
        }
    }

    /// A shown job whose process gave no sign of life in time has expired.
    static func withoutGhost(_ shown: JSONObject) -> JSONObject {
        var job = shown
        if let until = shown["alive_until"]?.intValue, until < WallClock.milliseconds(),
            shown["status"] == "processing"
        {
            job["status"] = "expired"
            job["error"] = "the process that worked on it gave no sign of life"
        }
        job["alive_until"] = nil
        job["cancel_requested"] = nil
        return job
    }
}
