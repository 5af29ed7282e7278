internal import EventLoop
public import RedisClient

/// What a round-robin run does when Redis fails after start-up (`RR_RUNTIME_FALLBACK`).
public enum RoundRobinRuntimeFallback: String, Sendable, CaseIterable {
    /// The run ends as an error and is tried again: no instance ever counts on its own.
    case off
    /// The run counts in memory: never an error, but instances may repeat each other's turns.
    case memory
}

/// Chooses the provider once, from configuration and connectivity.
public enum RoundRobinContextProviderFactory {
    /// The provider for a service.
    ///
    /// - Parameters:
    ///   - redis: `nil` when Redis is disabled: then turns are counted in memory.
    ///   - fallback: what happens when Redis fails later.
    ///   - alone: told of each turn that was counted in memory because Redis failed.
    @LoopActor
    public static func make(
        redis: RedisClient?,
        fallback: RoundRobinRuntimeFallback = .off,
        alone: @escaping @LoopActor () -> Void = {}
    ) -> any RoundRobinContextProvider {
        guard let redis else { return InMemoryRoundRobinContextProvider() }
        return BootFallbackRoundRobinContextProvider(
            shared: RedisRoundRobinContextProvider(redis),
            // Not whether it is there now: it may have gone before the first turn was asked for.
            wasReached: { redis.server != nil },
            fallback: fallback,
            alone: alone
        )
    }
}

/// Counts in memory until Redis was reached for the first time, and in Redis from then on.
///
/// An instance that started during an outage thus joins the others as soon as it can, instead of
/// staying apart for its lifetime.
@LoopActor
final class BootFallbackRoundRobinContextProvider: RoundRobinContextProvider {
    private let shared: any RoundRobinContextProvider
    private let memory = InMemoryRoundRobinContextProvider()
    private let wasReached: @LoopActor () -> Bool
    private let fallback: RoundRobinRuntimeFallback
    private let alone: @LoopActor () -> Void

    /// - Parameter wasReached: whether Redis was reached since the start; never false again.
    init(
        shared: any RoundRobinContextProvider,
        wasReached: @escaping @LoopActor () -> Bool,
        fallback: RoundRobinRuntimeFallback,
        alone: @escaping @LoopActor () -> Void
    ) {
        self.shared = shared
        self.wasReached = wasReached
        self.fallback = fallback
        self.alone = alone
    }

    var name: String { current.name }

    private var current: any RoundRobinContextProvider { wasReached() ? shared : memory }

    func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        do {
            return try await current.getNextIndex(
                contextKey: contextKey,
                candidateCount: candidateCount
            )
        } catch {
            guard fallback == .memory else { throw error }
            alone()
            return try await memory.getNextIndex(
                contextKey: contextKey,
                candidateCount: candidateCount
            )
        }
    }

    func peekNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        try await current.peekNextIndex(contextKey: contextKey, candidateCount: candidateCount)
    }
}
