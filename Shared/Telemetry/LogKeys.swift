/// The metadata that may appear in a log line.
///
/// Everything else is dropped and counted: a name that nobody has thought about may carry what a
/// person wrote. Nothing here is ever the text of a message.
public enum LogKeys {
    /// The request that an entry belongs to; these come first in a line.
    public static let context = ["request_id", "tenant", "route"]

    /// All other keys.
    public static let details: Set<String> = [
        // What was done, to what, with which outcome.
        "op", "operation", "action", "outcome", "status", "state", "code", "kind", "reason",
        "error",
        "detail", "attempt", "attempts", "count", "total", "limit", "size_bytes", "took_ms",
        "retry_after_ms", "delay_ms", "age_ms", "ttl_ms", "lag_ms", "suppressed", "event", "method",
        "path", "peer", "trace_id", "span_id", "parent_id", "role", "key_id", "dry_run", "policy",
        "degraded",
        // What it was done to.
        "job_id", "ai_job_id", "lock_id", "message_id", "message_request_id", "conversation_id",
        "thread_id", "session_id", "agent_id", "team_id", "inbox_id", "contact_id", "channel_code",
        "workspace_code", "template_code", "event_id", "bot_id", "core_ai_id", "platform_id",
        "dispatch_id", "decision_id", "import_id", "schedule_id", "connection_id", "socket_id",
        "queue", "stream", "group", "consumer", "partition", "cursor", "seq", "fence", "provider",
        "model", "context_key",
        // Around the process.
        "host", "port", "address", "version", "service", "instance", "signal", "setting", "file",
        "migration", "database", "mode", "sql_state", "constraint", "errno", "database_time_ms",
        "breaker", "pool", "component", "pid", "url",
    ]
}
