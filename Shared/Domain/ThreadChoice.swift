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

    /// With a new thread: which of the others came closest; nil where there were none.
    public let nearest: Near?

    /// A thread, and how well the message fits it.
    public struct Near: Sendable, Hashable {
        /// The thread.
        public let thread: UUID
        /// Its score.
        public let parts: ThreadScore
    }

    private init(
        _ method: AssignmentMethod,
        _ thread: UUID?,
        _ parts: ThreadScore? = nil,
        nearest: Near? = nil
    ) {
        self.method = method
        self.thread = thread
        self.parts = parts
        self.nearest = nearest
    }

    /// The same choice; a new thread gets this id, so that messages behind it can join it.
    public func naming(_ newThread: @autoclosure () -> UUID) -> ThreadChoice {
        guard method == .newThread else { return self }
        return ThreadChoice(method, newThread(), nearest: nearest)
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
        var best: Near?
        for (thread, parts) in zip(threads, ThreadScore.scores(features, threads, now: now)) {
            if let current = best {
                let (score, most) = (parts.total, current.parts.total)
                let isBetter =
                    score > most
                    || (score == most && thread.id.uuidString < current.thread.uuidString)
                if !isBetter { continue }
            }
            best = Near(thread: thread.id, parts: parts)
        }
        guard let best, best.parts.total >= ThreadScore.threshold else {
            return ThreadChoice(.newThread, nil, nearest: best)
        }
        return ThreadChoice(.similar, best.thread, best.parts)
    }
}
