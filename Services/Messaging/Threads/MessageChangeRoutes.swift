internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Messages written anew or deleted.
@LoopActor
struct MessageChangeRoutes {
    let correction: ThreadCorrection
    /// Called after a commit that changed a message.
    let committed: @LoopActor (Caller, UUID?) async -> Void

    var routes: [Route] { [edit, delete] }

    private var edit: Route {
        Route(
            .patch,
            "/v1/messages/{id}",
            access: .roleOrService(.agent),
            summary: "Write a message's text anew",
            description: "Not of a message that was handed to delivery: 409.",
            tag: "Messages",
            requestSchema: JSONFields.schema(MessageChangeRoutes.text),
            responses: [200: RouteResponse("It.", schema: Schemas.reference("Message"))],
            handler: { request in
                let text = try request.readOptional(MessageChangeRoutes.text)
                return .json(bytes: try await change(request, text: text))
            }
        )
    }

    private static func text(_ fields: inout JSONFields) -> String {
        fields.string("text", length: 1...MessageRoutes.textMax)
    }

    private var delete: Route {
        Route(
            .delete,
            "/v1/messages/{id}",
            access: .roleOrService(.agent),
            summary: "Delete a message",
            description: "Its text is gone; its number is not given to another.",
            tag: "Messages",
            responses: [204: RouteResponse("It is deleted.")],
            handler: { request in
                _ = try await change(request, text: nil)
                return .empty()
            }
        )
    }

    private func change(_ request: Request, text: String?) async throws -> [UInt8] {
        let caller = try request.caller()
        let id = try request.id()
        let answer = try await correction.change(caller, message: id, text: text)
        await committed(caller, try JSON(parsing: answer)["conversation_id"]?.uuidValue)
        return answer
    }
}
