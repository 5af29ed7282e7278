internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer

/// Lets the writers of one conversation run one after the other.
///
/// They would wait for one row of the database anyway; here they wait without a connection, and
/// find the threads as the writer before them left them.
@LoopActor
final class ConversationQueue {
    /// How many writers of one conversation may wait; more are told to come again.
    static let waitersMax = 256

    private var queues: [UUID: [CheckedContinuation<Void, Never>]] = [:]

    nonisolated init() {}

    /// How many conversations are being written to.
    var count: Int { queues.count }

    /// Runs `body` when it is the conversation's turn.
    ///
    /// - Throws: a 503 when too many wait; what `body` throws.
    func run<Value>(
        _ conversation: UUID,
        _ body: @LoopActor () async throws -> Value
    ) async throws -> Value {
        if let waiting = queues[conversation] {
            guard waiting.count < ConversationQueue.waitersMax else {
                throw Problem.unavailable("too many messages for this conversation at once")
            }
            await withCheckedContinuation { queues[conversation, default: []].append($0) }
        } else {
            queues[conversation] = []
        }
        defer { next(conversation) }
        return try await body()
    }

    private func next(_ conversation: UUID) {
        guard var waiting = queues[conversation], !waiting.isEmpty else {
            queues[conversation] = nil
            return
        }
        let first = waiting.removeFirst()
        queues[conversation] = waiting
        first.resume()
    }
}
