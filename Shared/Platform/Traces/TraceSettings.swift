internal import FoundationEssentials
public import Tracing

/// How traces are recorded and where they go: the variables of OpenTelemetry.
public struct TraceSettings: Sendable {
    /// `OTEL_SERVICE_NAME`, else the service's own name.
    public let serviceName: String
    /// Which traces are recorded: `OTEL_TRACES_SAMPLER`; what callers record where nothing else is
    /// said, and everything that nobody decided where there is a collector.
    public let sampler: TraceSampler
    /// Whether steps are lines of the log: `OTEL_TRACES_EXPORTER` holds `console`, which it does
    /// unless it is set.
    public let isLogged: Bool
    /// The collector's address; nil when there is none.
    public let endpoint: String?
    /// Fields for the collector, `OTEL_EXPORTER_OTLP_HEADERS`; they may be keys, and are not shown.
    let headers: [(name: String, value: String)]
    /// How long one export may take: `OTEL_EXPORTER_OTLP_TIMEOUT`.
    let timeout: Duration
    /// How long a step waits for others before it leaves: `OTEL_BSP_SCHEDULE_DELAY`.
    let delay: Duration
    /// How many steps wait at most: `OTEL_BSP_MAX_QUEUE_SIZE`.
    let queueMax: Int
    /// How many leave together: `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    let batchMax: Int

    private static let otlp = "otlp"
    private static let console = "console"

    /// Reads the settings; faults are noted.
    init(_ settings: inout Settings, service: String) {
        serviceName = settings.optional("OTEL_SERVICE_NAME") ?? service
        let isOff = settings.flag("OTEL_SDK_DISABLED", default: false)
        let address = isOff ? nil : TraceSettings.address(&settings)
        let exporters = TraceSettings.exporters(&settings, hasCollector: address != nil)
        isLogged = exporters.contains(TraceSettings.console) && !isOff
        endpoint = exporters.contains(TraceSettings.otlp) ? address : nil
        let standard = endpoint == nil ? "parentbased_always_off" : "parentbased_always_on"
        sampler =
            isOff
            ? TraceSampler(followsCaller: false, share: 0)
            : TraceSettings.sampler(&settings, standard: standard)
        headers = TraceSettings.headers(&settings)
        timeout = settings.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", default: 10_000)
        delay = settings.milliseconds("OTEL_BSP_SCHEDULE_DELAY", default: 5_000)
        queueMax = settings.integer("OTEL_BSP_MAX_QUEUE_SIZE", default: 2_048, in: 1...65_536)
        batchMax = settings.integer("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default: 512, in: 1...2_048)
    }

    private static func address(_ settings: inout Settings) -> String? {
        let whole = settings.optional("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        let base = settings.optional("OTEL_EXPORTER_OTLP_ENDPOINT").map { base in
            (base.hasSuffix("/") ? String(base.dropLast()) : base) + "/v1/traces"
        }
        guard let address = whole ?? base else { return nil }
        if !address.hasPrefix("http://"), !address.hasPrefix("https://") {
            settings.note("OTEL_EXPORTER_OTLP_ENDPOINT is '\(address)': expected an http(s) URL")
        }
        let spoken = "http/json"
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            guard let asked = settings.optional(name), asked != spoken else { continue }
            settings.note("\(name) is '\(asked)': only \(spoken) is spoken here")
        }
        return address
    }

    private static func exporters(_ settings: inout Settings, hasCollector: Bool) -> Set<String> {
        let name = "OTEL_TRACES_EXPORTER"
        guard let text = settings.optional(name) else {
            return hasCollector ? [otlp, console] : [console]
        }
        let asked = Set(text.split(separator: ",").map(String.init))
        if !asked.isSubset(of: [otlp, console, "none"]) {
            settings.note("\(name) is '\(text)': expected otlp, console, or none")
        }
        if asked.contains(otlp), !hasCollector {
            settings.note("\(name) names otlp: OTEL_EXPORTER_OTLP_ENDPOINT is missing")
        }
        return asked
    }

    private static func sampler(_ settings: inout Settings, standard: String) -> TraceSampler {
        let name = settings.optional("OTEL_TRACES_SAMPLER") ?? standard
        let text = settings.optional("OTEL_TRACES_SAMPLER_ARG") ?? "1"
        var share = 1.0
        if let number = Double(text), (0...1).contains(number) {
            share = number
        } else {
            settings.note("OTEL_TRACES_SAMPLER_ARG is '\(text)': expected a number from 0 to 1")
        }
        if let sampler = TraceSampler(name: name, share: share) { return sampler }
        settings.note(
            "OTEL_TRACES_SAMPLER is '\(name)': expected always_on, always_off, traceidratio, or one "
                + "of them after parentbased_"
        )
        return .whenAsked
    }

    /// Undoes percent-encoding; nil when it is none.
    private static func decoded(_ text: String) -> String? {
        URLComponents(string: "/\(text)").map { String($0.path.dropFirst()) }
    }

    private static func headers(_ settings: inout Settings) -> [(name: String, value: String)] {
        let name = "OTEL_EXPORTER_OTLP_HEADERS"
        var headers: [(name: String, value: String)] = []
        for pair in settings.optional(name)?.split(separator: ",") ?? [] {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let value = decoded(parts[1]) else {
                settings.note("\(name): expected name=value,name=value")
                continue
            }
            headers.append((parts[0], value))
        }
        return headers
    }
}
