internal import Domain
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import PostgresClient

/// Stores a message, with its thread and the bot's turn, and wakes what has to go on.
@LoopActor
final class PostMessage {
    /// How often a choice is made again because the threads changed; the last one is taken anyway.
    static let choicesMax = 4

    private let messages: MessageRepository
    private let conversations: ConversationRepository
    private let configuration: MessagingConfiguration
    private let limiter: RoomLimiter
    private let lock: MessageLock
    private let queue: ConversationQueue

    init(
        messages: MessageRepository,
        conversations: ConversationRepository,
        configuration: MessagingConfiguration,
        limiter: RoomLimiter,
        lock: MessageLock,
        queue: ConversationQueue
    ) {
        self.messages = messages
        self.conversations = conversations
        self.configuration = configuration
        self.limiter = limiter
        self.lock = lock
        self.queue = queue
    }

    /// What is known before anything is written.
    private struct Ground: Sendable {
        let snapshot: ThreadSnapshot?
        let delay: Duration?
        let hold: MessageLock.Hold
    }

    func execute(_ caller: Caller, _ message: NewMessage) async throws -> Outcome {
        try await queue.run(message.conversation) {
            try await RequestKey.patiently { try await attempt(caller, message) }
        }
    }

    private func attempt(_ caller: Caller, _ message: NewMessage) async throws -> Outcome {
        // The stores are asked at the same time: one wait instead of three.
        async let held = lock.acquire(message.id)
        async let delay = delay(message)
        async let snapshot =
            message.thread == nil
            ? conversations.snapshot(caller, message.conversation) : nil
        let ground = Ground(
            snapshot: try await snapshot,
            delay: await delay,
            hold: await held
        )
        do {
            let outcome = try await write(caller, message, ground)
            await lock.release(message.id, ground.hold)
            return outcome
        } catch {
            await lock.release(message.id, ground.hold)
            throw error
        }
    }

    /// A thread that the caller names is no automatic assignment and is not counted.
    private func delay(_ message: NewMessage) async -> Duration? {
        guard message.thread == nil else { return nil }
        return await limiter.delay(
            conversation: message.conversation,
            member: message.member
        )
    }

    private func write(
        _ caller: Caller,
        _ message: NewMessage,
        _ ground: Ground
    ) async throws -> Outcome {
        var snapshot = ground.snapshot
        var result: MessageOutcome?
        for round in 1...PostMessage.choicesMax {
            let placed = snapshot.map { snapshot in
                PlacedChoice(
                    choice: .choose(
                        explicit: nil,
                        replyThread: nil,
                        features: message.features,
                        author: message.sender.id,
                        threads: snapshot.threads,
                        now: snapshot.now
                    ),
                    version: snapshot.version,
                    isForced: round == PostMessage.choicesMax
                )
            }
            try await FaultPoints.reached("message.before_commit")
            let written = try await post(caller, message, placed, ground.delay)
            try await FaultPoints.reached("message.committed")
            result = written
            guard written.outcome.name == "stale_choice" else { break }
            snapshot = written.snapshot
        }
        guard let result else { preconditionFailure("there is at least one round") }
        return result.outcome
    }

    /// The same external id may be stored in another conversation at this instant; then the second
    /// look finds it.
    private func post(
        _ caller: Caller,
        _ message: NewMessage,
        _ placed: PlacedChoice?,
        _ delay: Duration?
    ) async throws -> MessageOutcome {
        do {
            return try await messages.post(
                caller,
                message,
                placed,
                deferredFor: delay,
                mailbox: configuration
            )
        } catch let error as PostgresError where error.isUniqueViolation {
            return try await messages.post(
                caller,
                message,
                placed,
                deferredFor: delay,
                mailbox: configuration
            )
        }
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
