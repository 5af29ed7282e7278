internal import EventLoop
internal import Telemetry

/// What the dispatcher counts.
@LoopActor
struct SendMetrics {
    /// Bounds of waits, in seconds: 10 ms to an hour.
    static let waits: [Double] = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600]

    private let registry = PrometheusRegistry.shared
    private let unknown = PrometheusRegistry.shared.counter(
        "dispatch_unknown_total",
        "Attempts of which nobody knows whether they sent."
    )
    private let took = PrometheusRegistry.shared.histogram(
        "dispatch_send_seconds",
        "Time that the provider took to answer."
    )
    private let waited = PrometheusRegistry.shared.histogram(
        "dispatch_wait_seconds",
        "Time from when a message was due to the beginning of its attempt.",
        buckets: SendMetrics.waits
    )
    private let skipped = PrometheusRegistry.shared.counter(
        "dispatch_skipped_total",
        "Events of requests that were dispatched already."
    )

    private let refusedWorkspaces = PrometheusRegistry.shared.counter(
        "dispatch_workspace_refused_total",
        "Workspaces that were paused because their token or rights do not suffice."
    )
    /// All are there from the start, at 0: an increase from nothing is none to Prometheus.
    private let attention: [Attention: PrometheusCounter] = Dictionary(
        uniqueKeysWithValues: Attention.allCases.map { attention in
            let counter = PrometheusRegistry.shared.counter(
                "dispatch_needs_attention_total",
                "What a person should look at, by what it is.",
                ["code": attention.rawValue]
            )
            return (attention, counter)
        }
    )

    /// Counts what a person should look at.
    func needs(_ what: Attention) {
        attention[what]?.increment()
    }

    /// Counts an attempt by what came of it.
    func ended(_ status: String, _ provider: Provider, took time: Duration) {
        registry.counter(
            "dispatch_attempts_total",
            "Attempts, by the state that they led to.",
            ["status": status, "provider": provider.rawValue]
        ).increment()
        took.observe(time)
        if status == "unknown" { unknown.increment() }
    }

    /// Counts an attempt that begins, by how long its message has been due.
    func began(after wait: Duration) { waited.observe(wait) }

    /// Counts a limit that the provider told us of.
    func limited() {
        registry.counter("dispatch_rate_limited_total", "429 answers of providers.").increment()
    }

    /// Counts a workspace that began to refuse us.
    func workspaceRefused() {
        refusedWorkspaces.increment()
    }

    /// Shows how many requests are in each state, by bucket of tenants, and how old the oldest one is
    /// that is due.
    func queue(_ counts: [SendRepository.StateCount], oldest: Duration) {
        for count in counts {
            registry.gauge(
                "dispatch_jobs",
                "Requests that have not ended, by state and by the last digit of the tenant's id; "
                    + "100,000 at most.",
                ["state": count.state, "tenant_bucket": count.tenantBucket]
            ).set(count.count)
        }
        registry.gauge(
            "dispatch_oldest_due_seconds",
            "Age of the oldest request that is due."
        ).set(oldest.inSeconds)
    }

    /// Counts leases that ran out.
    func expiredLeases(_ count: Int) {
        unknown.increment(by: Double(count))
    }

    /// Counts a dispatch that was not needed.
    func dispatchSkipped() {
        skipped.increment()
    }

    /// Counts jobs that Redis had lost.
    func requeued(_ count: Int) {
        registry.counter(
            "dispatch_jobs_requeued_total",
            "Jobs of due requests that were not in Redis."
        ).increment(by: Double(count))
    }
}
