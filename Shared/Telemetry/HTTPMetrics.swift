public import EventLoop

/// What a server tells about its requests: their times by route, method and status, and how many
/// are being worked on.
@LoopActor
public final class HTTPMetrics {
    private struct Key: Hashable {
        let route: String
        let method: String
        let status: Int
    }

    private static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    ]

    private let registry: PrometheusRegistry
    private let inFlight: PrometheusGauge
    private var durations: [Key: PrometheusHistogram] = [:]

    /// Metrics in `registry`.
    public init(registry: PrometheusRegistry = .shared) {
        self.registry = registry
        inFlight = registry.gauge("http_requests_in_flight", "Requests being worked on.")
    }

    /// A request's head has been read.
    public func begin() {
        inFlight.add(1)
    }

    /// The request was answered, or its client went away.
    ///
    /// `route` is the pattern that matched, never the path: anybody can make up paths. Its handle
    /// is looked up once and kept.
    public func end(method: String, route: String, status: Int, took: Duration) {
        inFlight.add(-1)
        let key = Key(
            route: route,
            method: HTTPMetrics.methods.contains(method) ? method : "other",
            status: status
        )
        if let known = durations[key] { return known.observe(took) }
        let made = registry.histogram(
            "http_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            [
                "route": route, "method": key.method,
                "status": (100...599).contains(status) ? String(status) : "other",
            ]
        )
        made.observe(took)
        guard durations.count < PrometheusRegistry.seriesPerMetricMax else { return }
        durations[key] = made
    }
}
