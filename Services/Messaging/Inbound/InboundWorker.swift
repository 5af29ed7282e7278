internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging
internal import Tracing

/// Turns kept events into messages.
///
/// A message's name in its channel is its external id, so an event that is worked on twice, or two
/// events of one gesture, make one message.
@LoopActor
final class InboundWorker {
    /// How many events one look takes.
    static let batch = 32
    /// Between two looks when nobody wakes it.
    static let pollInterval: Duration = .seconds(1)
    /// After so long another instance takes over an event whose worker died.
    static let lease: Duration = .seconds(30)
    /// After so many tries an event is given up, and stays to be fed in again.
    static let attemptsMax = 8

    private let inbound: InboundRepository
    private let conversations: ConversationRepository
    private let post: PostMessage
    private let committed: @LoopActor (Caller, UUID, _ bot: [UInt8]?) async -> Void
    private let logger: Logger
    private let wakeup = Wakeup()
    private var isStopped = false
    private var worker: Task<Void, Never>?

    init(
        inbound: InboundRepository,
        conversations: ConversationRepository,
        post: PostMessage,
        logger: Logger,
        committed: @escaping @LoopActor (Caller, UUID, _ bot: [UInt8]?) async -> Void
    ) {
        self.inbound = inbound
        self.conversations = conversations
        self.post = post
        self.logger = logger
        self.committed = committed
    }

    func start() {
        worker = Task { await run() }
    }

    func stop() async {
        isStopped = true
        wakeup.wake()
        await worker?.value
    }

    /// There is something to do.
    func wake() { wakeup.wake() }

    private func run() async {
        while !isStopped {
            var found = 0
            do {
                let work = try await inbound.claim(
                    limit: InboundWorker.batch,
                    lease: InboundWorker.lease
                )
                found = work.count
                // One after the other: messages of a channel come in the order they were written.
                for event in work {
                    await withSpan("inbound.take", .consumer, below: event.trace) {
                        await settle(event)
                    }
                }
            } catch {
                logger.warning("inbound: the look failed", metadata: ["reason": "\(error)"])
            }
            if found == 0, !isStopped { await wakeup.rest(atMost: InboundWorker.pollInterval) }
        }
    }

    private func settle(_ work: InboundWork) async {
        do {
            try await take(work)
        } catch {
            let isLast = work.attempts >= InboundWorker.attemptsMax || isFinal(error)
            logger.warning(
                "inbound: an event was not taken",
                metadata: ["id": "\(work.id.text)", "reason": "\(error)", "last": "\(isLast)"]
            )
            let pause = Duration.seconds(1 << min(work.attempts, 8))
            try? await inbound.settle(
                work,
                state: isLast ? "failed" : nil,
                reason: "\(error)",
                pause: pause
            )
        }
    }

    /// Whether trying again is of no use.
    private func isFinal(_ error: any Error) -> Bool {
        guard let problem = error as? Problem else { return false }
        return (400..<500).contains(problem.status) && problem.retryAfterMilliseconds == nil
    }

    private func take(_ work: InboundWork) async throws {
        let envelope = try JSON(parsing: try inbound.open(work), limits: .foreign)
        switch SlackEvent.verdict(on: envelope) {
        case .ignored(let reason):
            try await inbound.settle(work, state: "ignored", reason: reason)
        case .message(let event):
            if let gesture = event.gesture, work.again == 0,
                try await !inbound.takeGesture(work, gesture)
            {
                // Written once, in a channel that two teams of this tenant share.
                try await inbound.settle(work, state: "ignored", reason: "same_gesture")
                return
            }
            let message = try await store(event, work)
            try await inbound.settle(work, state: "done", reason: nil, message: message)
        }
    }

    /// Stores the message in the contact's conversation; answers its id.
    private func store(_ event: SlackEvent, _ work: InboundWork) async throws -> UUID? {
        let opened = try await conversations.open(
            work.caller,
            NewConversation(
                channelCode: work.channelCode,
                contact: event.user,
                contactName: nil,
                externalID: nil,
                bot: nil,
                title: nil
            )
        )
        guard let conversation = try JSON(parsing: opened.answer)["id"]?.uuidValue else {
            throw Problem.invalid("/channel_code", "names no channel of this tenant")
        }
        var replyTo: UUID?
        if let thread = event.threadTS {
            replyTo = try await inbound.message(
                work.caller,
                conversation,
                externalID: SlackEvent.externalID(event.team, event.channel, thread),
                ts: thread
            )
        }
        let again = work.again == 0 ? "" : "#\(work.again)"
        let outcome = try await post.execute(
            work.caller,
            NewMessage(
                id: .version7(milliseconds: WallClock.milliseconds()),
                conversation: conversation,
                sender: Sender(kind: .contact, id: event.user),
                text: String(event.text.unicodeScalars.prefix(MessageRoutes.textMax)),
                externalID: event.externalID + again,
                replyTo: replyTo,
                thread: nil,
                key: nil,
                features: TextFeatures(event.text, author: event.user),
                attachments: event.attachments,
                providerThread: event.answerThread
            )
        )
        switch outcome.name {
        case "created": await committed(work.caller, conversation, outcome.bot)
        case "duplicate": break
        default: throw Problem.conflict(outcome.name, "the message was not stored")
        }
        return try JSON(parsing: outcome.answer)["message"]?["id"]?.uuidValue
    }
}
