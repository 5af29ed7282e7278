public import CoreMetrics
internal import EventLoop
internal import Synchronization

/// A number that only grows: made by ``PrometheusRegistry``, kept by whoever counts.
public final class PrometheusCounter: CounterHandler, FloatingPointCounterHandler, Sendable {
    private let whole = Atomic<Int64>(0)
    private let fraction = Atomic<Double>(0)

    /// The count so far.
    public var value: Double {
        Double(whole.load(ordering: .relaxed)) + fraction.load(ordering: .relaxed)
    }

    /// Adds `amount`; a counter never falls, so that a negative amount is ignored.
    public func increment(by amount: Int64) {
        guard amount > 0 else { return }
        whole.wrappingAdd(amount, ordering: .relaxed)
    }

    /// Adds `amount`; negative amounts are ignored.
    public func increment(by amount: Int) {
        increment(by: Int64(amount))
    }

    /// Adds one.
    public func increment() {
        whole.wrappingAdd(1, ordering: .relaxed)
    }

    /// Adds `amount`, unless it is negative or no number.
    public func increment(by amount: Double) {
        guard amount > 0, amount.isFinite else { return }
        fraction.add(amount)
    }

    /// Starts again from zero.
    public func reset() {
        whole.store(0, ordering: .relaxed)
        fraction.store(0, ordering: .relaxed)
    }
}

/// A number that rises and falls: made by ``PrometheusRegistry``, kept by whoever measures.
public final class PrometheusGauge: RecorderHandler, MeterHandler, Sendable {
    private let current = Atomic<Double>(0)

    /// The number now.
    public var value: Double { current.load(ordering: .relaxed) }

    /// Sets the number.
    public func set(_ value: Double) {
        current.store(value, ordering: .relaxed)
    }

    /// Sets the number.
    public func set(_ value: Int) {
        set(Double(value))
    }

    /// Sets the number.
    public func set(_ value: Int64) {
        set(Double(value))
    }

    /// Adds `amount`, which may be negative.
    public func add(_ amount: Double) {
        current.add(amount)
    }

    /// Adds `amount`.
    public func increment(by amount: Double) {
        current.add(amount)
    }

    /// Subtracts `amount`.
    public func decrement(by amount: Double) {
        current.add(-amount)
    }

    /// Sets the number.
    public func record(_ value: Int64) {
        set(Double(value))
    }

    /// Sets the number.
    public func record(_ value: Double) {
        set(value)
    }
}

/// How often values fell below each of some bounds: made by ``PrometheusRegistry``.
public final class PrometheusHistogram: RecorderHandler, TimerHandler, Sendable {
    struct Snapshot: Sendable {
        /// One count per bound, and one for what is above all of them; not cumulative.
        var counts: [UInt64]
        var sum = 0.0
    }

    let bounds: [Double]
    // A mutex rather than one atomic per bucket: sum and counts of a scrape belong together, and
    // nobody but a scrape contends with the loop.
    private let state: Guarded<Snapshot>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Guarded(Snapshot(counts: Array(repeating: 0, count: bounds.count + 1)))
    }

    var snapshot: Snapshot { state.withLock { $0 } }

    /// How many values there were.
    public var count: UInt64 { snapshot.counts.reduce(0, +) }

    /// The sum of all values.
    public var sum: Double { snapshot.sum }

    /// Takes a value; NaN and infinity are ignored.
    public func observe(_ value: Double) {
        guard value.isFinite else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock { state in
            state.counts[bucket] += 1
            state.sum += value
        }
    }

    /// Takes a time, in seconds.
    public func observe(_ duration: Duration) {
        observe(duration.inSeconds)
    }

    /// Takes a value.
    public func record(_ value: Int64) {
        observe(Double(value))
    }

    /// Takes a value.
    public func record(_ value: Double) {
        observe(value)
    }

    /// Takes a time, in seconds.
    public func recordNanoseconds(_ duration: Int64) {
        observe(Double(duration) / 1e9)
    }
}

/// Bounds of histograms, ascending; everything above the last one is counted too.
public enum HistogramBuckets {
    /// For times, in seconds: half a millisecond to ten seconds, the unit of every duration here.
    public static let seconds = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
    /// For sizes, in bytes: 64 B to 1 MiB.
    public static let bytes: [Double] = [64, 256, 1024, 4096, 16384, 65536, 262_144, 1_048_576]
    /// For numbers of things: 1 to 1000.
    public static let counts: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
}

extension Atomic<Double> {
    fileprivate borrowing func add(_ amount: Double) {
        var old = load(ordering: .relaxed)
        while true {
            let (exchanged, seen) = weakCompareExchange(
                expected: old,
                desired: old + amount,
                ordering: .relaxed
            )
            if exchanged { return }
            old = seen
        }
    }
}
