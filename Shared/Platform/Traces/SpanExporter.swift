internal import EventLoop
internal import HTTPClient
internal import Logging
internal import Telemetry
internal import Tracing

/// Takes the steps of traces to a collector, beside the work and never in its way: what the collector
/// does not take in time is lost, and counted.
@LoopActor
final class SpanExporter {
    /// The pause after a failure, and the longest that it grows to.
    static let pauseFirst: Duration = .seconds(1)
    static let pauseMax: Duration = .seconds(30)
    /// How long the end of the process waits for what is left.
    static let flushLimit: Duration = .seconds(2)

    private let settings: TraceSettings
    private let endpoint: String
    private let resource: [(name: String, value: Span.Value)]
    private let logger: Logger
    /// A client of its own: a collector that hangs takes no place from others.
    private let http = HTTPClient()
    private var queue: SpanQueue
    private let wakeup = Wakeup()
    private var warnings = WarningGate()
    private var worker: Task<Void, Never>?
    private var isStopped = false
    private let exported = PrometheusRegistry.shared.counter(
        "trace_spans_exported_total",
        "Steps of traces that the collector has taken."
    )
    private let dropped: [Loss: PrometheusCounter]

    /// Why a step did not reach the collector.
    private enum Loss: String, CaseIterable {
        /// Too many waited.
        case full
        /// The collector refused it.
        case refused
        /// The process ended.
        case stopped
    }

    /// What came of an export.
    private enum Outcome {
        case taken
        case refused(String)
        case later(String, after: Duration?)
    }

    init(_ settings: TraceSettings, endpoint: String, instance: String, logger: Logger) {
        self.settings = settings
        self.endpoint = endpoint
        self.logger = logger
        queue = SpanQueue(limit: settings.queueMax, batch: settings.batchMax)
        resource = [
            ("service.name", .text(settings.serviceName)),
            ("service.version", .text(Schema.release)),
            ("service.instance.id", .text(instance)),
            ("telemetry.sdk.name", .text("switchboard")),
        ]
        var dropped: [Loss: PrometheusCounter] = [:]
        for loss in Loss.allCases {
            dropped[loss] = PrometheusRegistry.shared.counter(
                "trace_spans_dropped_total",
                "Steps of traces that no collector got, by reason.",
                ["reason": loss.rawValue]
            )
        }
        self.dropped = dropped
    }

    /// Keeps a step until it can leave; never waits.
    func add(_ span: EndedSpan) {
        guard queue.add(span) else { return lose(1, .full) }
        if queue.isDue { wakeup.wake() }
    }

    /// Begins to export.
    func start() {
        worker = Task { await run() }
    }

    /// Exports what is left, for ``flushLimit`` at most.
    func stop() async {
        isStopped = true
        wakeup.wake()
        let timer = EventLoop.shared.schedule(after: SpanExporter.flushLimit) { [http] in
            http.stop()
        }
        await worker?.value
        EventLoop.shared.cancel(timer)
        http.stop()
    }

    private func run() async {
        var pause = SpanExporter.pauseFirst
        var batch: [EndedSpan] = []
        while true {
            if batch.isEmpty {
                if !queue.isDue, !isStopped { await wakeup.rest(atMost: settings.delay) }
                batch = queue.take()
                if batch.isEmpty {
                    if isStopped { return }
                    continue
                }
            }
            switch await export(batch) {
            case .taken:
                exported.increment(by: batch.count)
                pause = SpanExporter.pauseFirst
                batch = []
            case .refused(let reason):
                warn(reason)
                lose(batch.count, .refused)
                batch = []
            case .later(let reason, let asked):
                if isStopped { return lose(batch.count + queue.count, .stopped) }
                warn(reason)
                await rest(asked ?? pause)
                pause = min(pause * 2, SpanExporter.pauseMax)
            }
        }
    }

    /// Rests although steps come in; only the end of the process ends it.
    private func rest(_ pause: Duration) async {
        let end = MonotonicTime.now() + pause
        while !isStopped, MonotonicTime.now() < end {
            await wakeup.rest(atMost: end - MonotonicTime.now())
        }
    }

    private func export(_ batch: [EndedSpan]) async -> Outcome {
        var request = OutgoingRequest(
            .post,
            endpoint,
            fields: [("Content-Type", "application/json")] + settings.headers,
            body: OTLPDocument.bytes(batch, resource: resource)
        )
        request.totalTimeout = settings.timeout
        request.firstByteTimeout = settings.timeout
        do {
            let response = try await http.send(request)
            switch response.status {
            case 200..<300: return .taken
            // What OTLP says may be tried again.
            case 429, 502, 503, 504:
                let asked = response.field("Retry-After").flatMap(Int.init).map(Duration.seconds)
                return .later(
                    "\(response.status)",
                    after: asked.map { min($0, SpanExporter.pauseMax) }
                )
            default: return .refused("\(response.status)")
            }
        } catch {
            return .later("\(error)", after: nil)
        }
    }

    private func lose(_ count: Int, _ loss: Loss) { dropped[loss]?.increment(by: count) }

    private func warn(_ reason: String) {
        guard let suppressed = warnings.pass(now: .now()) else { return }
        logger.warning(
            "the collector of traces takes nothing",
            metadata: ["reason": "\(reason)", "suppressed": "\(suppressed)"]
        )
    }
}
