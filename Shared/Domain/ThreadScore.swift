internal import Glibc

/// How well a message fits each of a conversation's threads: words in common, people mentioned, how
/// long ago, and whose turn it is.
///
/// Pure and deterministic: equal facts give equal scores on every instance, and what it looks at is
/// bounded. The weights, and what a word is worth, were chosen on marked conversations;
/// `Tests/Bench/threading/README.md` has the measurement and what it says of conversations that they
/// were not chosen on.
public struct ThreadScore: Sendable, Hashable {
    /// The name of this formula, stored with every choice; a choice that was made stays as it is.
    public static let algorithm = "lexical-v3"
    /// A thread that scores lower is no place for the message.
    public static let threshold = 0.24
    /// How many messages of a thread count.
    public static let messagesConsidered = 20

    static let wordsWeight = 0.7
    static let mentionsWeight = 0.1
    static let recencyWeight = 0.1
    static let recencyMilliseconds = 60.0 * 1000
    /// What a word of three letters or fewer counts of a longer one: "is", "und", "ok".
    static let shortWordFactor = 0.7

    /// 0.7 times the share of the message's words that the thread's last messages know.
    public let words: Double
    /// 0.1 times the share of the people it mentions who were mentioned there.
    public let mentions: Double
    /// Up to 0.1, for a thread that was written to just now.
    public let recency: Double
    /// Up to 0.5: the author goes on, or answers (``Turns``).
    public let turn: Double

    /// From 0 to 1.
    public var total: Double { min(1, words + mentions + recency + turn) }

    /// The score of each of `threads` for a message with `features` at `now`.
    ///
    /// - Parameter threads: the one that was written to last at the front.
    public static func scores(
        _ features: TextFeatures,
        _ threads: [ThreadFacts],
        now: Int64
    ) -> [ThreadScore] {
        let similarities = similarities(features, threads.map(\.recentTerms))
        let turns = Turns.parts(features, threads, now: now)
        return threads.indices.map { index in
            let thread = threads[index]
            let age = Double(max(0, now - thread.lastMessageAt))
            return ThreadScore(
                words: wordsWeight * similarities[index],
                mentions: mentionsWeight * overlap(features.mentions, thread.recentMentions),
                recency: recencyWeight * exp(-age / recencyMilliseconds),
                turn: turns[index]
            )
        }
    }

    /// For each thread, the share of the message's terms that its last messages know.
    ///
    /// Terms are weighted by how rare they are in the last messages of all the threads together: what
    /// is said in all of them tells none from another.
    static func similarities(_ features: TextFeatures, _ threads: [[[UInt32]]]) -> [Double] {
        let terms = features.terms
        guard !terms.isEmpty else { return threads.map { _ in 0 } }
        let positions = Dictionary(
            zip(terms, terms.indices),
            uniquingKeysWith: { first, _ in first }
        )
        var messages = 0
        var frequency = [Int](repeating: 0, count: terms.count)
        var known = [[Bool]](
            repeating: [Bool](repeating: false, count: terms.count),
            count: threads.count
        )
        for (number, thread) in threads.enumerated() {
            for message in thread.suffix(messagesConsidered) {
                messages += 1
                for term in message {
                    guard let position = positions[term] else { continue }
                    frequency[position] += 1
                    known[number][position] = true
                }
            }
        }
        let weights = zip(terms, frequency).map { term, count in
            log(1 + Double(messages + 1) / Double(count + 1))
                * (features.shortTerms.contains(term) ? shortWordFactor : 1)
        }
        let all = weights.reduce(0, +)
        return known.map { flags in
            zip(flags, weights).reduce(0) { $0 + ($1.0 ? $1.1 : 0) } / all
        }
    }

    private static func overlap(_ mentions: [String], _ others: [String]) -> Double {
        guard !mentions.isEmpty else { return 0 }
        let known = Set(others)
        return Double(mentions.count { known.contains($0) }) / Double(mentions.count)
    }

    /// What the order of turns says where a message has too few words to say it.
    ///
    /// Who writes a few words more within seconds goes on with what was said. Otherwise a message that
    /// asks nothing answers a thread whose last word another has: the more surely the fewer of them
    /// there are and the later that was, and sooner one that ended with a question. The more words the
    /// message has of its own, the less an answer's turn counts.
    public enum Turns {
        static let continuesWeight = 0.4
        static let continuesMilliseconds = 20.0 * 1000
        /// A message of more terms says itself what it is about.
        static let continuesTermsMax = 4
        static let answersWeight = 0.5
        static let answersMilliseconds = 600.0 * 1000
        /// What an answer to a thread that did not end with a question counts of one that did.
        static let statementFactor = 0.7
        /// A message of so many terms has half of an answer's weight.
        static let termsOfHalf = 4.0

        // Which of the threads that wait is answered: each has a share.
        static let waitsMilliseconds = 300.0 * 1000
        static let questionFactor = 8.0
        /// What a thread that waits counts of the one that was written to after it.
        static let laterFactor = 0.3
        /// The share of that none is.
        static let noneFactor = 0.1

        static func parts(
            _ features: TextFeatures,
            _ threads: [ThreadFacts],
            now: Int64
        ) -> [Double] {
            var parts = answers(features, threads, now: now)
            if let newest = threads.first, newest.lastAuthor == features.author,
                features.terms.count <= continuesTermsMax
            {
                parts[0] = continuesWeight * fading(newest, now, continuesMilliseconds)
            }
            return parts
        }

        private static func answers(
            _ features: TextFeatures,
            _ threads: [ThreadFacts],
            now: Int64
        ) -> [Double] {
            guard !features.asks else { return threads.map { _ in 0 } }
            var position = 1.0
            let waiting = threads.map { thread in
                guard let last = thread.lastAuthor, last != features.author else { return 0.0 }
                defer { position *= laterFactor }
                return position * (thread.endsWithQuestion ? questionFactor : 1)
                    * fading(thread, now, waitsMilliseconds)
            }
            let all = waiting.reduce(noneFactor, +)
            let brevity = 1 / (1 + Double(features.terms.count) / termsOfHalf)
            return zip(threads, waiting).map { thread, share in
                answersWeight * brevity * share / all
                    * (thread.endsWithQuestion ? 1 : statementFactor)
                    * fading(thread, now, answersMilliseconds)
            }
        }

        private static func fading(_ thread: ThreadFacts, _ now: Int64, _ span: Double) -> Double {
            exp(-Double(max(0, now - thread.lastMessageAt)) / span)
        }
    }
}
