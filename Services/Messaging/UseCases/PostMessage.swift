internal import Domain
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import PostgresClient
internal import Tracing

/// Stores a message, with its thread and the bot's turn, and wakes what has to go on.
///
/// Messages of one conversation that arrive while another is being written are written together,
/// and with those of other conversations that are to be written at the same time.
@LoopActor
final class PostMessage {
    /// How often a choice is made again because the threads changed; the last one is taken anyway.
    static let choicesMax = 4
    /// How often a message goes on to the conversation that came after a closed one.
    static let movesMax = 2

    private let conversations: ConversationRepository
    private let trips: MessageTrips
    private let limiter: RoomLimiter
    private let lock: MessageLock
    private let queue: ConversationQueue
    private let controlWord: @LoopActor (Caller, String) async -> ControlWord?
    private var batches = WriteBatches<Place, WaitingPost>()

    /// - Parameter controlWord: the order to the bot that a contact's text is, if it is one.
    init(
        messages: MessageRepository,
        conversations: ConversationRepository,
        configuration: MessagingConfiguration,
        limiter: RoomLimiter,
        lock: MessageLock,
        queue: ConversationQueue,
        controlWord: @escaping @LoopActor (Caller, String) async -> ControlWord?
    ) {
        self.conversations = conversations
        trips = MessageTrips(
            messages: messages,
            conversations: conversations,
            configuration: configuration
        )
        self.limiter = limiter
        self.lock = lock
        self.queue = queue
        self.controlWord = controlWord
    }

    /// Whose conversation is written to: another tenant's caller may name the same id.
    private struct Place: Hashable, Sendable {
        let tenant: UUID
        let conversation: UUID
    }

    func execute(_ caller: Caller, _ message: NewMessage) async throws -> Outcome {
        var message = message
        if message.sender.kind == .contact {
            message.control = await controlWord(caller, message.text)
        }
        var outcome = try await stored(caller, message)
        for _ in 1...PostMessage.movesMax where outcome.name == "elsewhere" {
            message = try await moved(caller, message, outcome)
            outcome = try await stored(caller, message)
        }
        return outcome
    }

    private func stored(_ caller: Caller, _ message: NewMessage) async throws -> Outcome {
        try await RequestKey.patiently { try await attempt(caller, message) }
    }

    /// The conversation is closed for good: the message begins the contact's next one, or joins it.
    ///
    /// What it answers, and the thread that it names, stay behind.
    private func moved(
        _ caller: Caller,
        _ message: NewMessage,
        _ outcome: Outcome
    ) async throws -> NewMessage {
        let contact = try JSON(parsing: outcome.answer)
        let next = try await conversations.open(
            caller,
            NewConversation(
                channelCode: contact["channel_code"]?.stringValue ?? "",
                contact: contact["contact"]?.stringValue ?? "",
                contactName: nil,
                externalID: nil,
                bot: contact["bot_id"]?.uuidValue,
                title: nil
            )
        )
        guard let id = try JSON(parsing: next.answer)["id"]?.uuidValue else {
            throw Problem.conversationClosed
        }
        return message.moved(to: id)
    }

    private func attempt(_ caller: Caller, _ message: NewMessage) async throws -> Outcome {
        let began = MonotonicTime.now()
        // Both are asked at the same time: one wait instead of two.
        async let held = lock.acquire(message.id)
        let admission = await admission(message)
        let hold = await held
        Span.past("message.guard", since: began)
        let post = WaitingPost(
            PendingPost(caller: caller, message: message, delay: admission.delay)
        )
        let result = await withSpan("message.write") {
            post.span = Span.current
            return await written(post)
        }
        limiter.settle(admission, RoomLimiter.Use(posted: result))
        await lock.release(hold)
        return try result.get()
    }

    /// A thread that the caller names is no automatic assignment and is not counted.
    private func admission(_ message: NewMessage) async -> RoomLimiter.Admission {
        guard message.thread == nil else { return .open }
        if let later = message.laterAfter { return .later(later) }
        return await limiter.admit(
            conversation: message.conversation,
            member: message.member
        )
    }

    // MARK: Together

    /// Waits with the others of the conversation; whoever began a batch writes it for all of them.
    private func written(_ post: WaitingPost) async -> Result<Outcome, any Error> {
        let message = post.pending.message
        let place = Place(tenant: post.pending.caller.tenant, conversation: message.conversation)
        switch batches.add(post, bytes: message.text.utf8.count, to: place) {
        case .joined: break
        case .refused:
            post.outcome.settle(
                .failure(Problem.unavailable("too many messages for this conversation at once"))
            )
        case .began(let batch):
            do {
                try await queue.run(message.conversation) {
                    let posts = batches.take(batch, of: place)
                    // What they leave behind is one commit: it belongs to the first that is recorded.
                    await withSpan(of: posts.lazy.compactMap(\.span).first) { await write(posts) }
                }
            } catch {
                // There was no turn to be had.
                for waiting in batches.take(batch, of: place) {
                    waiting.outcome.settle(.failure(error))
                }
            }
        }
        return await post.outcome.result
    }

    /// Writes what waited; one that fails does not take its neighbours along.
    private func write(_ posts: [WaitingPost]) async {
        do {
            let outcomes = try await place(posts.map(\.pending))
            for (post, outcome) in zip(posts, outcomes) { post.outcome.settle(.success(outcome)) }
        } catch let error as PostgresError where posts.count > 1 && !error.isUnavailable {
            // Nothing was written. Each is tried alone, and the one at fault fails alone.
            for post in posts { await write([post]) }
        } catch {
            for post in posts { post.outcome.settle(.failure(error)) }
        }
    }

    // MARK: Choosing and writing

    /// Chooses threads and writes, again where the threads have changed meanwhile.
    private func place(_ posts: [PendingPost]) async throws -> [Outcome] {
        let caller = posts[0].caller
        let conversation = posts[0].message.conversation
        var snapshot: ThreadSnapshot?
        if posts.contains(where: \.needsChoice) {
            snapshot = try await withSpan("message.threads") {
                try await trips.snapshot(caller, conversation)
            }
        }
        for round in 1...PostMessage.choicesMax {
            let placed = PlacedPosts(
                posts: PostMessage.choose(posts, snapshot),
                version: snapshot?.version,
                isForced: round == PostMessage.choicesMax
            )
            try await FaultPoints.reached("message.before_commit")
            let result = try await withSpan("message.commit") { try await trips.post(placed) }
            try await FaultPoints.reached("message.committed")
            switch result {
            case .written(let outcomes): return outcomes
            case .stale(let fresh): snapshot = fresh
            case .busy: preconditionFailure("who waits for a conversation gets it, or an error")
            }
        }
        preconditionFailure("a forced choice is never stale")
    }

    /// Chooses for one after the other, each in the light of those before it.
    private static func choose(
        _ posts: [PendingPost],
        _ snapshot: ThreadSnapshot?
    ) -> [(post: PendingPost, choice: ThreadChoice?)] {
        guard var snapshot else { return posts.map { ($0, nil) } }
        return posts.map { post in
            let message = post.message
            guard post.needsChoice else {
                if let thread = message.thread {
                    snapshot.add(message.features, to: thread)
                }
                return (post, nil)
            }
            let choice = ThreadChoice.choose(
                explicit: nil,
                replyThread: nil,
                features: message.features,
                threads: snapshot.threads,
                now: snapshot.now
            ).naming(UUID.version7(milliseconds: snapshot.now))
            if let thread = choice.thread {
                snapshot.add(message.features, to: thread)
            }
            return (post, choice)
        }
    }
}

/// A message on its way into the database, and whoever waits for what becomes of it.
@LoopActor
private final class WaitingPost {
    let pending: PendingPost
    /// The step of the request that waits; nil where nobody records.
    var span: Span?
    let outcome = Promise<Outcome>()

    init(_ pending: PendingPost) {
        self.pending = pending
    }
}

extension RequestKey {
    /// How long a repeat waits for another process that works on the same key.
    static let wait: Duration = .seconds(5)
    /// How often it looks.
    static let poll: Duration = .milliseconds(100)

    /// Tries again while another process works on the same key, holding nothing meanwhile.
    @LoopActor
    static func patiently(
        _ attempt: @LoopActor () async throws -> Outcome
    ) async throws -> Outcome {
        let deadline = MonotonicTime.now() + wait
        while true {
            let outcome = try await attempt()
            guard outcome.name == "in_progress", MonotonicTime.now() < deadline else {
                return outcome
            }
            try await EventLoop.shared.sleep(for: poll)
        }
    }
}
