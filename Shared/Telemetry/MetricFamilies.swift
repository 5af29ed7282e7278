internal import EventLoop

/// What a metric is.
enum MetricKind: String, Sendable {
    case counter, gauge, histogram
}

/// One line, or one histogram, of the exposition.
enum MetricSeries: Sendable {
    case counter(PrometheusCounter)
    case gauge(PrometheusGauge)
    case histogram(PrometheusHistogram)
    case sampled(@LoopActor () -> Double?)

    func isBacked(by handle: AnyObject) -> Bool {
        switch self {
        case .counter(let counter): counter === handle
        case .gauge(let gauge): gauge === handle
        case .histogram(let histogram): histogram === handle
        case .sampled: false
        }
    }
}

/// All series of one name.
struct MetricFamily: Sendable {
    let kind: MetricKind
    let help: String
    let bounds: [Double]?
    var series: [MetricLabels: MetricSeries] = [:]
}

/// All metrics by name; the part of ``PrometheusRegistry`` behind its lock.
struct MetricFamilies: Sendable {
    /// Counts the series that are not shown as asked; `reason` is `series_limit` or `kind`.
    static let refusals = "switchboard_metrics_refused_total"

    private(set) var byName: [String: MetricFamily] = [:]
    var helps: [String: String] = [:]
    var beforeScrape: [@LoopActor () -> Void] = []

    /// The series of these labels, made when there is none; nil when it cannot be shown.
    mutating func get(
        _ name: String,
        _ kind: MetricKind,
        _ help: String?,
        _ labels: MetricLabels,
        bounds: [Double]? = nil,
        make: () -> MetricSeries
    ) -> MetricSeries? {
        guard open(name, kind, help, bounds) else { return nil }
        if let known = byName[name]?.series[labels] { return known }
        guard let labels = admitted(name, kind, labels) else { return nil }
        if let shared = byName[name]?.series[labels] { return shared }
        let made = make()
        byName[name]?.series[labels] = made
        return made
    }

    /// Puts a series in the place of whatever has these labels.
    mutating func set(
        _ name: String,
        _ kind: MetricKind,
        _ help: String,
        _ labels: MetricLabels,
        _ series: MetricSeries
    ) {
        guard open(name, kind, help, nil) else { return }
        // A sampled series that shares its labels with others would stand for none of them.
        guard byName[name]?.series[labels] != nil || admitted(name, .gauge, labels) != nil else {
            return
        }
        byName[name]?.series[labels] = series
    }

    /// Takes out the series behind `handle`, and its family when it was the last.
    mutating func remove(_ handle: AnyObject) {
        for (name, family) in byName {
            guard let labels = family.series.first(where: { $1.isBacked(by: handle) })?.key else {
                continue
            }
            byName[name]?.series[labels] = nil
            if family.series.count == 1 { byName[name] = nil }
        }
    }

    /// Makes the family when there is none; false when the name means something else already.
    private mutating func open(
        _ name: String,
        _ kind: MetricKind,
        _ help: String?,
        _ bounds: [Double]?
    ) -> Bool {
        guard let family = byName[name] else {
            let help = help ?? helps[name] ?? MetricName.help(name)
            byName[name] = MetricFamily(kind: kind, help: help, bounds: bounds)
            return true
        }
        if family.kind == kind { return true }
        refuse(name, "kind")
        return false
    }

    /// The labels under which a new series may be shown.
    private mutating func admitted(
        _ name: String,
        _ kind: MetricKind,
        _ labels: MetricLabels
    ) -> MetricLabels? {
        let count = byName[name]?.series.count ?? 0
        guard count >= PrometheusRegistry.seriesPerMetricMax else { return labels }
        refuse(name, "series_limit")
        return kind == .gauge ? nil : labels.other
    }

    private mutating func refuse(_ name: String, _ reason: String) {
        let labels = MetricLabels([("metric", name), ("reason", reason)])
        let counter = get(
            MetricFamilies.refusals,
            .counter,
            "Series not shown as asked, by metric and reason.",
            labels
        ) { .counter(PrometheusCounter()) }
        if case .counter(let counter)? = counter { counter.increment() }
    }
}
