internal import Coordination
internal import EventLoop
internal import Platform
internal import RedisClient

/// The settings of the assignment engine.
struct Configuration: Sendable {
    let common: ServiceConfiguration
    /// What a round-robin run does when Redis fails after start-up.
    let roundRobinFallback: RoundRobinRuntimeFallback
    /// How long an agent is present after a sign of life.
    let presence: Duration
    /// How long a reported event rests with a process that fell silent before another counts it.
    let claimIdle: Duration

    /// Reads the environment.
    ///
    /// - Throws: `SettingsError` with everything that is missing or malformed.
    init(_ settings: Settings) throws(SettingsError) {
        var settings = settings
        roundRobinFallback = settings.choice(
            "RR_RUNTIME_FALLBACK",
            default: RoundRobinRuntimeFallback.off
        )
        presence = settings.milliseconds("PRESENCE_TTL_MS", default: 90_000)
        claimIdle = settings.milliseconds("REPORTS_CLAIM_IDLE_MS", default: 60_000)
        common = try ServiceConfiguration(
            name: "assignment-engine",
            defaultPort: 8082,
            redisDefault: .optional,
            settings: &settings
        )
    }
}
