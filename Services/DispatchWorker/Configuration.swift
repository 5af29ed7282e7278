internal import EventLoop
internal import Platform
internal import RedisClient

/// What the dispatcher is told by its environment.
struct DispatchConfiguration: Sendable {
    /// What all services are told.
    let service: ServiceConfiguration
    /// How many messages are being sent at once.
    let concurrency: Int
    /// How long an attempt owns its request unless it is renewed.
    let sendLease: Duration
    /// How often all that is overdue is gone through for jobs that Redis has lost.
    let sweepInterval: Duration
    /// How long a post may take: a third of the lease, and 20 s at most.
    var sendTimeout: Duration { min(.seconds(20), sendLease / SendAttemptRunner.startsPerLease) }
    /// Tenants whose keys are spread over a cluster's nodes; see ``TenantBuckets``.
    let largeTenants: Set<String>
    /// Slack's Web API, for workspaces that name no other.
    let slackBaseURL: String

    /// Reads the process's environment.
    ///
    /// - Parameter noRedis: `--no-redis`, the same as `REDIS_MODE=disabled`.
    init(noRedis: Bool) throws(SettingsError) {
        var environment = Settings.ofProcess().environment
        if noRedis { environment["REDIS_MODE"] = "disabled" }
        try self.init(settings: Settings(environment: environment))
    }

    /// Reads `settings`; every fault is named at once.
    init(settings: Settings) throws(SettingsError) {
        var settings = settings
        concurrency = settings.integer("DISPATCH_CONCURRENCY", default: 16, in: 1...256)
        sendLease = settings.milliseconds(
            "SEND_LEASE_MS",
            default: Int(SendRepository.leaseDefault.milliseconds)
        )
        sweepInterval = settings.milliseconds("DISPATCH_SWEEP_MS", default: 30_000)
        largeTenants = DispatchConfiguration.largeTenants(&settings)
        slackBaseURL = settings.optional("SLACK_API_BASE_URL") ?? "https://slack.com/api"
        service = try ServiceConfiguration(
            name: "dispatch-worker",
            defaultPort: 8083,
            redisDefault: .required,
            settings: &settings
        )
    }

    private static func largeTenants(_ settings: inout Settings) -> Set<String> {
        let name = "DISPATCH_LARGE_TENANTS"
        let codes = (settings.optional(name) ?? "").split(separator: ",").map {
            String($0.filter { $0 != " " })
        }
        for code in codes where code.wholeMatch(of: /[a-z0-9][a-z0-9_.-]{0,62}/) == nil {
            settings.note("\(name) has '\(code)', which is no tenant's code")
        }
        if codes.count > TenantBuckets.tenantsMax {
            settings.note("\(name) names more than \(TenantBuckets.tenantsMax) tenants")
        }
        return Set(codes)
    }
}
