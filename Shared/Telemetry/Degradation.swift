internal import EventLoop
internal import Logging

/// Operations that went on without Redis: one warning per operation and minute, and a counter.
///
/// The names are those of the table of Redis failure policies that `/health` shows.
public final class Degradation: Sendable {
    /// How many operations are told apart; further ones are counted as `other`.
    public static let operationsMax = 64

    private static let shared = Degradation(
        registry: .shared,
        logger: Logger(label: "degradation")
    )

    private struct Operation: Sendable {
        var gate = WarningGate()
        let counter: PrometheusCounter
    }

    private let operations = Guarded<[String: Operation]>([:])
    private let registry: PrometheusRegistry
    private let logger: Logger

    /// Counts in `registry`, warns through `logger`.
    init(registry: PrometheusRegistry, logger: Logger) {
        self.registry = registry
        self.logger = logger
    }

    /// Notes that this operation went on without Redis; on any thread.
    public static func note(_ operation: String) {
        shared.note(operation, now: .now())
    }

    /// How often each operation went on without Redis since the process began.
    public static var counts: [String: Int] { shared.counts }

    var counts: [String: Int] {
        operations.withLock { $0.mapValues { Int($0.counter.value) } }
    }

    func note(_ operation: String, now: MonotonicTime) {
        let (name, suppressed) = operations.withLock { operations in
            let isNamed = operations[operation] != nil
            let name = isNamed || operations.count < Degradation.operationsMax ? operation : "other"
            var entry = operations[name] ?? Operation(counter: counter(name))
            entry.counter.increment()
            let suppressed = entry.gate.pass(now: now)
            operations[name] = entry
            return (name, suppressed)
        }
        guard let suppressed else { return }
        logger.warning(
            "working without Redis",
            metadata: ["op": .string(name), "suppressed": .stringConvertible(suppressed)]
        )
    }

    private func counter(_ name: String) -> PrometheusCounter {
        registry.counter(
            "redis_degraded_total",
            "Operations that went on without Redis.",
            ["op": name]
        )
    }
}
