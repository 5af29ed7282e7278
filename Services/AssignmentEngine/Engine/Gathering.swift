internal import Domain
internal import EventLoop
internal import HTTPServer
internal import Platform

/// Asks together what is asked at the same moment.
///
/// A question that finds a place free is asked at once, alone. Those that come while as many as may be
/// are under way wait, and the next one takes all of them along; each gets its own answer.
///
/// `GroupedStatement` does this for one statement of one kind, whose callers limit how many wait, and
/// tries each alone after a fault. Here questions have keys, of which none waits for another's (the
/// sizes of rings); two commits of claims are under way, so that one is prepared while the other is
/// flushed; what goes together is bounded by bytes, and what waits by a 503; and a fault is the
/// caller's, because a claim is then tried again in another way (`Claims.attempt`).
@LoopActor
final class Gathering<Key: Hashable & Sendable, Question: Sendable, Answer: Sendable> {
    /// Answers in the order of the questions.
    typealias Ask = @LoopActor (Key, [Question]) async throws -> [Answer]

    private let underWayMax: Int
    private let perform: Ask
    private var batches: WriteBatches<Key, Asked>
    private var underWay: [Key: Int] = [:]
    /// Those who began a batch and wait for a place, first come first served.
    private var waiting: [Key: [CheckedContinuation<Void, Never>]] = [:]

    /// - Parameters:
    ///   - underWayMax: how many may be under way for one key.
    ///   - limits: how much goes together, and how much may wait.
    init(underWayMax: Int, limits: WriteBatchLimits, perform: @escaping Ask) {
        self.underWayMax = underWayMax
        self.perform = perform
        batches = WriteBatches(limits: limits)
    }

    private typealias Asked = (question: Question, answer: Promise<Answer>)

    /// Asks, with the others of the key that wait.
    ///
    /// - Throws: what asking threw, for all who were asked for together; `Problem` when too many wait.
    func ask(_ question: Question, bytes: Int = 0, of key: Key) async throws -> Answer {
        let asked = (question: question, answer: Promise<Answer>())
        switch batches.add(asked, bytes: bytes, to: key) {
        case .refused: throw Problem.unavailable("too many ask for the same at once")
        case .joined: break
        case .began(let number):
            await place(of: key)
            await answer(batches.take(number, of: key), of: key)
            free(key)
        }
        return try await asked.answer.result.get()
    }

    private func answer(_ asked: [Asked], of key: Key) async {
        do {
            let answers = try await perform(key, asked.map(\.question))
            // Who got none would wait for ever.
            guard answers.count == asked.count else {
                throw UnexpectedAnswer(function: "a question for \(asked.count)")
            }
            for (one, answer) in zip(asked, answers) { one.answer.settle(.success(answer)) }
        } catch {
            for one in asked { one.answer.settle(.failure(error)) }
        }
    }

    private func place(of key: Key) async {
        guard underWay[key, default: 0] == underWayMax else {
            underWay[key, default: 0] += 1
            return
        }
        await withCheckedContinuation { waiting[key, default: []].append($0) }
    }

    /// Whoever waits longest gets the place.
    private func free(_ key: Key) {
        if var queue = waiting[key], !queue.isEmpty {
            let next = queue.removeFirst()
            waiting[key] = queue.isEmpty ? nil : queue
            next.resume()
        } else {
            let left = underWay[key, default: 1] - 1
            underWay[key] = left == 0 ? nil : left
        }
    }
}
