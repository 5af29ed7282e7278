internal import EventLoop

/// The metrics of the process, as Prometheus reads them.
///
/// Safe on any thread. Making a handle takes a lock and a look-up: keep it and use it, rather than
/// ask for it at every event. The same name and labels always give the same handle.
public final class PrometheusRegistry: Sendable {
    /// The registry that `/metrics` shows.
    public static let shared = PrometheusRegistry()

    /// How many label sets a metric may have.
    ///
    /// Counters and histograms beyond it share one more, in which every label's value is `other`,
    /// so that sums stay right; gauges beyond it are not shown. Both are counted in
    /// `switchboard_metrics_refused_total`.
    public static let seriesPerMetricMax = 1000

    /// What a sampled metric means.
    public enum SampleKind: Sendable {
        /// A number that rises and falls.
        case gauge
        /// A number that only grows; its name ends in `_total`.
        case counter
    }

    private let state = Guarded(MetricFamilies())

    /// An empty registry.
    public init() {}

    // MARK: Handles

    /// The counter of this name (`_total` is added when missing) and these labels.
    public func counter(
        _ name: String,
        _ help: String,
        _ labels: KeyValuePairs<String, String> = [:]
    ) -> PrometheusCounter {
        counter(name, help, Array(labels))
    }

    /// The gauge of this name and these labels.
    public func gauge(
        _ name: String,
        _ help: String,
        _ labels: KeyValuePairs<String, String> = [:]
    ) -> PrometheusGauge {
        gauge(name, help, Array(labels))
    }

    /// The histogram of this name, which ends in its unit (`_seconds`, `_bytes`), and these labels.
    ///
    /// The first call decides the buckets.
    public func histogram(
        _ name: String,
        _ help: String,
        buckets: [Double] = HistogramBuckets.seconds,
        _ labels: KeyValuePairs<String, String> = [:]
    ) -> PrometheusHistogram {
        histogram(name, help, buckets: buckets, Array(labels))
    }

    /// Shows what `read` answers at each scrape; nil leaves the series out.
    public func sample(
        _ name: String,
        _ help: String,
        as kind: SampleKind = .gauge,
        _ labels: KeyValuePairs<String, String> = [:],
        _ read: @escaping @LoopActor () -> Double?
    ) {
        let isCounter = kind == .counter
        let name = isCounter ? MetricName.counter(name) : MetricName.metric(name)
        let labels = MetricLabels(Array(labels))
        state.withLock { families in
            // An owner that is made again takes the place of its predecessor.
            families.set(name, isCounter ? .counter : .gauge, help, labels, .sampled(read))
        }
    }

    /// Calls `body` before each scrape, to set gauges whose labels change.
    public func beforeScrape(_ body: @escaping @LoopActor () -> Void) {
        state.withLock { $0.beforeScrape.append(body) }
    }

    /// Says what a metric means that is made through the swift-metrics API, which cannot.
    public func describe(_ name: String, _ help: String) {
        state.withLock { $0.helps[MetricName.metric(name)] = help }
    }

    /// All metrics in the text format, version 0.0.4.
    @LoopActor
    public func exposition() -> [UInt8] {
        for body in state.withLock({ $0.beforeScrape }) { body() }
        let families = state.withLock { $0.byName }
        var text = PrometheusText()
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            text.write(name, family)
        }
        return text.bytes
    }

    // MARK: Look-up

    func counter(
        _ name: String,
        _ help: String?,
        _ labels: [(String, String)]
    ) -> PrometheusCounter {
        let name = MetricName.counter(name)
        let labels = MetricLabels(labels)
        return state.withLock { families in
            let made = families.get(name, .counter, help, labels) { .counter(PrometheusCounter()) }
            guard case .counter(let counter)? = made else { return PrometheusCounter() }
            return counter
        }
    }

    func gauge(
        _ name: String,
        _ help: String?,
        _ labels: [(String, String)]
    ) -> PrometheusGauge {
        let name = MetricName.metric(name)
        let labels = MetricLabels(labels)
        return state.withLock { families in
            let made = families.get(name, .gauge, help, labels) { .gauge(PrometheusGauge()) }
            guard case .gauge(let gauge)? = made else { return PrometheusGauge() }
            return gauge
        }
    }

    func histogram(
        _ name: String,
        _ help: String?,
        buckets: [Double],
        _ labels: [(String, String)]
    ) -> PrometheusHistogram {
        let name = MetricName.metric(name)
        let labels = MetricLabels(labels)
        return state.withLock { families in
            let bounds = families.byName[name]?.bounds ?? buckets
            let made = families.get(name, .histogram, help, labels, bounds: bounds) {
                .histogram(PrometheusHistogram(bounds: bounds))
            }
            guard case .histogram(let histogram)? = made else {
                return PrometheusHistogram(bounds: buckets)
            }
            return histogram
        }
    }

    /// Takes the series of `handle` out of the exposition.
    func remove(_ handle: AnyObject) {
        state.withLock { $0.remove(handle) }
    }
}
