public import CoreMetrics

extension PrometheusRegistry: MetricsFactory {
    /// A counter; its name ends in `_total`.
    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        counter(label, nil, dimensions)
    }

    /// A counter; its name ends in `_total`.
    public func makeFloatingPointCounter(
        label: String,
        dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        counter(label, nil, dimensions)
    }

    /// A gauge.
    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        gauge(label, nil, dimensions)
    }

    /// A histogram of numbers of things, or a gauge when the recorder does not aggregate.
    public func makeRecorder(
        label: String,
        dimensions: [(String, String)],
        aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else { return gauge(label, nil, dimensions) }
        return histogram(label, nil, buckets: HistogramBuckets.counts, dimensions)
    }

    /// A histogram; its name ends in `_seconds`.
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let name = MetricName.ending(in: "_seconds", label)
        return histogram(name, nil, buckets: HistogramBuckets.seconds, dimensions)
    }

    /// Takes the counter out of the exposition.
    public func destroyCounter(_ handler: any CounterHandler) { remove(handler) }

    /// Takes the counter out of the exposition.
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {
        remove(handler)
    }

    /// Takes the gauge out of the exposition.
    public func destroyMeter(_ handler: any MeterHandler) { remove(handler) }

    /// Takes the gauge or histogram out of the exposition.
    public func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }

    /// Takes the histogram out of the exposition.
    public func destroyTimer(_ handler: any TimerHandler) { remove(handler) }
}
