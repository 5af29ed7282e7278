public import FoundationEssentials
internal import Glibc

/// What is known of an open thread when a message looks for its place.
public struct ThreadFacts: Sendable, Hashable {
    /// The thread.
    public let id: UUID
    /// Term hashes of its last messages, at most ``ThreadScore/messagesConsidered``.
    public let recentTerms: [[UInt32]]
    /// Who wrote its last messages, at most ``ThreadScore/authorsConsidered``.
    public let recentAuthors: [String]
    /// Who was mentioned in its last messages.
    public let recentMentions: [String]
    /// When its last message came, in milliseconds since 1970.
    public let lastMessageAt: Int64

    /// The facts of one thread.
    public init(
        id: UUID,
        recentTerms: [[UInt32]],
        recentAuthors: [String],
        recentMentions: [String],
        lastMessageAt: Int64
    ) {
        self.id = id
        self.recentTerms = recentTerms
        self.recentAuthors = recentAuthors
        self.recentMentions = recentMentions
        self.lastMessageAt = lastMessageAt
    }
}

extension ThreadFacts {
    /// How many mentions of its last messages a thread keeps.
    public static let mentionsKept = 32

    /// The facts once a message with `features` by `author` is in the thread, as the database will
    /// have them: for choosing the places of several messages before any of them is written.
    public func adding(_ features: TextFeatures, author: String, at now: Int64) -> ThreadFacts {
        var mentions: [String] = []
        for name in features.mentions + recentMentions where !mentions.contains(name) {
            mentions.append(name)
        }
        return ThreadFacts(
            id: id,
            recentTerms: (recentTerms + [features.terms]).suffix(ThreadScore.messagesConsidered),
            recentAuthors: (recentAuthors + [author]).suffix(ThreadScore.authorsConsidered),
            recentMentions: Array(mentions.prefix(ThreadFacts.mentionsKept)),
            lastMessageAt: now
        )
    }
}

/// How well a message fits a thread: words in common, same people, and how long ago.
///
/// Pure and deterministic: equal facts give equal scores on every instance.
public enum ThreadScore {
    /// The name of this formula, stored with every choice.
    public static let algorithm = "lexical-v1"
    /// A thread that scores lower is no place for the message.
    public static let threshold = 0.35
    /// How many messages of a thread count.
    public static let messagesConsidered = 20
    /// How many authors of a thread count.
    public static let authorsConsidered = 3

    static let textWeight = 0.45
    static let authorWeight = 0.25
    static let mentionWeight = 0.20
    static let recencyWeight = 0.10
    static let recencyMilliseconds = 30.0 * 60 * 1000

    /// The score of `thread`, from 0 to 1, for a message with `features` by `author` at `now`.
    public static func score(
        _ features: TextFeatures,
        author: String,
        thread: ThreadFacts,
        now: Int64
    ) -> Double {
        let isSameAuthor = thread.recentAuthors.suffix(authorsConsidered).contains(author)
        let age = Double(max(0, now - thread.lastMessageAt))
        return textWeight * similarity(features.terms, thread.recentTerms)
            + authorWeight * (isSameAuthor ? 1 : 0)
            + mentionWeight * overlap(features.mentions, thread.recentMentions)
            + recencyWeight * exp(-age / recencyMilliseconds)
    }

    /// The share of the message's terms that the thread's last messages know.
    ///
    /// Terms are weighted by how rare they are in those messages, so words of every message count
    /// little.
    static func similarity(_ terms: [UInt32], _ messages: [[UInt32]]) -> Double {
        let recent = messages.suffix(messagesConsidered)
        guard !terms.isEmpty, !recent.isEmpty else { return 0 }
        var common = 0.0
        var all = 0.0
        for term in terms {
            let count = recent.count { $0.contains(term) }
            let weight = log(1 + Double(recent.count + 1) / Double(count + 1))
            all += weight
            if count > 0 { common += weight }
        }
        return common / all
    }

    private static func overlap(_ mentions: [String], _ others: [String]) -> Double {
        guard !mentions.isEmpty else { return 0 }
        let known = Set(others)
        return Double(mentions.count { known.contains($0) }) / Double(mentions.count)
    }
}
