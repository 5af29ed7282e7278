public import FoundationEssentials

/// How a message came into its thread.
public enum AssignmentMethod: String, Sendable, CaseIterable {
    /// The caller named the thread.
    case explicit
    /// It answers a message of the thread.
    case reply
    /// The thread scored best.
    case similar
    /// No thread scored high enough.
    case newThread = "new_thread"
    /// A person moved it.
    case manual
}

/// The thread that a message goes to.
public struct ThreadChoice: Sendable, Hashable {
    /// How it was found.
    public let method: AssignmentMethod
    /// The thread; `nil` when a new one is to be made that has no id yet.
    public let thread: UUID?
    /// The score of the chosen thread; 0 where no score decided.
    public let score: Double

    /// The same choice; a new thread gets this id, so that messages behind it can join it.
    public func naming(_ newThread: UUID) -> ThreadChoice {
        guard method == .newThread else { return self }
        return ThreadChoice(method: method, thread: newThread, score: score)
    }

    /// Chooses in this order: the thread that is named, the thread of the message replied to, the
    /// best open thread that scores at least ``ThreadScore/threshold``, a new thread.
    ///
    /// Of two equal scores the thread with the smaller id wins, so every instance chooses alike.
    public static func choose(
        explicit: UUID?,
        replyThread: UUID?,
        features: TextFeatures,
        threads: [ThreadFacts],
        now: Int64
    ) -> ThreadChoice {
        if let explicit { return ThreadChoice(method: .explicit, thread: explicit, score: 0) }
        if let replyThread { return ThreadChoice(method: .reply, thread: replyThread, score: 0) }
        var best: (thread: UUID, score: Double)?
        for (thread, score) in zip(threads, ThreadScore.scores(features, threads, now: now)) {
            guard score >= ThreadScore.threshold else { continue }
            if let current = best {
                let isBetter =
                    score > current.score
                    || (score == current.score && thread.id.uuidString < current.thread.uuidString)
                if !isBetter { continue }
            }
            best = (thread.id, score)
        }
        guard let best else { return ThreadChoice(method: .newThread, thread: nil, score: 0) }
        return ThreadChoice(method: .similar, thread: best.thread, score: best.score)
    }
}
