internal import JSON

/// What becomes of an operation while Redis is away, where there is a choice.
enum RedisPolicy: String, Sendable, CaseIterable {
    /// It goes on without: the database keeps things single.
    case proceed
    /// It waits until Redis is back.
    case refuse
}

extension MessagingConfiguration {
    /// What becomes of each operation while Redis is away, as `/health` shows it.
    var redisPolicies: JSON {
        [
            "message_lock": .string(lockPolicy.rawValue),
            "rate_limit": .string(ratePolicy.rawValue),
            "conversation_lock": "postgres", "ai_job_status": "postgres", "caches": "postgres",
            "sessions": "postgres", "presence": "last_known", "realtime": "own_sockets",
            "events": "wait_in_outbox",
        ]
    }
}
