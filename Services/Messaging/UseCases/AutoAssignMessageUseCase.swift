internal import Coordination
internal import Domain
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging
internal import PostgresClient
internal import Tracing

/// Assigns a stored message to a thread, once, whoever asks how often.
///
/// Checks run in this order: lock, already assigned (a success), the room's limit. Nothing that
/// decides is kept in this process: the lock and the counter are in Redis, the proof is the row.
@LoopActor
final class AutoAssignMessageUseCase {
    /// How long it waits for another instance that works on the same message.
    static let lockPatience: Duration = .seconds(2)
    /// How often it looks meanwhile.
    static let lockPoll: Duration = .milliseconds(100)

    private let messages: MessageRepository
    private let limiter: RoomLimiter
    private let lock: MessageLock
    private let queue: ConversationQueue
    private let logger: Logger
    /// Called after a commit that gave a message its thread.
    private let committed: @LoopActor (Caller, UUID) async -> Void

    init(
        messages: MessageRepository,
        limiter: RoomLimiter,
        lock: MessageLock,
        queue: ConversationQueue,
        logger: Logger,
        committed: @escaping @LoopActor (Caller, UUID) async -> Void
    ) {
        self.messages = messages
        self.limiter = limiter
        self.lock = lock
        self.queue = queue
        self.logger = logger
        self.committed = committed
    }

    /// Assigns the message.
    ///
    /// - Returns: `assignment` of the answer, as JSON.
    /// - Throws: a problem: 404, 409 `already_processing`, 429 `rate_limited`, 500; or why the database
    ///   is away. Each but the 404 is in the log.
    func execute(_ caller: Caller, message id: UUID) async throws -> [UInt8] {
        async let held = lock.acquire(id)
        async let known = messages.snapshot(caller, id)
        let hold = await held
        if case .open = hold {
            // No lock says that the message is being worked on: the database does.
            try? await messages.beginProcessing(caller, id, ttl: lock.ttl)
        }
        var room = JSON.null
        do {
            try await FaultPoints.reached("message.locked")
            let known = try await known
            room = known?["conversation_id"] ?? .null
            let answer = try await assign(caller, id, hold, known)
            await end(caller, id, hold)
            return answer
        } catch {
            await end(caller, id, hold)
            throw noted(error, caller, id, room)
        }
    }

    /// Notes why an assignment failed; a fault of ours becomes a 500 that says of which message.
    private func noted(
        _ error: any Error,
        _ caller: Caller,
        _ id: UUID,
        _ room: JSON
    ) -> any Error {
        let problem = error as? Problem
        guard problem?.status != 404 else { return error }
        let isAway = (error as? PostgresError)?.isUnavailable == true
        var metadata: Logger.Metadata = [
            "message_id": "\(id.text)", "conversation_id": "\(room.stringValue ?? "-")",
            "reason": "\(problem?.detail ?? "\(error)")", "request_id": "\(caller.requestID)",
        ]
        // What no request asked for is in a trace only where it is recorded, and the logger knows.
        if let trace = caller.trace { metadata["trace_id"] = "\(trace.traceID)" }
        logger.log(
            level: problem == nil && !isAway ? .error : .notice,
            "a message was not assigned",
            metadata: metadata
        )
        guard problem == nil, !isAway else { return error }
        var fault = Problem.internalError
        fault.detail = AutoAssignMessageUseCase.failure(id, "internal error")
        return fault
    }

    private func end(_ caller: Caller, _ id: UUID, _ hold: MessageLock.Hold) async {
        if case .open = hold { try? await messages.endProcessing(caller, id) }
        await lock.release(hold)
    }

    /// Whether somebody works on the message at this instant.
    ///
    /// Advisory: it may have ended since. What a crash left ends with the lock's time.
    func isMessageBeingProcessed(_ caller: Caller, _ id: UUID) async -> Bool {
        if await lock.isHeld(id) { return true }
        return (try? await messages.isBeingProcessed(caller, id)) ?? false
    }

    private func assign(
        _ caller: Caller,
        _ id: UUID,
        _ hold: MessageLock.Hold,
        _ known: JSON?
    ) async throws -> [UInt8] {
        guard let known else { throw Problem.notFound }
        switch hold {
        case .taken: return try await waitForOther(caller, id)
        case .refused: throw Problem.unavailable("no lock can be had: Redis is away")
        case .held, .open: break
        }
        if let assignment = known["assignment"], !assignment.isNull {
            return assignment.serialized()
        }
        guard let text = known["text"]?.stringValue,
            let author = known["sender_id"]?.stringValue,
            let conversation = known["conversation_id"]?.stringValue.flatMap(UUID.init(text:))
        else { throw Problem.internalError }
        let admission = await limiter.admit(
            conversation: conversation,
            member: NewMessage.member(id)
        )
        if let delay = admission.delay {
            throw Problem.tooManyRequests(
                AutoAssignMessageUseCase.failure(id, "rate limit of the room is reached"),
                retryAfterMilliseconds: Int(delay.milliseconds)
            )
        }
        let outcome: Outcome
        do {
            outcome = try await queue.run(conversation) {
                try await place(
                    caller,
                    id,
                    hold,
                    text,
                    TextFeatures(text, author: author),
                    ThreadSnapshot(known["snapshot"] ?? .null)
                )
            }
        } catch {
            // A lost statement was sent twice: how the second ended says nothing of the first.
            limiter.settle(admission, error is Problem ? .nothing : .unknown)
            throw error
        }
        limiter.settle(admission, outcome.name == "assigned" ? .assigned : .nothing)
        try await FaultPoints.reached("message.assigned")
        await committed(caller, conversation)
        return outcome.answer
    }

    private func place(
        _ caller: Caller,
        _ id: UUID,
        _ hold: MessageLock.Hold,
        _ text: String,
        _ features: TextFeatures,
        _ first: ThreadSnapshot
    ) async throws -> Outcome {
        var snapshot = first
        for round in 1...PostMessage.choicesMax {
            let choice = ThreadChoice.choose(
                explicit: nil,
                replyThread: nil,
                features: features,
                threads: snapshot.threads,
                now: snapshot.now
            )
            try await FaultPoints.reached("message.before_assign")
            // It stood still for longer than the lock lasts, and somebody else may be at it.
            if hold.isLost { throw AutoAssignMessageUseCase.beingProcessed(id) }
            let result = try await messages.assign(
                caller,
                id,
                text: text,
                features: features,
                PlacedChoice(
                    choice: choice,
                    version: snapshot.version,
                    isForced: round == PostMessage.choicesMax
                )
            )
            switch result.outcome.name {
            case "assigned", "already": return result.outcome
            case "not_found": throw Problem.notFound
            default: snapshot = result.snapshot ?? snapshot
            }
        }
        throw Problem.internalError
    }

    /// Another instance holds the lock: its result is ours, if it comes in time.
    private func waitForOther(_ caller: Caller, _ id: UUID) async throws -> [UInt8] {
        let deadline = MonotonicTime.now() + AutoAssignMessageUseCase.lockPatience
        while MonotonicTime.now() < deadline {
            let known = try await messages.snapshot(caller, id)
            if let assignment = known?["assignment"], !assignment.isNull {
                return assignment.serialized()
            }
            try await EventLoop.shared.sleep(for: AutoAssignMessageUseCase.lockPoll)
        }
        throw AutoAssignMessageUseCase.beingProcessed(id)
    }

    private nonisolated static func beingProcessed(_ id: UUID) -> Problem {
        var problem = Problem.conflict("already_processing", failure(id, "already being processed"))
        problem.retryable = true
        problem.retryAfterMilliseconds = 1000
        return problem
    }

    nonisolated static func failure(_ id: UUID, _ reason: String) -> String {
        "[AutoAssignMessageUseCase] Failed to auto-assign message \(id.text): \(reason)"
    }

    /// The 422 for a message that cannot be one.
    nonisolated static let invalidMessage = Problem.invalid(
        [
            Problem.Fault(
                pointer: "",
                detail: "[AutoAssignMessageUseCase] Invalid message object: "
                    + "missing id or roomId"
            )
        ],
        code: "invalid_message"
    )
}
