internal import EventLoop

/// What a group's generation is, asked in one tick of the loop and not yet sent: whoever asks in the
/// same tick is answered with it.
@LoopActor
final class GenerationQuestion {
    typealias Answer = Result<Int64, CoordinationError>

    private let tick = EventLoop.shared.tick
    private var waiting: [CheckedContinuation<Answer, Never>] = []

    /// Whether it is not on its way to the server yet.
    var isOpen: Bool { EventLoop.shared.tick == tick }

    /// Waits for the answer to what another one asked.
    func answer() async throws(CoordinationError) -> Int64 {
        try await withCheckedContinuation { waiting.append($0) }.get()
    }

    func end(_ answer: Answer) {
        for waiter in waiting { waiter.resume(returning: answer) }
        waiting = []
    }
}
