internal import EventLoop
internal import HTTPServer
internal import Logging
internal import Telemetry

/// One line and one measurement per request.
@LoopActor
final class RequestLog: HTTPServerObserver {
    private let logger: Logger
    private let metrics = HTTPMetrics()
    private let cuts: [ConnectionCut: PrometheusCounter]

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
        metrics.end(
            method: request.method.name,
            route: request.route,
            status: request.status,
            took: request.duration
        )
        guard request.status >= 500 || logger.logLevel <= .debug else { return }
        logger.log(
            level: request.status >= 500 ? .warning : .debug,
            "answered",
            metadata: [
                "request_id": "\(request.requestID)", "tenant": "\(request.tenant ?? "")",
                "route": "\(request.route)", "method": "\(request.method.name)",
                "status": "\(request.status)", "duration_ms": "\(request.duration.milliseconds)",
            ]
        )
    }

    func cut(_ reason: ConnectionCut) {
        cuts[reason]?.increment()
    }
}
