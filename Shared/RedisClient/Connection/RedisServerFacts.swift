/// What a server told about itself at the greeting.
public struct RedisServerFacts: Sendable, Hashable {
    /// The version, such as `7.0.15`.
    public let version: String
    /// What it does when it is full, such as `noeviction`; nil when it does not say.
    public let maxMemoryPolicy: String?
    /// The memory it may use, in bytes; 0 is no limit, nil when it does not say.
    public let maxMemory: Int64?

    /// Whether it may throw keys away when it is full: locks, counters and queues want a warning.
    public var mayEvict: Bool {
        maxMemoryPolicy.map { $0 != "noeviction" } ?? false
    }

    /// What holds for both servers: the older version, the policy that loses more, the lesser memory.
    func worst(with other: RedisServerFacts) -> RedisServerFacts {
        func numbers(_ facts: RedisServerFacts) -> [Int] {
            facts.version.split(separator: ".").map { Int($0) ?? 0 }
        }
        let limits = [maxMemory, other.maxMemory].compactMap { $0 }.filter { $0 > 0 }
        return RedisServerFacts(
            version: numbers(other).lexicographicallyPrecedes(numbers(self))
                ? other.version : version,
            maxMemoryPolicy: mayEvict ? maxMemoryPolicy : other.maxMemoryPolicy ?? maxMemoryPolicy,
            maxMemory: limits.min() ?? maxMemory ?? other.maxMemory
        )
    }
}
