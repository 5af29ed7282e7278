import Testing
import Tracing

@testable import Platform

@Suite("TraceSettings")
struct TraceSettingsTests {
    private func read(_ environment: [String: String]) -> (TraceSettings, [String]) {
        var settings = Settings(environment: environment)
        let traces = TraceSettings(&settings, service: "messaging")
        do throws(SettingsError) {
            try settings.check()
            return (traces, [])
        } catch {
            return (traces, error.faults)
        }
    }

    @Test("unset, callers decide what is recorded, and it goes to the log alone")
    func unset() {
        let (traces, faults) = read([:])
        #expect(faults.isEmpty && traces.endpoint == nil && traces.isLogged)
        #expect(traces.sampler == .whenAsked && traces.serviceName == "messaging")
        #expect(traces.queueMax == 2048 && traces.batchMax == 512 && traces.delay == .seconds(5))
    }

    @Test("with a collector everything goes there, unless a sampler is named")
    func collector() {
        let base = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"]
        let (traces, faults) = read(base)
        #expect(faults.isEmpty && traces.endpoint == "http://127.0.0.1:4318/v1/traces")
        #expect(traces.sampler == TraceSampler(followsCaller: true, share: 1))
        let sampled = read(
            base.merging([
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.1",
                "OTEL_SERVICE_NAME": "desk", "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b,x=y",
            ]) { $1 }
        )
        #expect(sampled.1.isEmpty && !sampled.0.isLogged && sampled.0.serviceName == "desk")
        #expect(sampled.0.sampler == TraceSampler(followsCaller: true, share: 0.1))
        #expect(sampled.0.headers.map(\.name) == ["api-key", "x"])
        #expect(sampled.0.headers.map(\.value) == ["a b", "y"])
        #expect(
            read(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/own"]).0.endpoint
                == "https://c/own"
        )
    }

    @Test("switched off, nothing is recorded, whatever callers say")
    func off() {
        let (traces, faults) = read([
            "OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
        ])
        #expect(faults.isEmpty && traces.endpoint == nil && !traces.isLogged)
        #expect(traces.sampler == TraceSampler(followsCaller: false, share: 0))
    }

    @Test(
        "what cannot be meant is named",
        arguments: [
            ("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no"), ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ]
    )
    func faults(name: String, value: String) {
        let (_, faults) = read([name: value])
        #expect(faults.count == 1 && faults[0].contains(name))
    }

    @Test("another protocol than JSON over HTTP is refused")
    func protocols() {
        let (_, faults) = read([
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        ])
        #expect(faults.count == 1 && faults[0].contains("grpc"))
    }
}
