internal import EventLoop

/// Lets requests of this process that have one key run one after the other.
///
/// Those that wait hold nothing but their place: fifty equal retries must not take fifty database
/// connections to wait for one row.
@LoopActor
final class IdempotencyGate {
    /// How many requests may wait for one key; more are told at once that it is in use.
    static let waitersMax = 64

    /// What is told apart: the same key of another tenant or path is another one.
    struct Scope: Hashable, Sendable {
        let tenant: String
        let method: String
        let path: String
        let key: String

        init(_ request: IdempotentRequest) {
            tenant = request.tenant
            method = request.method
            path = request.path
            key = request.key
        }
    }

    /// How one gets past the gate.
    enum Pass: Sendable, Equatable {
        /// It is our turn; ``leave(_:_:)`` is owed.
        case turn
        /// The one before us has been answered, with this, for a body of this hash.
        case answered(StoredResponse, bodyHash: [UInt8])
        /// The wait was too long, or too many waited already.
        case busy
    }

    private var queues: [Scope: [Waiter]] = [:]

    nonisolated init() {}

    /// How many keys are in use.
    var count: Int { queues.count }

    /// Waits for our turn, at most `wait`.
    func enter(_ scope: Scope, wait: Duration) async -> Pass {
        guard let queue = queues[scope] else {
            queues[scope] = []
            return .turn
        }
        guard queue.count < IdempotencyGate.waitersMax else { return .busy }
        let waiter = Waiter()
        queues[scope, default: []].append(waiter)
        let pass = await waiter.pass(within: wait)
        if pass == .busy { queues[scope]?.removeAll { $0 === waiter } }
        return pass
    }

    /// Ends our turn.
    ///
    /// With an answer everybody who waits gets it; without, the next has its turn.
    func leave(_ scope: Scope, _ answer: (response: StoredResponse, bodyHash: [UInt8])?) {
        guard let queue = queues[scope] else { return }
        if let answer {
            queues[scope] = nil
            for waiter in queue {
                waiter.resume(.answered(answer.response, bodyHash: answer.bodyHash))
            }
            return
        }
        // Those who gave up already are still in the queue until they have run.
        guard let next = queue.firstIndex(where: \.isWaiting) else {
            queues[scope] = nil
            return
        }
        queues[scope] = Array(queue[(next + 1)...])
        queue[next].resume(.turn)
    }

    /// One waiting request: passed on by the one before it, by time, or by cancellation.
    @LoopActor
    private final class Waiter {
        private var continuation: CheckedContinuation<Pass, Never>?
        private var timer: LoopTimer?
        private var isCancelled = false

        nonisolated init() {}

        var isWaiting: Bool { continuation != nil }

        func pass(within wait: Duration) async -> Pass {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    guard !isCancelled else { return continuation.resume(returning: .busy) }
                    self.continuation = continuation
                    timer = EventLoop.shared.schedule(after: wait) { [self] in resume(.busy) }
                }
            } onCancel: {
                Task { @LoopActor in
                    self.isCancelled = true
                    self.resume(.busy)
                }
            }
        }

        func resume(_ pass: Pass) {
            if let timer { EventLoop.shared.cancel(timer) }
            timer = nil
            let waiting = continuation
            continuation = nil
            waiting?.resume(returning: pass)
        }
    }
}
