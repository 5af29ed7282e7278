internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Conversations and the threads in them.
@LoopActor
struct ConversationRoutes {
    let conversations: ConversationRepository
    let handover: Handover

    var routes: [Route] { [open, list, find, handOver] }

    enum State: String, CaseIterable {
        case open, closed
    }

    private var open: Route {
        Route(
            .post,
            "/v1/conversations",
            access: .roleOrService(.agent),
            summary: "Find or make a contact's conversation",
            description: "Callers that race for one contact get the same conversation.",
            tag: "Conversations",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(ConversationRoutes.opening),
            responses: [
                200: RouteResponse("It was there.", schema: Schemas.reference("Conversation")),
                201: RouteResponse("It was made.", schema: Schemas.reference("Conversation")),
            ],
            handler: { request in
                let caller = try request.caller()
                let new = try request.readOptional(ConversationRoutes.opening)
                let outcome = try await conversations.open(caller, new)
                switch outcome.name {
                case "created": return .json(201, bytes: outcome.answer)
                case "found": return .json(200, bytes: outcome.answer)
                case "unknown_bot": throw Problem.invalid("/bot_id", "names no bot of this tenant")
                default:
                    throw Problem.invalid("/channel_code", "names no channel of this tenant")
                }
            }
        )
    }

    private static func opening(_ fields: inout JSONFields) -> NewConversation {
        let contact = fields.object("contact") { contact in
            (
                id: contact.string("external_id", length: 1...255),
                name: contact.optionalString("name", length: 1...200)
            )
        }
        return NewConversation(
            channelCode: fields.code("channel_code"),
            contact: contact.id,
            contactName: contact.name,
            externalID: fields.optionalString("external_id", length: 1...255),
            bot: fields.optionalUUID("bot_id"),
            title: fields.optionalString("title", length: 1...200)
        )
    }

    private var list: Route {
        Route(
            .get,
            "/v1/conversations",
            access: .roleOrService(.viewer),
            summary: "Conversations, newest first",
            tag: "Conversations",
            queryParameters: [
                QueryParameter("contact", "The channel's id of the contact, or ours."),
                QueryParameter(
                    "state",
                    "`open` or `closed`.",
                    schema: Schemas.oneOf(["open", "closed"])
                ),
            ] + Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Schemas.list(of: "Conversation"))],
            handler: { request in
                let page = try Page(request.query)
                if let state = request.query["state"], State(rawValue: state) == nil {
                    throw Problem.invalid("/query/state", "must be open or closed")
                }
                return try page.response(
                    try await conversations.list(
                        try request.caller(),
                        contact: request.query["contact"],
                        state: request.query["state"],
                        page: page
                    )
                )
            }
        )
    }

    private var find: Route {
        Route(
            .get,
            "/v1/conversations/{id}",
            access: .roleOrService(.viewer),
            summary: "A conversation",
            tag: "Conversations",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("Conversation"))],
            handler: { request in
                guard
                    let item = try await conversations.find(
                        try request.caller(),
                        try request.id()
                    )
                else { throw Problem.notFound }
                return .json(bytes: item)
            }
        )
    }

    private var handOver: Route {
        Route(
            .post,
            "/v1/conversations/{id}/handover",
            access: .roleOrService(.agent),
            summary: "Hand a conversation to people",
            description: "Answers what assignment-engine decided.",
            tag: "Conversations",
            idempotency: .replayed,
            requestSchema: JSONFields.schema { ConversationRoutes.wish(UUID(), &$0) },
            responses: [
                200: RouteResponse("The session was open.", schema: Schemas.free),
                201: RouteResponse("A session was opened.", schema: Schemas.free),
            ],
            handler: { request in
                let id = try request.id()
                let wish = try request.readOptional { ConversationRoutes.wish(id, &$0) }
                return try await handover.execute(try request.caller(), wish, for: request)
            }
        )
    }

    private static func wish(
        _ conversation: UUID,
        _ fields: inout JSONFields
    ) -> HandoverRequest {
        HandoverRequest(
            conversation: conversation,
            team: fields.optionalUUID("team_id"),
            priority: fields.optionalInt("priority", in: 0...4),
            context: fields.optionalJSONObject("context"),
            reason: fields.optionalString("reason", length: 1...500)
        )
    }
}
