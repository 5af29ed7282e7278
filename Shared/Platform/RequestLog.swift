internal import EventLoop
internal import HTTPServer
internal import Logging
internal import Telemetry
internal import Tracing

/// One line and one measurement per request.
@LoopActor
final class RequestLog: HTTPServerObserver {
    private let logger: Logger
    private let metrics = HTTPMetrics()
    private let cuts: [ConnectionCut: PrometheusCounter]
    /// Where times go, for each route of the table: a handful each, so looking along them is
    /// cheaper than hashing names.
    private var durations: [[Durations]] = []

    private struct Durations {
        let method: HTTPMethod
        let status: Int
        let histogram: PrometheusHistogram
    }

    init(logger: Logger) {
        self.logger = logger
        var cuts: [ConnectionCut: PrometheusCounter] = [:]
        for reason in ConnectionCut.allCases {
            cuts[reason] = PrometheusRegistry.shared.counter(
                "switchboard_http_connections_cut_total",
                "Connections that the server ended, by reason.",
                ["reason": "\(reason)"]
            )
        }
        self.cuts = cuts
    }

    func answered(_ request: AnsweredRequest) {
        durations(of: request).observe(request.duration)
        guard request.status >= 500 || logger.logLevel <= .debug else { return }
        logger.log(
            level: request.status >= 500 ? .warning : .debug,
            "answered",
            metadata: [
                "request_id": "\(request.requestID)", "trace_id": "\(request.trace.traceID)",
                "tenant": "\(request.tenant ?? "")",
                "route": "\(request.route)", "method": "\(request.method.name)",
                "status": "\(request.status)", "duration_ms": "\(request.duration.milliseconds)",
            ]
        )
    }

    private func durations(of request: AnsweredRequest) -> PrometheusHistogram {
        guard let route = request.routeIndex else { return named(request) }
        while durations.count <= route { durations.append([]) }
        for known in durations[route]
        where known.status == request.status && known.method == request.method {
            return known.histogram
        }
        let histogram = named(request)
        // A route has few methods and statuses; what is beyond them is looked up by name.
        if durations[route].count < 32 {
            durations[route].append(
                Durations(method: request.method, status: request.status, histogram: histogram)
            )
        }
        return histogram
    }

    private func named(_ request: AnsweredRequest) -> PrometheusHistogram {
        metrics.durations(
            method: request.method.name,
            route: request.route,
            status: request.status
        )
    }

    func cut(_ reason: ConnectionCut) {
        cuts[reason]?.increment()
    }
}
