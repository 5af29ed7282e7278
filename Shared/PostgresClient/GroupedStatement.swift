public import EventLoop

/// Calls of one kind that wait at the same moment go to PostgreSQL as one statement.
///
/// A statement costs a round trip, and each commit a flush to the disk; here the messages under way
/// share both. What is called for within one tick of the loop goes together, unless it is told to wait
/// a moment longer for company. While one statement is under way the next gathers, so how many go
/// together follows from how many there are:
///
///     call ──nobody is at it──▶ end of tick: send all that wait ──▶ hand the turn to who came first
///      └────somebody is──▶ wait for the turn, or for the answer that another one brings
///
/// How many wait is for the callers to limit: each waits for its answer.
@LoopActor
public final class GroupedStatement<Item: Sendable, Answer: Sendable>: Flushable {
    /// How many calls one statement holds at most.
    nonisolated public static var itemsMax: Int { 64 }
    /// How many bytes they have together at most; what is larger alone goes alone.
    nonisolated public static var bytesMax: Int { 256 * 1024 }

    private enum Word {
        case yourTurn
        case answer(Result<Answer, any Error>)
    }

    private struct Call {
        let item: Item
        let continuation: CheckedContinuation<Word, Never>
    }

    private let gathering: Duration
    private let bytes: @Sendable (Item) -> Int
    private let statement: @LoopActor ([Item]) async throws -> [Answer]
    private var waiting: [Call] = []
    private var isUnderWay = false
    /// Whoever sends the next statement, until the tick has ended.
    private var sender: CheckedContinuation<Void, Never>?
    /// For the loop.
    public var isFlushScheduled = false

    /// - Parameters:
    ///   - gathering: how long each statement waits for others to come along; zero for the end of
    ///     the tick.
    ///   - bytes: how large a call is; nothing where none is of a size that matters.
    ///   - statement: answers each item, in their order, or throws when none had its effect.
    nonisolated public init(
        gathering: Duration = .zero,
        bytes: @escaping @Sendable (Item) -> Int = { _ in 0 },
        _ statement: @escaping @LoopActor ([Item]) async throws -> [Answer]
    ) {
        self.gathering = gathering
        self.bytes = bytes
        self.statement = statement
    }

    /// The answer to `item`.
    ///
    /// - Throws: what its own statement throws: an item at fault does not fail its neighbours.
    public func call(_ item: Item) async throws -> Answer {
        if isUnderWay {
            let word = await withCheckedContinuation { continuation in
                waiting.append(Call(item: item, continuation: continuation))
            }
            if case .answer(let result) = word { return try result.get() }
        }
        isUnderWay = true
        if gathering > .zero {
            try? await EventLoop.shared.sleep(for: gathering)
        } else {
            await tickEnd()
        }
        let others = company(of: item)
        let results = await answers(to: [item] + others.map { $0.item })
        for (call, result) in zip(others, results.dropFirst()) {
            call.continuation.resume(returning: .answer(result))
        }
        if waiting.isEmpty {
            isUnderWay = false
        } else {
            waiting.removeFirst().continuation.resume(returning: .yourTurn)
        }
        return try results[0].get()
    }

    /// Takes those who wait longest and fit into one statement with `item`.
    private func company(of item: Item) -> [Call] {
        var left = GroupedStatement.bytesMax - bytes(item)
        let others = waiting.prefix(GroupedStatement.itemsMax - 1).prefix { call in
            left -= bytes(call.item)
            return left >= 0
        }
        waiting.removeFirst(others.count)
        return Array(others)
    }

    private func tickEnd() async {
        await withCheckedContinuation { continuation in
            sender = continuation
            EventLoop.shared.flushLater(self)
        }
    }

    /// At the end of a tick: whoever has the turn sends what has come together.
    public func flush() {
        sender?.resume()
        sender = nil
    }

    private func answers(to items: [Item]) async -> [Result<Answer, any Error>] {
        do {
            let answers = try await statement(items)
            guard answers.count == items.count else {
                throw PostgresError(
                    .decoding,
                    "a statement for \(items.count)",
                    "it gave \(answers.count) answers",
                    outcomeUnknown: true
                )
            }
            return answers.map { .success($0) }
        } catch let error as PostgresError
            where items.count > 1 && !error.isUnavailable && !error.outcomeUnknown
        {
            // Nothing was written. Each is tried alone, and the one at fault fails alone.
            var results: [Result<Answer, any Error>] = []
            for item in items { results += await answers(to: [item]) }
            return results
        } catch {
            return items.map { _ in .failure(error) }
        }
    }
}
