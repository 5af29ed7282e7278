internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// Corrects threads by hand: what a person decides stands, whatever automatic assignment thinks.
@LoopActor
struct ThreadCorrection {
    /// How often a change is planned again because the threads changed; the last one is written
    /// anyway.
    static let plansMax = 4

    let threads: ThreadRepository

    /// Moves messages between threads.
    ///
    /// - Returns: `{thread, moved, from}`, as JSON.
    /// - Throws: a problem: 404, 409, 422.
    func execute(_ caller: Caller, _ reshape: ThreadReshape) async throws -> [UInt8] {
        try await planned {
            try await threads.plan(caller, reshape)
        } write: { plan, isForced in
            try await threads.reshape(caller, reshape, plan, isForced: isForced)
        }
    }

    /// Writes a message's text anew, or deletes the message (`nil`); its thread forgets the old text.
    ///
    /// - Returns: the message as JSON; of a deleted one only its conversation.
    /// - Throws: a problem: 404, 409.
    func change(_ caller: Caller, message: UUID, text: String?) async throws -> [UInt8] {
        try await planned {
            try await threads.plan(caller, message: message, text: text)
        } write: { plan, isForced in
            try await threads.change(
                caller,
                message: message,
                text: text,
                plan,
                isForced: isForced
            )
        }
    }

    /// Plans and writes, again where the threads have changed in between.
    private func planned(
        _ plan: @LoopActor () async throws -> ThreadPlan?,
        write: @LoopActor (ThreadPlan, Bool) async throws -> Outcome
    ) async throws -> [UInt8] {
        for round in 1...ThreadCorrection.plansMax {
            guard let plan = try await plan() else { throw Problem.notFound }
            let outcome = try await write(plan, round == ThreadCorrection.plansMax)
            if outcome.name == "stale" { continue }
            return try ThreadCorrection.answer(outcome)
        }
        throw Problem.internalError
    }

    /// The document of an outcome, or the problem that it is.
    static func answer(_ outcome: Outcome) throws -> [UInt8] {
        switch outcome.name {
        case "done", "created": return outcome.answer
        case "merged":
            throw Problem.conflict("thread_merged", "its messages are in another thread now")
        case "delivered":
            throw Problem.conflict(
                "message_delivered",
                "the message was handed to delivery and stays as it went out"
            )
        case "invalid", "conflict":
            let fault = try JSON(parsing: outcome.answer)
            let detail = fault["detail"]?.stringValue ?? "is not valid"
            if outcome.name == "conflict" {
                throw Problem.conflict(fault["code"]?.stringValue ?? "conflict", detail)
            }
            throw Problem.invalid(fault["pointer"]?.stringValue ?? "", detail)
        default: throw Problem.notFound
        }
    }
}
