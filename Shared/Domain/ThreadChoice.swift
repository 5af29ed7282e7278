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
    /// The score of the chosen thread; nil where no score decided.
    public let parts: ThreadScore?
    /// The whole score; 0 where none decided.
    public var score: Double { parts?.total ?? 0 }

    private init(_ method: AssignmentMethod, _ thread: UUID?, _ parts: ThreadScore? = nil) {
        self.method = method
        self.thread = thread
        self.parts = parts
    }

    /// The same choice; a new thread gets this id, so that messages behind it can join it.
    public func naming(_ newThread: @autoclosure () -> UUID) -> ThreadChoice {
        guard method == .newThread else { return self }
        return ThreadChoice(method, newThread())
    }

    /// Chooses in this order: the thread that is named, the thread of the message replied to, the
    /// best open thread that scores at least ``ThreadScore/threshold``, a new thread.
    ///
    /// Of two equal scores the thread with the smaller id wins, so every instance chooses alike.
    ///
    /// - Parameter threads: the one that was written to last at the front.
    public static func choose(
        explicit: UUID?,
        replyThread: UUID?,
        features: TextFeatures,
        threads: [ThreadFacts],
        now: Int64
    ) -> ThreadChoice {
        if let explicit { return ThreadChoice(.explicit, explicit) }
        if let replyThread { return ThreadChoice(.reply, replyThread) }
        var best: (thread: UUID, parts: ThreadScore)?
        for (thread, parts) in zip(threads, ThreadScore.scores(features, threads, now: now)) {
            let score = parts.total
            guard score >= ThreadScore.threshold else { continue }
            if let current = best {
                let isBetter =
                    score > current.parts.total
                    || (score == current.parts.total
                        && thread.id.uuidString < current.thread.uuidString)
                if !isBetter { continue }
            }
            best = (thread.id, parts)
        }
        guard let best else { return ThreadChoice(.newThread, nil) }
        return ThreadChoice(.similar, best.thread, best.parts)
    }
}
