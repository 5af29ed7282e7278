internal import EventLoop
internal import Platform

/// How the bot works; every span is a setting, so that tests can scale it.
struct BotSettings: Sendable {
    /// How long a worker's claim of a job holds without a sign of life.
    let lease: Duration
    /// Between two signs of life; a quarter of the lease unless set.
    let heartbeat: Duration
    /// The pause before the second try; it doubles.
    let retryPause: Duration
    /// Between two sweeps for jobs whose worker died.
    let sweepInterval: Duration
    /// How long a conversation may wait without a job before the sweep makes one.
    let idle: Duration
    /// Answers in a row that newer messages may supersede; the next one is posted as stale.
    let supersedesMax: Int
    /// Attempts of a job: the first and two retries.
    let attemptsMax = 3
    /// How long a bot's configuration is believed without looking.
    let configurationFresh: Duration
    /// How long it is believed while the database is away, and remembered when nobody asks for it.
    let configurationStale: Duration

    init(_ settings: inout Settings) {
        lease = settings.milliseconds("AI_JOB_LEASE_MS", default: 20_000)
        heartbeat = settings.milliseconds(
            "AI_JOB_HEARTBEAT_MS",
            default: Int(max(1, lease.milliseconds / 4))
        )
        retryPause = settings.milliseconds("AI_JOB_RETRY_MS", default: 500)
        sweepInterval = settings.milliseconds("AI_JOB_SWEEP_MS", default: 5_000)
        idle = settings.milliseconds("AI_JOB_IDLE_MS", default: 5_000)
        supersedesMax = settings.integer("MAX_SUPERSEDES", default: 2, in: 0...100)
        configurationFresh = settings.milliseconds("BOT_CONFIG_FRESH_MS", default: 60_000)
        configurationStale = settings.milliseconds("BOT_CONFIG_STALE_MS", default: 600_000)
        if heartbeat * 2 > lease {
            settings.note("AI_JOB_HEARTBEAT_MS must be at most half of AI_JOB_LEASE_MS")
        }
    }
}

/// The pause before a job's next try.
enum RetryPause {
    /// The longest pause of our own.
    static let longest: Duration = .seconds(8)

    /// `base` doubled with each attempt so far, cut at ``longest``, times 0.75 to 1; at least what
    /// the provider asks for.
    static func after(
        attempts: Int,
        base: Duration,
        asked: Duration?,
        jitter: Double
    ) -> Duration {
        let doubled = base * (1 << min(max(0, attempts - 1), 10))
        let own = min(doubled, longest) * (0.75 + 0.25 * jitter)
        return max(own, asked ?? .zero)
    }
}
