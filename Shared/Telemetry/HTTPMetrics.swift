public import EventLoop

/// What a server tells about its requests: their times by route, method and status.
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
    private var durations: [Key: PrometheusHistogram] = [:]

    /// Metrics in `registry`.
    public init(registry: PrometheusRegistry = .shared) {
        self.registry = registry
    }

    /// Where the times of such answers go; a caller that keeps it saves a look by names.
    ///
    /// `route` is the pattern that matched, never the path: anybody can make up paths.
    public func durations(method: String, route: String, status: Int) -> PrometheusHistogram {
        let key = Key(
            route: route,
            method: HTTPMetrics.methods.contains(method) ? method : "other",
            status: status
        )
        if let known = durations[key] { return known }
        let made = registry.histogram(
            "http_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            [
                "route": route, "method": key.method,
                "status": (100...599).contains(status) ? String(status) : "other",
            ]
        )
        if durations.count < PrometheusRegistry.seriesPerMetricMax { durations[key] = made }
        return made
    }
}
