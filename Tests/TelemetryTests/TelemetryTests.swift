import CoreMetrics
import EventLoop
import Foundation
import JSON
import Logging
import Testing

@testable import Telemetry

@Suite("TelemetryBootstrapTests")
struct TelemetryBootstrapTests {
    @Test("after bootstrap loggers write lines of JSON to standard output, and metrics are shown")
    func bootstrap() async throws {
        let result = await #expect(
            processExitsWith: .success,
            observing: [\.standardOutputContent]
        ) {
            try EventLoop.run {
                Telemetry.bootstrap(service: "messaging", level: .debug)
                Logger(label: "main").with(requestID: "r1")
                    .debug("begun password=CANARY", metadata: ["op": "start", "text": "CANARY"])
                Counter(label: "seen").increment()
                Degradation.note("message_lock")
                try await EventLoop.shared.sleep(for: .milliseconds(1))
                let text = String(decoding: PrometheusRegistry.shared.exposition(), as: UTF8.self)
                for line in [
                    "seen_total 1", "log_metadata_dropped_total 1", "log_lines_dropped_total 0",
                    #"redis_degraded_total{op="message_lock"} 1"#,
                    "# TYPE switchboard_loop_ticks_total counter",
                    "# TYPE switchboard_loop_stalls_total counter",
                    "# TYPE switchboard_loop_longest_tick_seconds gauge",
                    "# TYPE switchboard_loop_lag_seconds gauge",
                    "# TYPE process_open_fds gauge",
                ] {
                    precondition(text.contains("\n" + line) || text.hasPrefix(line), line)
                }
            }
        }
        let output = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
        #expect(!output.contains("CANARY"))
        let entries = output.split(separator: "\n").compactMap {
            try? JSON(parsing: Array($0.utf8))
        }
        let first = try #require(entries.first { $0["logger"] == "main" })
        #expect(first["service"] == "messaging")
        #expect(first["message"] == "begun password=***")
        #expect(first["request_id"] == "r1")
        #expect(entries.contains { $0["op"] == "message_lock" && $0["level"] == "warning" })
    }

    @Test("a stall of the loop is told once a minute, with its length")
    func stall() async throws {
        let result = await #expect(
            processExitsWith: .success,
            observing: [\.standardOutputContent]
        ) {
            try EventLoop.run {
                Telemetry.bootstrap(service: "messaging")
                for _ in 0..<3 {
                    let end = MonotonicTime.now() + .milliseconds(30)
                    while MonotonicTime.now() < end {}
                    try await EventLoop.shared.sleep(for: .milliseconds(1))
                }
            }
        }
        let entries = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
            .split(separator: "\n").compactMap { try? JSON(parsing: Array($0.utf8)) }
            .filter { $0["logger"] == "loop" }
        #expect(entries.count == 1)
        #expect(try #require(entries.first?["took_ms"]?.intValue) >= 20)
    }

    @Test("where lines are missing a line says how many")
    func notice() throws {
        let entry = try JSON(parsing: Telemetry.notice(service: "messaging", lost: 3))
        #expect(entry["message"] == "log lines dropped")
        #expect(entry["count"] == 3)
        #expect(entry["level"] == "warning")
    }
}

/// Whether Prometheus itself finds the exposition right.
@Suite("PromtoolTests")
struct PromtoolTests {
    private static let program = "/usr/bin/promtool"

    @Test(
        "promtool finds no fault",
        .enabled(if: FileManager.default.isExecutableFile(atPath: program), "needs promtool")
    )
    @LoopActor func lint() async throws {
        let registry = PrometheusRegistry()
        LoopMetrics.register(in: registry)
        ProcessMetrics.register(in: registry)
        let http = HTTPMetrics(registry: registry)
        http.durations(method: "GET", route: #"/odd"\{id}"#, status: 200)
            .observe(.milliseconds(3))
        let degradation = Degradation(registry: registry, logger: LogRecorder().logger())
        degradation.note("message_lock", now: .now())
        Counter(label: "jobs.done", dimensions: [("le", "x\ny")], factory: registry).increment()
        Timer(label: "job.wait", factory: registry).recordSeconds(1)
        Gauge(label: "depth", factory: registry).record(Double.nan)
        _ = registry.gauge("jobs_done_total", "Another kind.")
        let text = registry.exposition()
        let (status, output) = try await Offload.blocking.run { try PromtoolTests.check(text) }
        #expect(status == 0, "\(output)")
        #expect(output.isEmpty, "\(output)")
    }

    private static func check(_ text: [UInt8]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["check", "metrics"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(text))
        try input.fileHandleForWriting.close()
        let said = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: said, as: UTF8.self))
    }
}
