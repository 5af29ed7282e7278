internal import EventLoop
internal import FoundationEssentials
internal import Telemetry
internal import Tracing

/// How long each step of a handled message takes: in `handler_step_seconds`, and in the trace where
/// that is recorded.
@LoopActor
enum HandlerSteps {
    /// The steps of document 004, and all of them together.
    enum Step: String, CaseIterable {
        case configuration, parse, lock, job, handle

        /// How a trace names it.
        var spanName: String {
            switch self {
            case .configuration: "handle.configuration"
            case .parse: "handle.parse"
            case .lock: "handle.lock"
            case .job: "handle.job"
            case .handle: "handle"
            }
        }
    }

    /// Around what each step may take: 1, 5, 10, 15, 20 and 50 ms.
    nonisolated static let bounds = [
        0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1,
        0.25, 1,
    ]

    private static var durations: [Step: PrometheusHistogram] = [:]
    private static var jobs: [String: PrometheusCounter] = [:]

    static func measure<Value>(
        _ step: Step,
        _ body: @LoopActor () async throws -> Value
    ) async rethrows -> Value {
        let start = MonotonicTime.now()
        defer { count(step, MonotonicTime.now() - start) }
        return try await withSpan(step.spanName, .step, body)
    }

    /// Takes the time of a step that has ended now.
    static func note(_ step: Step, since start: MonotonicTime) {
        count(step, MonotonicTime.now() - start)
        Span.past(step.spanName, since: start)
    }

    private static func count(_ step: Step, _ took: Duration) {
        let histogram =
            durations[step]
            ?? PrometheusRegistry.shared.histogram(
                "handler_step_seconds",
                "Time that a step of handling a message took, by step.",
                buckets: bounds,
                ["step": step.rawValue]
            )
        durations[step] = histogram
        histogram.observe(took)
    }

    /// A job ended here, or goes on: `posted`, `done`, `superseded`, `failed`, `retry`, `lost`.
    static func jobEnded(_ outcome: String) {
        let counter =
            jobs[outcome]
            ?? PrometheusRegistry.shared.counter(
                "ai_jobs_total",
                "Tries of AI jobs that ended in this process, by outcome.",
                ["outcome": outcome]
            )
        jobs[outcome] = counter
        counter.increment()
    }
}
