/// Names as Prometheus allows them.
enum MetricName {
    /// The name of a metric: `[a-zA-Z_][a-zA-Z0-9_]*`, other characters replaced.
    ///
    /// A colon is allowed by the format but kept for recording rules.
    static func metric(_ name: String) -> String {
        let legal = name.unicodeScalars.map { isLegal($0) ? Character($0) : "_" }
        guard let first = legal.first, !first.isNumber else { return "_" + String(legal) }
        return String(legal)
    }

    /// The name of a counter, which ends in `_total`.
    static func counter(_ name: String) -> String {
        ending(in: "_total", name)
    }

    /// The name with `suffix` at its end, added when missing.
    static func ending(in suffix: String, _ name: String) -> String {
        let name = metric(name)
        return name.hasSuffix(suffix) ? name : name + suffix
    }

    /// The name of a label: as that of a metric, and none that Prometheus uses itself.
    static func label(_ name: String) -> String {
        let name = metric(name)
        return name == "le" || name == "quantile" || name.hasPrefix("__") ? "label_" + name : name
    }

    /// What to say about a metric about which nobody said anything.
    static func help(_ name: String) -> String {
        name.split(separator: "_").joined(separator: " ") + "."
    }

    private static func isLegal(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_": true
        default: false
        }
    }
}

/// Labels and their values, in an order that does not depend on who wrote them.
struct MetricLabels: Sendable, Hashable {
    /// A longer value is cut: a label names a kind of thing, it does not carry text.
    static let valueCharactersMax = 128

    /// `a="x",b="y"`, as the exposition shows it; empty without labels.
    let text: String
    private let names: [String]

    init(_ labels: [(String, String)]) {
        var byName: [String: String] = [:]
        for (name, value) in labels { byName[MetricName.label(name)] = value }
        self.init(sorted: byName.sorted { $0.key < $1.key })
    }

    /// The same labels, each with the value `other`.
    var other: MetricLabels {
        MetricLabels(sorted: names.map { ($0, "other") })
    }

    private init(sorted labels: [(key: String, value: String)]) {
        names = labels.map(\.key)
        text = labels.map { "\($0)=\"\(MetricLabels.escaped($1))\"" }.joined(separator: ",")
    }

    private static func escaped(_ value: String) -> String {
        var result = ""
        for scalar in value.unicodeScalars.prefix(valueCharactersMax) {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
