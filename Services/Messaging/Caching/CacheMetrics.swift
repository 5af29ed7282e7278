internal import EventLoop
internal import Telemetry

/// How often a cache was asked, and how often it knew.
@LoopActor
final class CacheMetrics {
    private static var known: [String: CacheMetrics] = [:]

    /// What is counted of a namespace.
    static func of(_ namespace: String) -> CacheMetrics {
        if let metrics = known[namespace] { return metrics }
        let metrics = CacheMetrics(namespace)
        known[namespace] = metrics
        return metrics
    }

    let hits: PrometheusCounter
    let misses: PrometheusCounter
    /// Another's look was waited for.
    let shared: PrometheusCounter
    /// The cache could not be asked.
    let off: PrometheusCounter

    private init(_ namespace: String) {
        func counter(_ result: String) -> PrometheusCounter {
            PrometheusRegistry.shared.counter(
                "cache_requests_total",
                "Looks into caches, by namespace and result.",
                ["ns": namespace, "result": result]
            )
        }
        hits = counter("hit")
        misses = counter("miss")
        shared = counter("shared")
        off = counter("off")
    }
}
