internal import EventLoop

/// A provider without a model: it waits, and answers with what it was asked.
///
/// For trying the product without an account anywhere, and for tests.
@LoopActor
final class SimulatedProvider: AIProvider {
    nonisolated init() {}

    func answer(_ request: AIRequest) async throws(AIProviderError) -> AIAnswer {
        do {
            try await EventLoop.shared.sleep(for: request.core.delay)
        } catch {
            throw AIProviderError(isFinal: false, description: "cancelled")
        }
        guard Double.random(in: 0..<1) >= request.core.failRate else {
            throw AIProviderError(isFinal: false, description: "a simulated failure")
        }
        let asked = request.turns.last { $0.role == .user }?.content ?? ""
        let count = request.consolidated == 1 ? "" : " (\(request.consolidated) messages)"
        return AIAnswer(text: "\(request.botName): I understand\(count): \(asked)")
    }
}
