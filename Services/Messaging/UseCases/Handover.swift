internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPClient
internal import HTTPServer
internal import JSON
internal import Platform

/// What a caller says when it asks for a person.
struct HandoverRequest: Sendable {
    let conversation: UUID
    let team: UUID?
    let priority: Int?
    let context: JSONObject?
    let reason: String?
}

/// Hands a conversation to people: assignment-engine chooses, and the caller waits for its answer.
///
/// The call is made outside of any transaction. Its key is derived from the caller's, so that a
/// repeat, also of a request whose process died, finds the session that the first one opened.
@LoopActor
struct Handover {
    /// How long the engine may take.
    static let timeout: Duration = .seconds(10)

    let conversations: ConversationRepository
    let services: ServiceClient
    /// Called when the change of the owner cancelled the bot's job.
    let silenced: @LoopActor (Caller, _ conversation: UUID, _ job: UUID) async -> Void

    func execute(
        _ caller: Caller,
        _ handover: HandoverRequest,
        for request: Request
    ) async throws -> Response {
        guard let party = try await conversations.party(caller, handover.conversation) else {
            throw Problem.notFound
        }
        guard party.isOpen else { throw Problem.conversationClosed }
        try await FaultPoints.reached("handover.before_call")
        let answer = try await ask(caller, handover, party.contact, request)
        try await FaultPoints.reached("handover.answered")
        guard [200, 201, 503].contains(answer.status), answer.body["outcome"] != nil else {
            throw Handover.problem(of: answer)
        }
        if let change = Handover.change(handover, answer.body) {
            let result = try await conversations.applyAssignment(caller, change)
            try await FaultPoints.reached("handover.applied")
            if let job = result.cancelledJob {
                await silenced(caller, change.conversation, job)
            }
        }
        var response = Response.json(answer.status, answer.body)
        if let wait = answer.retryAfter {
            response.setField("Retry-After", String(Int(wait.inSeconds)))
        }
        return response
    }

    private func ask(
        _ caller: Caller,
        _ handover: HandoverRequest,
        _ contact: UUID,
        _ request: Request
    ) async throws -> ServiceAnswer {
        var body: JSONObject = [
            "conversation_id": .string(handover.conversation.text),
            "contact_id": .string(contact.text),
            "source": "handover",
        ]
        if let team = handover.team { body["team_id"] = .string(team.text) }
        if let priority = handover.priority { body["priority"] = .int(Int64(priority)) }
        var context = handover.context ?? [:]
        if let reason = handover.reason, context["reason"] == nil {
            context["reason"] = .string(reason)
        }
        if !context.isEmpty { body["context"] = .object(context) }
        // Bound to the path: the same key on another conversation is another one.
        let key = request.context.idempotencyKey.map {
            "handover:" + RequestKey.hash("\(request.path)|\($0)")
        }
        do {
            return try await services.post(
                "assignment-engine",
                "/v1/sessions",
                tenant: caller.code,
                body: JSON.object(body).serialized(),
                idempotencyKey: key ?? UUID().text,
                trace: ServiceClient.trace(of: request),
                timeout: Handover.timeout
            )
        } catch {
            throw Problem.unreachable("assignment-engine", error)
        }
    }

    /// The owner that follows from the answer; the engine tells the same through its outbox, later.
    private static func change(_ handover: HandoverRequest, _ body: JSON) -> OwnerChange? {
        guard let session = body["session"],
            let id = session["id"]?.stringValue.flatMap(UUID.init(text:)),
            let state = session["state"]?.stringValue
        else { return nil }
        return OwnerChange(
            conversation: handover.conversation,
            session: id,
            version: Int(session["version"]?.intValue ?? 0),
            state: state,
            owner: nil,
            assignee: session["assignee_id"]?.stringValue.flatMap(UUID.init(text:)),
            reason: handover.reason
        )
    }

    /// The engine's refusal, as our caller's problem.
    private static func problem(of answer: ServiceAnswer) -> Problem {
        let detail = answer.body["detail"]?.stringValue ?? "assignment-engine refused"
        let code = answer.body["code"]?.stringValue ?? "assignment_refused"
        switch answer.status {
        // The first call with this key still runs, or died: that is no answer to keep.
        case 409 where code == "idempotency_in_progress":
            return .unavailable("assignment-engine is still at the first request")
        case 404, 409, 422: return Problem(status: answer.status, code: code, detail: detail)
        default: return .unavailable("assignment-engine answered \(answer.status)")
        }
    }
}
