internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

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
            handler: ErrorMapping.translating { request in
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
            requestSchema: Schemas.object(
                ["message_ids": ["type": "array", "minItems": 1, "maxItems": 100]],
                required: ["message_ids"]
            ),
            responses: [200: RouteResponse("A result per message.", schema: Schemas.free)],
            handler: ErrorMapping.translating { request in
                let caller = try request.caller()
                // Ids that are none are results, not faults of the request.
                let ids = try request.fields { fields in
                    let list = fields.json("message_ids")
                    if !(1...AssignmentRoutes.batchMax).contains(list.arrayValue?.count ?? 0) {
                        fields.fault("message_ids", "must be an array of 1 to 100 ids")
                    }
                    return list.arrayValue ?? []
                }
                return try await results(caller, ids)
            }
        )
    }

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
            } catch let problem as Problem {
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
