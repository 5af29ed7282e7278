internal import Crypto
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import RedisClient
internal import Telemetry

/// Answers that a provider gave, for a day: `ai:analysis:{tenant}:<sha256>`.
///
/// A look is waited for; a write never delays the answer. Without Redis nothing is remembered.
@LoopActor
final class AnalysisCache {
    /// Changes whenever the same question would be asked in other words.
    nonisolated static let promptVersion = 1
    static let ttlSeconds: Int64 = 86_400
    /// Writes under way at once; further answers are not remembered.
    static let writesLimit = 256
    /// How long a write may take: nobody waits for it, but a process that ends.
    static let writePatience: Duration = .seconds(5)

    private static let saved = PrometheusRegistry.shared.histogram(
        "ai_cache_saved_ms",
        "Milliseconds that a remembered answer took when it was first given, less the look.",
        buckets: [1, 10, 50, 100, 250, 500, 1000, 2000, 5000, 10_000, 30_000]
    )

    private let redis: RedisClient?
    private let admits: @LoopActor () -> Bool
    private var writes: [UUID: Task<Void, Never>] = [:]

    /// - Parameter admits: whether another answer may be remembered.
    init(redis: RedisClient?, admits: @escaping @LoopActor () -> Bool = { true }) {
        self.redis = redis
        self.admits = admits
    }

    /// The key of a question: everything that the answer depends on, and nothing of it readable.
    nonisolated static func key(_ tenant: String, _ request: AIRequest) -> String {
        let question: JSON = [
            "provider": .string(request.core.provider),
            "endpoint": .string(request.core.endpoint),
            "model": JSON(request.core.model), "prompt": .int(Int64(promptVersion)),
            "turns": .array(request.turns.map(\.document)),
        ]
        let digest = Array(SHA256.hash(data: Data(question.serialized())))
        return "ai:analysis:{\(tenant)}:\(digest.hexadecimal)"
    }

    func find(_ key: String) async -> AIAnswer? {
        guard let redis else { return nil }
        let start = MonotonicTime.now()
        do {
            guard let text = try await redis.send(["GET", .string(key)]).text,
                let document = try? JSON(parsing: Array(text.utf8), limits: .foreign),
                let answer = document["text"]?.stringValue
            else {
                CacheMetrics.of("ai_analysis").misses.increment()
                return nil
            }
            CacheMetrics.of("ai_analysis").hits.increment()
            let took = document["took_ms"]?.intValue ?? 0
            let look = (MonotonicTime.now() - start).milliseconds
            AnalysisCache.saved.observe(Double(max(0, took - look)))
            var known = AIAnswer(text: answer, tokens: document["tokens"]?.intValue.map(Int.init))
            known.isRemembered = true
            return known
        } catch {
            Degradation.note("ai_analysis")
            return nil
        }
    }

    /// Remembers an answer beside whatever goes on; ``drain()`` waits for it.
    ///
    /// - Parameter took: how long it took to get.
    func keep(_ key: String, _ answer: AIAnswer, took: Duration) {
        guard let redis, writes.count < AnalysisCache.writesLimit, admits() else { return }
        let document: JSON = [
            "text": .string(answer.text), "tokens": JSON(answer.tokens),
            "took_ms": .int(took.milliseconds),
        ]
        let id = UUID()
        writes[id] = Task {
            do {
                _ = try await redis.send(
                    [
                        "SET", .string(key), .string(document.text), "EX",
                        .int(AnalysisCache.ttlSeconds),
                    ],
                    within: AnalysisCache.writePatience
                )
            } catch {
                Degradation.note("ai_analysis")
            }
            writes[id] = nil
        }
    }

    /// Waits for the writes under way.
    func drain() async {
        for write in Array(writes.values) { await write.value }
    }
}
