internal import EventLoop

/// The answers of commands that went out together, awaited as one.
@LoopActor
final class ReplyGroup {
    typealias Outcome = Result<[RedisValue], RedisError>

    private var values: [RedisValue] = []
    private let count: Int
    private var continuation: CheckedContinuation<Outcome, Never>?

    init(count: Int, _ continuation: CheckedContinuation<Outcome, Never>) {
        self.count = count
        self.continuation = continuation
        values.reserveCapacity(count)
    }

    func add(_ value: RedisValue) {
        values.append(value)
        if values.count == count { settle(.success(values)) }
    }

    /// The first failure decides; the answers of the others no longer matter.
    ///
    /// A server that turns a client away (too many clients, protected mode) says so in place of the
    /// first answer and hangs up: its words explain the failure.
    func fail(_ error: RedisError) {
        guard let words = values.last?.errorMessage else {
            settle(.failure(error))
            return
        }
        let message = "\(error.message), after the answer '\(words)'"
        settle(.failure(RedisError(error.code, message: message)))
    }

    private func settle(_ outcome: Outcome) {
        let waiting = continuation
        continuation = nil
        waiting?.resume(returning: outcome)
    }
}
