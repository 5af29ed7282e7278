internal import EventLoop
internal import JSON
internal import RedisClient
internal import Telemetry

/// How full the Redis of caches may be for caches to be written into it.
///
/// A server that evicts nothing refuses every write once it is full, those of locks, limits and
/// queues as well. So caches stop before that: what they would have kept is read from the database,
/// and what they have ends with its time.
@LoopActor
final class CacheBudget {
    /// How often the server is asked.
    static let interval: Duration = .seconds(1)
    /// Without a setting, the share of the server's own limit that may be used.
    nonisolated static let share = 0.75

    private let redis: RedisClient?
    private let limit: Int64?
    private var isExceeded = false
    private lazy var looks = RepeatedWork(every: CacheBudget.interval) { [weak self] in
        await self?.look()
    }

    /// - Parameters:
    ///   - redis: where the caches are; nil where there are none.
    ///   - megabytes: what the server may use; 0 for a share of its own limit, if it has one.
    init(redis: RedisClient?, megabytes: Int) {
        self.redis = redis
        limit = megabytes == 0 ? nil : Int64(megabytes) * 1024 * 1024
    }

    func start() { looks.start(after: .zero) }

    func stop() async { await looks.end() }

    /// Whether a cache may keep a value; what may not be kept is counted.
    func admits() -> Bool {
        if isExceeded { Degradation.note("cache_memory") }
        return !isExceeded
    }

    /// Asks the server; one that gives no answer changes nothing.
    func look() async {
        guard let answers = try? await redis?.sendToAll(["INFO", "memory"]) else { return }
        // Of a cluster the fullest node decides: what it refuses may be a lock.
        isExceeded = answers.compactMap(\.text).contains {
            CacheBudget.isExceeded($0, limit: limit)
        }
    }

    /// Whether what `INFO memory` says is too much.
    nonisolated static func isExceeded(_ text: String, limit: Int64?) -> Bool {
        func reading(_ name: String) -> Int64? {
            for line in text.split(whereSeparator: \.isNewline) where line.hasPrefix(name + ":") {
                return Int64(line.dropFirst(name.utf8.count + 1))
            }
            return nil
        }
        guard let used = reading("used_memory") else { return false }
        if let limit { return used > limit }
        guard let most = reading("maxmemory"), most > 0 else { return false }
        return Double(used) > share * Double(most)
    }
}
