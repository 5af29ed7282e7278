public import FoundationEssentials

/// What is known of an open thread when a message looks for its place.
public struct ThreadFacts: Sendable, Hashable {
    /// How many mentions of its last messages a thread keeps.
    public static let mentionsKept = 32

    /// The thread.
    public let id: UUID
    /// Term hashes of its last messages, at most ``ThreadScore/messagesConsidered``.
    public let recentTerms: [[UInt32]]
    /// Who was mentioned in its last messages.
    public let recentMentions: [String]
    /// Who wrote its last message; nil where that is not known.
    public let lastAuthor: String?
    /// When its last message came, in milliseconds since 1970.
    public let lastMessageAt: Int64

    /// The facts of one thread.
    public init(
        id: UUID,
        recentTerms: [[UInt32]],
        recentMentions: [String],
        lastAuthor: String?,
        lastMessageAt: Int64
    ) {
        self.id = id
        self.recentTerms = recentTerms
        self.recentMentions = recentMentions
        self.lastAuthor = lastAuthor
        self.lastMessageAt = lastMessageAt
    }

    /// Whether its last message asked something.
    public var endsWithQuestion: Bool {
        recentTerms.last?.contains(TextFeatures.question) ?? false
    }

    /// The facts once a message with `features` is in the thread, as the database will have them: for
    /// choosing the places of several messages before any of them is written.
    public func adding(_ features: TextFeatures, at now: Int64) -> ThreadFacts {
        var mentions: [String] = []
        for name in features.mentions + recentMentions where !mentions.contains(name) {
            mentions.append(name)
        }
        return ThreadFacts(
            id: id,
            recentTerms: (recentTerms + [features.keptTerms])
                .suffix(ThreadScore.messagesConsidered),
            recentMentions: Array(mentions.prefix(ThreadFacts.mentionsKept)),
            lastAuthor: features.author,
            lastMessageAt: now
        )
    }
}
