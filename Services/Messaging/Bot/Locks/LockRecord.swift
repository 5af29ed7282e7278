internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON

/// Who holds the lock of a conversation, as far as anybody needs to know.
struct LockInfo: Sendable {
    let lockID: String
    let job: String?
    let holder: String?
    let age: Duration
    /// How long the shared store still shows it; `nil` where only the database's lease is known.
    let remaining: Duration?
    let pendingCount: Int

    var document: JSON {
        [
            "locked": true, "lock_id": .string(lockID), "holder": JSON(holder),
            "age_ms": .int(age.milliseconds),
            "ttl_ms": JSON(remaining.map(\.milliseconds)),
            "ai_job_id": JSON(job), "pending_count": .int(Int64(pendingCount)),
        ]
    }
}

/// What a lock's record says: ids and times, and nothing of the conversation.
struct LockRecord: Sendable, Hashable {
    let lockID: String
    let instance: String
    var job: String?
    let takenAt: Int64

    var text: String {
        var writer = JSONWriter(capacity: 128)
        writer.beginObject()
        writer.member("t", lockID)
        writer.member("o", instance)
        writer.member("j", JSON(job))
        writer.member("at", takenAt)
        writer.endObject()
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    init(lockID: String, instance: String, job: String?, takenAt: Int64) {
        self.lockID = lockID
        self.instance = instance
        self.job = job
        self.takenAt = takenAt
    }

    /// Reads a record; `nil` when it is none of ours.
    init?(_ text: String) {
        guard let document = try? JSON(parsing: Array(text.utf8)),
            let lockID = document["t"]?.stringValue, let instance = document["o"]?.stringValue,
            let takenAt = document["at"]?.intValue
        else { return nil }
        self.init(
            lockID: lockID,
            instance: instance,
            job: document["j"]?.stringValue,
            takenAt: takenAt
        )
    }
}

/// A lock's record where everybody sees it.
struct ShownLock: Sendable {
    let conversation: UUID
    let key: String
    let value: String
    let record: LockRecord

    var age: Duration { .milliseconds(max(0, WallClock.milliseconds() - record.takenAt)) }

    /// As administrators see one whose job is not there.
    var document: JSON {
        [
            "conversation_id": .string(conversation.text), "lock_id": .string(record.lockID),
            "holder": .string(record.instance), "ai_job_id": JSON(record.job),
            "job_status": nil, "pending_count": 0, "age_ms": .int(age.milliseconds),
            "heartbeat_age_ms": nil, "orphaned": true,
        ]
    }
}
