internal import EventLoop
internal import Telemetry

/// How often caches were asked, and how often they knew.
@LoopActor
enum CacheMetrics {
    private struct Key: Hashable {
        let namespace: String
        let result: String
    }

    private static var counters: [Key: PrometheusCounter] = [:]

    /// Counts a look into the cache of a namespace.
    static func count(_ namespace: String, isHit: Bool) {
        count(namespace, isHit ? "hit" : "miss")
    }

    /// Counts a look with this result: `hit`, `miss`, or `shared` when another's answer was waited
    /// for.
    static func count(_ namespace: String, _ result: String) {
        let key = Key(namespace: namespace, result: result)
        if let known = counters[key] { return known.increment() }
        let counter = PrometheusRegistry.shared.counter(
            "cache_requests_total",
            "Looks into caches, by namespace and result.",
            ["ns": namespace, "result": result]
        )
        counters[key] = counter
        counter.increment()
    }

    /// How often a look had this result since the process began.
    static func total(_ namespace: String, _ result: String) -> Int64 {
        counters[Key(namespace: namespace, result: result)].map { Int64($0.value) } ?? 0
    }
}
