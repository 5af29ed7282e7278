internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import RedisClient

/// The settings of messaging.
struct MessagingConfiguration: Sendable {
    /// What all services have.
    let service: ServiceConfiguration
    /// The name of this process.
    let instance = "messaging-\(UUID().text.prefix(8))"
    /// How assignments of a room are counted.
    let rateAlgorithm: RateLimitAlgorithm
    /// How long an assignment counts.
    let rateWindow: Duration
    /// How many assignments a room may have in a window.
    let rateLimit: Int
    /// How long the bot waits for the next message of a burst; 0 answers each at once.
    let debounce: Duration
    /// How long a burst may put the bot's answer off.
    let debounceMax: Duration
    /// So many messages of a burst are answered at once.
    let debounceCount: Int
    /// How long the lock of a message's assignment lasts.
    let messageLock: Duration
    /// How long the lock of a conversation lasts unless renewed.
    let conversationLock: Duration
    /// How the bot works.
    let bot: BotSettings

    /// How often an instance looks for events that no wake-up told of.
    let livePoll: Duration

    /// How long a sign of life of a user's connection is good for.
    let userPresence: Duration

    /// How long a user must have come or gone before it is told.
    let presenceGrace: Duration
    /// How long a list of messages is kept in the cache.
    let messageCache: Duration
    /// What the Redis of caches may use before they stop writing, in MiB; 0: a share of its limit.
    let cacheMegabytes: Int
    /// What becomes of the lock of a message while Redis is away.
    let lockPolicy: RedisPolicy
    /// What becomes of the limit of a room while Redis is away.
    let ratePolicy: RedisPolicy

    /// For how long a process has a job of assignment without a sign of life.
    let assignmentLease: Duration

    /// Proves that an event comes from Slack; `nil` where every workspace has a secret of its own.
    let slackSigning: Secret?

    /// Reads the settings.
    ///
    /// - Throws: `SettingsError` with everything that is wrong.
    init(settings: Settings) throws(SettingsError) {
        var settings = settings
        rateAlgorithm = settings.choice("RATE_LIMIT_ALGORITHM", default: .slidingLog)
        rateWindow = settings.milliseconds("RATE_LIMIT_WINDOW_MS", default: 60_000)
        rateLimit = settings.integer(
            "MAX_ASSIGNMENTS_PER_WINDOW",
            default: 10,
            in: 1...1_000_000
        )
        debounce = settings.milliseconds("DEBOUNCE_MS", default: 1500, in: 0...60_000)
        debounceMax = settings.milliseconds("DEBOUNCE_MAX_MS", default: 10_000, in: 0...600_000)
        debounceCount = settings.integer("DEBOUNCE_COUNT", default: 10, in: 1...1000)
        messageLock = settings.milliseconds("MESSAGE_LOCK_MS", default: 30_000)
        conversationLock = settings.milliseconds("CONVERSATION_LOCK_MS", default: 300_000)
        livePoll = settings.milliseconds("LIVE_POLL_MS", default: 1000, in: 10...60_000)
        bot = BotSettings(&settings)
        presenceGrace = settings.milliseconds(
            "PRESENCE_GRACE_MS",
            default: 60_000,
            in: 0...3_600_000
        )
        messageCache = settings.milliseconds(
            "MESSAGE_CACHE_MS",
            default: 150_000,
            in: 120_000...180_000
        )
        cacheMegabytes = settings.integer("CACHE_MEMORY_MB", default: 0, in: 0...1_000_000)
        lockPolicy = settings.choice("MESSAGE_LOCK_WITHOUT_REDIS", default: .proceed)
        ratePolicy = settings.choice("RATE_LIMIT_WITHOUT_REDIS", default: .proceed)
        assignmentLease = settings.milliseconds(
            "ASSIGNMENT_JOB_LEASE_MS",
            default: 10_000,
            in: 200...600_000
        )
        slackSigning = settings.optional("SLACK_SIGNING_SECRET").map { Secret($0) }
        userPresence = settings.milliseconds(
            "USER_PRESENCE_TTL_MS",
            default: 90_000,
            in: 100...3_600_000
        )
        service = try ServiceConfiguration(
            name: "messaging",
            defaultPort: 8081,
            redisDefault: .optional,
            settings: &settings
        )
    }
}
