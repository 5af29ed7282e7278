internal import EventLoop
internal import Telemetry

/// What the dispatcher counts.
@LoopActor
struct SendMetrics {
    private let registry = PrometheusRegistry.shared
    private let unknown = PrometheusRegistry.shared.counter(
        "dispatch_unknown_total",
        "Attempts of which nobody knows whether they sent."
    )
    private let took = PrometheusRegistry.shared.histogram(
        "dispatch_send_seconds",
        "Time that the provider took to answer."
    )
    private let skipped = PrometheusRegistry.shared.counter(
        "dispatch_skipped_total",
        "Events of requests that were dispatched already."
    )

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

    /// Counts leases that ran out.
    func expiredLeases(_ count: Int) {
        unknown.increment(by: Double(count))
    }

    /// Counts a dispatch that was not needed.
    func dispatchSkipped() {
        skipped.increment()
    }
}
