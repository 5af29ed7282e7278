public import EventLoop

/// The cache of one process alone: for one instance without Redis, and for tests.
@LoopActor
public final class MemoryGenerationCache: GenerationCache {
    /// Values beyond this many throw all out: what a cache forgets costs a read.
    public static let valuesMax = 10_000

    private struct Value {
        let bytes: [UInt8]
        let until: MonotonicTime
    }

    private var generations: [String: Int64] = [:]
    private var values: [String: Value] = [:]
    private let now: @LoopActor () -> MonotonicTime

    /// A cache whose clock is `now`.
    public nonisolated init(now: @escaping @LoopActor () -> MonotonicTime = MonotonicTime.now) {
        self.now = now
    }

    /// Reads generation and value.
    public func get(
        _ group: String,
        _ key: String
    ) async throws(CoordinationError) -> CacheLookup {
        let generation = generations[group] ?? 0
        let value = values["\(group):\(generation):\(key)"]
        let isAlive = value.map { $0.until > now() } ?? false
        return CacheLookup(generation: generation, value: isAlive ? value?.bytes : nil)
    }

    /// The group's generation.
    public func generation(of group: String) async throws(CoordinationError) -> Int64 {
        generations[group] ?? 0
    }

    /// Keeps a value under the generation it was read in.
    public func set(
        _ group: String,
        _ key: String,
        _ value: [UInt8],
        generation: Int64,
        ttl: Duration
    ) async throws(CoordinationError) {
        if values.count >= MemoryGenerationCache.valuesMax { values = [:] }
        values["\(group):\(generation):\(key)"] = Value(bytes: value, until: now() + ttl)
    }

    /// Counts the groups' generations up.
    public func invalidate(_ groups: [String]) async throws(CoordinationError) {
        for group in groups { generations[group, default: 0] += 1 }
    }
}
