public import EventLoop

/// Whose turn it is: a shared counter per context.
@LoopActor
public protocol RoundRobinContextProvider: AnyObject {
    /// `redis` or `memory`, as `/health` shows it.
    var name: String { get }

    /// The index of the next candidate, from 0 on, one step per call.
    ///
    /// - Parameters:
    ///   - contextKey: the team's id, or the tenant's when there is no team.
    ///   - candidateCount: at least 1; the caller has skipped before asking when there is nobody.
    /// - Throws: ``CoordinationError`` when the counter cannot be reached; nothing was counted.
    func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int

    /// The index that the next call of ``getNextIndex(contextKey:candidateCount:)`` will answer if
    /// nobody else calls before; nothing is counted.
    func peekNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int
}

extension RoundRobinContextProvider {
    /// A provider that cannot look without counting says so.
    public func peekNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        throw CoordinationError(operation: "round_robin", message: "\(name) cannot look ahead")
    }
}

/// A counter of this process alone.
@LoopActor
public final class InMemoryRoundRobinContextProvider: RoundRobinContextProvider {
    /// `memory`.
    public let name = "memory"

    private var counters: [String: Int] = [:]

    /// Counters that all start at 0.
    public nonisolated init() {}

    /// Counts in memory.
    public func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        precondition(candidateCount > 0, "there is nobody to choose from")
        let count = counters[contextKey, default: 0]
        counters[contextKey] = count &+ 1
        return count % candidateCount
    }
    /// Looks in memory.
    public func peekNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        precondition(candidateCount > 0, "there is nobody to choose from")
        return counters[contextKey, default: 0] % candidateCount
    }
}
