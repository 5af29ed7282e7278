internal import CoreMetrics
public import EventLoop
internal import JSON
public import Logging
internal import Tracing

/// Logs and metrics of a process.
public enum Telemetry {
    /// Installs the log handler and the metrics factory, and registers what every process shows.
    ///
    /// Call once, first thing in `main`: loggers made earlier write to standard error. Lines go
    /// through `output`, which drops and counts what a slow reader does not take.
    @LoopActor
    public static func bootstrap(
        service: String,
        level: Logger.Level = .info,
        output: LineWriter = .standardOutput
    ) {
        let registry = PrometheusRegistry.shared
        let droppedMetadata = registry.counter(
            "log_metadata_dropped_total",
            "Members of log entries that are not allowed there."
        )
        LoggingSystem.bootstrap(
            { label, provider in
                var handler = JSONLogHandler(
                    service: service,
                    label: label,
                    level: level,
                    sink: { output.append($0) },
                    onDroppedKeys: { droppedMetadata.increment(by: Int64($0)) }
                )
                handler.metadataProvider = provider
                return handler
            },
            metadataProvider: placeInTrace
        )
        MetricsSystem.bootstrap(registry)
        output.announceDrops { notice(service: service, lost: $0) }
        registry.sample(
            "log_lines_dropped_total",
            "Log lines that standard output did not take in time.",
            as: .counter
        ) { Double(output.droppedLines) }
        LoopMetrics.register(in: registry)
        ProcessMetrics.register(in: registry)
        warnOfStalls()
    }

    /// The trace that an entry belongs to, while somebody records it.
    static let placeInTrace = Logger.MetadataProvider {
        guard let span = Span.current else { return [:] }
        return ["trace_id": .string(span.place.traceID)]
    }

    /// Waits until the log is written, at most `limit`; false when something is left.
    ///
    /// Blocks the thread. The end of the process does this by itself.
    @discardableResult
    public static func flush(within limit: Duration = .seconds(1)) -> Bool {
        LineWriter.standardOutput.flush(within: limit)
    }

    /// The line that stands where lines are missing.
    static func notice(service: String, lost: Int) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("time", RFC3339.string(WallClock.milliseconds()))
        writer.member("level", "warning")
        writer.member("service", service)
        writer.member("logger", "telemetry")
        writer.member("message", "log lines dropped")
        writer.member("count", lost)
        writer.endObject()
        return writer.bytes
    }

    @LoopActor
    private static func warnOfStalls() {
        let logger = Logger(label: "loop")
        var gate = WarningGate()
        EventLoop.shared.onStall { took in
            guard let suppressed = gate.pass(now: .now()) else { return }
            logger.warning(
                "the event loop stood still",
                metadata: [
                    "took_ms": .stringConvertible(took.milliseconds),
                    "suppressed": .stringConvertible(suppressed),
                ]
            )
        }
    }
}
