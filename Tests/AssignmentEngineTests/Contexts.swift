import Coordination
import EventLoop
import Testing

/// Hands every call on after a turn of the loop: what assumed an answer at once would be wrong here.
@LoopActor
final class WaitingContexts: RoundRobinContextProvider {
    let name = "waiting"
    private let inner = InMemoryRoundRobinContextProvider()
    nonisolated init() {}

    func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        try? await EventLoop.shared.sleep(for: .milliseconds(1))
        return try await inner.getNextIndex(
            contextKey: contextKey,
            candidateCount: candidateCount
        )
    }
}

/// Counts the turns that are asked of another one.
@LoopActor
final class CountedContexts: RoundRobinContextProvider {
    let name = "counted"
    private let inner: any RoundRobinContextProvider
    private(set) var calls = 0
    init(_ inner: any RoundRobinContextProvider) { self.inner = inner }

    func getNextIndex(
        contextKey: String,
        candidateCount: Int
    ) async throws(CoordinationError) -> Int {
        calls += 1
        return try await inner.getNextIndex(
            contextKey: contextKey,
            candidateCount: candidateCount
        )
    }
}

/// The counters that the suites run with; no rule knows which one it is.
enum Contexts: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case memory, waiting
    var testDescription: String { rawValue }

    @LoopActor func make() -> any RoundRobinContextProvider {
        self == .memory ? InMemoryRoundRobinContextProvider() : WaitingContexts()
    }
}
