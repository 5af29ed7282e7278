import EventLoop
import Foundation
import JSON
import Logging
import Testing

@testable import Telemetry

@Suite("WarningGateTests")
struct WarningGateTests {
    @Test("one warning a minute, the next tells how many were held back")
    func gate() {
        var gate = WarningGate()
        let start = MonotonicTime(nanoseconds: 5)
        #expect(gate.pass(now: start) == 0)
        #expect(gate.pass(now: start) == nil)
        #expect(gate.pass(now: start + .milliseconds(59_999)) == nil)
        #expect(gate.pass(now: start + .seconds(60)) == 2)
        #expect(gate.pass(now: start + .seconds(61)) == nil)
        #expect(gate.pass(now: start + .seconds(500)) == 1)
    }
}

@Suite("DegradationTests")
struct DegradationTests {
    private let recorder = LogRecorder()
    private let registry = PrometheusRegistry()

    @Test("every operation warns once a minute and is counted always")
    func note() async throws {
        let degradation = Degradation(registry: registry, logger: recorder.logger())
        let start = MonotonicTime(nanoseconds: 0)
        for second in 0..<120 {
            degradation.note("message_lock", now: start + .seconds(second))
            degradation.note("room_limit", now: start + .seconds(second))
        }
        let entries = try recorder.entries()
        #expect(entries.count == 4)
        #expect(
            entries.map { $0["op"] } == [
                "message_lock", "room_limit", "message_lock", "room_limit",
            ]
        )
        #expect(entries.map { $0["suppressed"] } == [0, 0, 59, 59])
        #expect(entries.allSatisfy { $0["level"] == "warning" })
        #expect(degradation.counts == ["message_lock": 120, "room_limit": 120])
        let text = String(decoding: await registry.exposition(), as: UTF8.self)
        #expect(text.contains(#"redis_degraded_total{op="message_lock"} 120"#))
    }

    @Test("above the limit of operations further ones are one")
    func limit() throws {
        let degradation = Degradation(registry: registry, logger: recorder.logger())
        for number in 0..<(Degradation.operationsMax + 10) {
            degradation.note("op\(number)", now: MonotonicTime(nanoseconds: 0))
        }
        #expect(degradation.counts.count == Degradation.operationsMax + 1)
        #expect(degradation.counts["other"] == 10)
        #expect(recorder.lines.count == Degradation.operationsMax + 1)
    }
}

@Suite("HTTPMetricsTests")
struct HTTPMetricsTests {
    @Test("requests are counted by route, method and status; odd methods are one")
    @LoopActor func requests() {
        let registry = PrometheusRegistry()
        let metrics = HTTPMetrics(registry: registry)
        metrics.durations(method: "GET", route: "/v1/x/{id}", status: 200)
            .observe(.milliseconds(3))
        metrics.durations(method: "BREW", route: "unmatched", status: 999).observe(.seconds(20))
        let text = String(decoding: registry.exposition(), as: UTF8.self)
        let name = "http_request_duration_seconds"
        for line in [
            "\(name)_bucket{method=\"GET\",route=\"/v1/x/{id}\",status=\"200\",le=\"0.0025\"} 0",
            "\(name)_bucket{method=\"GET\",route=\"/v1/x/{id}\",status=\"200\",le=\"0.005\"} 1",
            "\(name)_count{method=\"other\",route=\"unmatched\",status=\"other\"} 1",
            "\(name)_bucket{method=\"other\",route=\"unmatched\",status=\"other\",le=\"10\"} 0",
        ] {
            #expect(text.contains(line + "\n"), "\(line)")
        }
    }
}

@Suite("ProcessStatusTests")
struct ProcessStatusTests {
    @Test("the fields are found behind a name that holds spaces and parentheses")
    func stat() {
        let stat =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 1000 8192 3 18446744073709551615"
        let status = ProcessStatus(stat: stat, ticksPerSecond: 100, pageBytes: 4096)
        #expect(status?.cpuSeconds == 2)
        #expect(status?.threads == 7)
        #expect(status?.startSecondsAfterBoot == 10)
        #expect(status?.virtualBytes == 8192)
        #expect(status?.residentBytes == 12288)
    }

    @Test("what is not such a line is nothing", arguments: ["", "42 (x) S 1 2", "no parenthesis"])
    func malformed(_ text: String) {
        #expect(ProcessStatus(stat: text, ticksPerSecond: 100, pageBytes: 4096) == nil)
    }

    @Test("boot time and limit are found in their files")
    func files() {
        #expect(ProcessStatus.bootSeconds(stat: "cpu 1 2\nbtime 1700000000\nx 1") == 1_700_000_000)
        let limits = "Limit  Soft Hard Units\nMax open files            1024   4096   files\n"
        #expect(ProcessStatus.descriptorsMax(limits: limits) == 1024)
        #expect(ProcessStatus.descriptorsMax(limits: "Max open files unlimited 1 files") == nil)
    }

    @Test("this process is described plausibly")
    @LoopActor func live() async throws {
        let registry = PrometheusRegistry()
        ProcessMetrics.register(in: registry)
        let before = WallClock.milliseconds()
        var values: [String: Double] = [:]
        for line in String(decoding: registry.exposition(), as: UTF8.self).split(separator: "\n")
        where !line.hasPrefix("#") {
            let parts = line.split(separator: " ")
            values[String(parts[0])] = Double(parts[1])
        }
        let start = try #require(values["process_start_time_seconds"])
        #expect(start > Double(before) / 1000 - 86400 && start <= Double(before) / 1000 + 2)
        #expect(try #require(values["process_resident_memory_bytes"]) > 1_000_000)
        #expect(try #require(values["process_open_fds"]) >= 3)
        #expect(try #require(values["process_max_fds"]) >= 16)
        #expect(try #require(values["process_threads"]) >= 2)
        #expect(try #require(values["process_cpu_seconds_total"]) >= 0)
    }
}
