internal import Dispatch
internal import Synchronization

/// A named thread of execution beside the loop, for work that would block it.
///
/// Large bodies, CSV and templates go to ``compute``; look-ups and calls of C libraries that can
/// only block go to ``blocking``, so that a slow name server does not delay a body.
public final class Offload: Sendable {
    /// For work on the processor of over a few milliseconds.
    public static let compute = Offload(name: "switchboard.compute")
    /// For calls that wait: getaddrinfo, PQcancel.
    public static let blocking = Offload(name: "switchboard.blocking")

    /// How many pieces of work may wait before more is refused.
    public static let waitingLimit = 256

    /// The queue was full; try again later.
    public struct Full: Error, Sendable {
        /// Which executor refused.
        public let name: String
    }

    private let name: String
    private let queue: DispatchQueue
    private let waiting = Atomic<Int>(0)

    package init(name: String) {
        self.name = name
        queue = DispatchQueue(label: name)
    }

    /// Runs `work` on this executor and comes back to the caller's isolation with its result.
    ///
    /// - Throws: what `work` throws, or ``Full`` above ``waitingLimit``.
    public func run<Value: Sendable>(
        _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        guard waiting.add(1, ordering: .relaxed).newValue <= Offload.waitingLimit else {
            waiting.subtract(1, ordering: .relaxed)
            throw Full(name: name)
        }
        defer { waiting.subtract(1, ordering: .relaxed) }
        let result: Result<Value, any Error> = await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: Result { try work() }) }
        }
        return try result.get()
    }
}
