internal import EventLoop

/// Writes the text format of Prometheus, version 0.0.4.
struct PrometheusText {
    private(set) var bytes: [UInt8] = []

    /// Writes one metric with all its series, or nothing when there are none to show.
    @LoopActor
    mutating func write(_ name: String, _ family: MetricFamily) {
        var lines = PrometheusText()
        for (labels, series) in family.series.sorted(by: { $0.key.text < $1.key.text }) {
            switch series {
            case .counter(let counter): lines.line(name, labels.text, counter.value)
            case .gauge(let gauge): lines.line(name, labels.text, gauge.value)
            case .histogram(let histogram): lines.histogram(name, labels.text, histogram)
            case .sampled(let read):
                if let value = read() { lines.line(name, labels.text, value) }
            }
        }
        guard !lines.bytes.isEmpty else { return }
        bytes += "# HELP \(name) \(PrometheusText.escapedHelp(family.help))\n".utf8
        bytes += "# TYPE \(name) \(family.kind.rawValue)\n".utf8
        bytes += lines.bytes
    }

    private mutating func histogram(
        _ name: String,
        _ labels: String,
        _ histogram: PrometheusHistogram
    ) {
        let snapshot = histogram.snapshot
        let prefix = labels.isEmpty ? "" : labels + ","
        var count: UInt64 = 0
        for (bound, inBucket) in zip(histogram.bounds + [.infinity], snapshot.counts) {
            count += inBucket
            let bound = PrometheusText.number(bound)
            line(name + "_bucket", "\(prefix)le=\"\(bound)\"", Double(count))
        }
        line(name + "_sum", labels, snapshot.sum)
        line(name + "_count", labels, Double(count))
    }

    private mutating func line(_ name: String, _ labels: String, _ value: Double) {
        bytes += name.utf8
        if !labels.isEmpty {
            bytes.append(UInt8(ascii: "{"))
            bytes += labels.utf8
            bytes.append(UInt8(ascii: "}"))
        }
        bytes.append(UInt8(ascii: " "))
        bytes += PrometheusText.number(value).utf8
        bytes.append(UInt8(ascii: "\n"))
    }

    /// A number as the format wants it: whole ones without a fraction, `+Inf`, `-Inf`, `NaN`.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        guard let whole = Int64(exactly: value), whole.magnitude < 1 << 53 else {
            return value.description
        }
        return String(whole)
    }

    private static func escapedHelp(_ text: String) -> String {
        text.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
            .split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\\n")
    }
}
