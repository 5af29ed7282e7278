internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// The message handler: a history in, a job out, and its state.
@LoopActor
struct HandlerRoutes {
    /// The longest history as JSON may escape it.
    nonisolated static let bodyMax = 1024 * 1024
    /// The largest `resources`, in bytes.
    nonisolated static let resourcesMax = 16 * 1024

    let handler: MessageHandler
    /// The state of the handler's components.
    let status: @LoopActor () async -> JSON

    var routes: [Route] { [handle, handlerStatus] }

    private static let turnSchema = Schemas.object(
        ["role": Schemas.oneOf(AITurn.Role.allCases.map(\.rawValue)), "content": Schemas.text],
        required: ["role", "content"]
    )

    private var handle: Route {
        Route(
            .post,
            "/v1/conversations/{id}/handle",
            access: .roleOrService(.agent),
            summary: "Let the bot answer a history",
            description: "Answers at once; the result is read at the job. `history` is "
                + "`<USER>…</USER><br><BOT>…</BOT><br>` with `&`, `<` and `>` of texts escaped, "
                + "`messages` the same as JSON. While the database is away the bot as last known "
                + "answers, or the built-in one (`config_source`); where the tenant forbids that, "
                + "people get the conversation as soon as it is back (`handover_requested`).",
            tag: "AI jobs",
            bodyLimit: HandlerRoutes.bodyMax,
            idempotency: .replayed,
            requestSchema: Schemas.object([
                "history": Schemas.text,
                "messages": ["type": "array", "items": HandlerRoutes.turnSchema],
                "resources": Schemas.free,
            ]),
            queryParameters: [
                QueryParameter(
                    "history_mode",
                    "What becomes of text that is not clearly a turn: `strict` (default) refuses "
                        + "it, `lenient` takes it as said by the user.",
                    schema: Schemas.oneOf(History.Mode.allCases.map(\.rawValue))
                )
            ],
            responses: [
                200: RouteResponse(
                    "The job that was made, or who works on the conversation.",
                    schema: Schemas.reference("Handled")
                )
            ],
            handler: { request in try await measured(request) }
        )
    }

    private func measured(_ request: Request) async throws -> Response {
        try await HandlerSteps.measure(.handle) {
            let caller = try request.caller()
            let start = MonotonicTime.now()
            let wish = try HandlerRoutes.wish(request)
            HandlerSteps.note(.parse, since: start)
            return .json(200, try await handler.handleMessageRequest(caller, wish))
        }
    }

    nonisolated private static func wish(_ request: Request) throws -> HandleRequest {
        let conversation = try request.id()
        let mode = request.query["history_mode"] ?? History.Mode.strict.rawValue
        guard let mode = History.Mode(rawValue: mode) else {
            throw Problem.invalid("/query/history_mode", "must be strict or lenient")
        }
        let (history, messages, resources) = try request.readOptional { fields in
            let history = fields.optionalString("history", length: 0...bodyMax)
            let messages = fields.optionalArray("messages", count: 1...History.turnsMax) { turn in
                AITurn(
                    role: turn.choice("role", of: AITurn.Role.self),
                    content: turn.string("content", length: 0...bodyMax)
                )
            }
            if (history == nil) == (messages == nil) {
                fields.fault("history", "or messages is needed, and not both")
            }
            let size = (messages ?? []).reduce(0) { $0 + $1.content.utf8.count }
            if size > History.bytesMax {
                fields.fault("messages", "must hold at most \(History.bytesMax) bytes of text")
            }
            let resources = fields.optionalJSONObject("resources")
            if let resources, JSON.object(resources).serialized().count > resourcesMax {
                fields.fault("resources", "must have at most \(resourcesMax) bytes")
            }
            return (history, messages, resources)
        }
        return HandleRequest(
            conversation: conversation,
            turns: try messages ?? turns(of: history ?? "", mode),
            resources: resources
        )
    }

    nonisolated private static func turns(
        of history: String,
        _ mode: History.Mode
    ) throws(Problem) -> [AITurn] {
        do {
            return try History.parse(history, mode: mode).map { turn in
                AITurn(role: turn.role == .user ? .user : .assistant, content: turn.content)
            }
        } catch {
            throw .invalid("/history", error.description)
        }
    }

    private var handlerStatus: Route {
        Route(
            .get,
            "/v1/handler/status",
            access: .roleOrService(.viewer),
            summary: "The message handler's components",
            tag: "AI jobs",
            responses: [200: RouteResponse("Their state.", schema: Schemas.free)],
            handler: { _ in .json(200, await status()) }
        )
    }
}
