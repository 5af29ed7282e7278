public import FoundationEssentials
internal import Glibc

/// What is known of an open thread when a message looks for its place.
public struct ThreadFacts: Sendable, Hashable {
    /// The thread.
    public let id: UUID
    /// Term hashes of its last messages, at most ``ThreadScore/messagesConsidered``.
    public let recentTerms: [[UInt32]]
    /// Who was mentioned in its last messages.
    public let recentMentions: [String]
    /// When its last message came, in milliseconds since 1970.
    public let lastMessageAt: Int64

    /// The facts of one thread.
    public init(
        id: UUID,
        recentTerms: [[UInt32]],
        recentMentions: [String],
        lastMessageAt: Int64
    ) {
        self.id = id
        self.recentTerms = recentTerms
        self.recentMentions = recentMentions
        self.lastMessageAt = lastMessageAt
    }
}

extension ThreadFacts {
    /// How many mentions of its last messages a thread keeps.
    public static let mentionsKept = 32

    /// The facts once a message with `features` is in the thread, as the database will have them: for choosing the places of several messages before any of them is written.
    public func adding(_ features: TextFeatures, at now: Int64) -> ThreadFacts {
        var mentions: [String] = []
        for name in features.mentions + recentMentions where !mentions.contains(name) {
            mentions.append(name)
        }
        return ThreadFacts(
            id: id,
            recentTerms: (recentTerms + [features.terms]).suffix(ThreadScore.messagesConsidered),
            recentMentions: Array(mentions.prefix(ThreadFacts.mentionsKept)),
            lastMessageAt: now
        )
    }
}

/// How well a message fits each of a conversation's threads: words in common, people mentioned, and
/// how long ago.
///
/// Pure and deterministic: equal facts give equal scores on every instance. The weights, and what a
/// word is worth, were chosen on marked conversations; `Tests/Bench/threading/README.md` has the
/// measurement and what it says of conversations that they were not chosen on.
public enum ThreadScore {
    /// The name of this formula, stored with every choice; a choice that was made stays as it is.
    public static let algorithm = "lexical-v2"
    /// A thread that scores lower is no place for the message.
    public static let threshold = 0.20
    /// How many messages of a thread count.
    public static let messagesConsidered = 20

    static let textWeight = 0.80
    static let mentionWeight = 0.10
    static let recencyWeight = 0.10
    static let recencyMilliseconds = 60.0 * 1000

    /// The score of each of `threads`, from 0 to 1, for a message with `features` at `now`.
    public static func scores(
        _ features: TextFeatures,
        _ threads: [ThreadFacts],
        now: Int64
    ) -> [Double] {
        let similarities = similarities(features.terms, threads.map(\.recentTerms))
        return zip(threads, similarities).map { thread, similarity in
            let age = Double(max(0, now - thread.lastMessageAt))
            return textWeight * similarity
                + mentionWeight * overlap(features.mentions, thread.recentMentions)
                + recencyWeight * exp(-age / recencyMilliseconds)
        }
    }

    /// For each thread, the share of the message's terms that its last messages know.
    ///
    /// Terms are weighted by how rare they are in the last messages of all the threads together: what
    /// is said in all of them tells none from another.
    static func similarities(_ terms: [UInt32], _ threads: [[[UInt32]]]) -> [Double] {
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
        let weights = frequency.map { log(1 + Double(messages + 1) / Double($0 + 1)) }
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
}
