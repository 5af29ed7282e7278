internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Automatic assignment of messages that are stored already.
@LoopActor
struct AssignmentRoutes {
    /// How many messages a batch may name.
    static let batchMax = 100

    let useCase: AutoAssignMessageUseCase

    var routes: [Route] { [one, batch] }

    private var one: Route {
        Route(
            .post,
            "/v1/messages/{id}/auto-assign",
            access: .roleOrService(.agent),
            summary: "Assign a message to a thread",
            description: "Idempotent: a message that has a thread keeps it.",
            tag: "Threads",
            idempotency: .replayed,
            responses: [
                200: RouteResponse("Its thread.", schema: Schemas.reference("Assignment"))
            ],
            handler: { request in
                guard let id = UUID(text: request.parameters["id"]) else {
                    throw AutoAssignMessageUseCase.invalidMessage
                }
                return .json(
                    bytes: try await useCase.execute(try request.caller(), message: id)
                )
            }
        )
    }

    private var batch: Route {
        Route(
            .post,
            "/v1/messages/auto-assign",
            access: .roleOrService(.agent),
            summary: "Assign up to 100 messages to threads",
            description: "Each has a result of its own, in the order of the request.",
            tag: "Threads",
            bodyLimit: 1024 * 1024,
            idempotency: .replayed,
            requestSchema: JSONFields.schema(AssignmentRoutes.ids),
            responses: [
                200: RouteResponse("A result per message.", schema: AssignmentRoutes.answer)
            ],
            handler: { request in
                let caller = try request.caller()
                return try await results(caller, try request.readOptional(AssignmentRoutes.ids))
            }
        )
    }

    /// Ids that are none are results, not faults of the request.
    private static func ids(_ fields: inout JSONFields) -> [JSON] {
        fields.values("message_ids", count: 1...AssignmentRoutes.batchMax)
    }

    /// A problem, but for what the answer as a whole has: where it was asked, and the request's id.
    private static let itemError: JSON = [
        "type": "object",
        "properties": [
            "type": ["type": "string", "description": "Names the kind of problem, as a URN."],
            "title": ["type": "string", "description": "The kind of problem in words."],
            "status": ["type": "integer", "description": "As if it had been asked for alone."],
            "code": ["type": "string", "description": "The kind of problem, for programs."],
            "detail": ["description": "What was wrong with this one."],
            "retry_after_ms": ["type": "integer", "description": "When to try again."],
            "retryable": ["type": "boolean", "description": "Whether trying again may help."],
        ],
        "required": ["type", "title", "status", "code"],
    ]

    private static let answer: JSON = [
        "type": "object",
        "properties": [
            "results": [
                "type": "array",
                "items": [
                    "type": "object",
                    "properties": [
                        "message_id": ["description": "As it was given."],
                        "status": Schemas.number,
                        "assignment": Schemas.reference("Assignment"),
                        "error": AssignmentRoutes.itemError,
                    ],
                    "required": ["message_id", "status"],
                ],
            ]
        ],
        "required": ["results"],
    ]

    private func results(_ caller: Caller, _ ids: [JSON]) async throws -> Response {
        var writer = JSONWriter(capacity: 256 * ids.count)
        writer.beginObject()
        writer.key("results")
        writer.beginArray()
        for id in ids {
            writer.beginObject()
            writer.member("message_id", id)
            do {
                guard let text = id.stringValue, let message = UUID(text: text) else {
                    throw AutoAssignMessageUseCase.invalidMessage
                }
                let assignment = try await useCase.execute(caller, message: message)
                writer.member("status", 200)
                writer.key("assignment")
                writer.raw(assignment)
            } catch {
                // One result each, whatever happened to it: the others have theirs.
                let problem = CommonErrors.problem(error) ?? .internalError
                writer.member("status", problem.status)
                writer.member("error", AssignmentRoutes.error(problem))
            }
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        return .json(writer)
    }

    private static func error(_ problem: Problem) -> JSON {
        var error: JSONObject = [
            "type": .string("urn:switchboard:problem:\(problem.code)"),
            "title": .string(problem.title), "status": .int(Int64(problem.status)),
            "code": .string(problem.code), "detail": JSON(problem.detail),
        ]
        if let wait = problem.retryAfterMilliseconds {
            error["retry_after_ms"] = .int(Int64(wait))
        }
        if let retryable = problem.retryable { error["retryable"] = .bool(retryable) }
        return .object(error)
    }
}
