internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What came in, for administrators: looked at, and fed in once more.
@LoopActor
struct InboundRoutes {
    enum State: String, CaseIterable {
        case pending, done, ignored, failed
    }

    let inbound: InboundRepository
    /// Called when there is work.
    let received: @LoopActor () -> Void

    var routes: [Route] { [list, replay] }

    private var list: Route {
        Route(
            .get,
            "/v1/admin/inbound",
            access: .role(.admin),
            summary: "Events that came in, newest first",
            description: "Kept for 7 days; what they said is sealed and not shown.",
            tag: "Channels",
            queryParameters: [
                QueryParameter(
                    "state",
                    "Only those in this state.",
                    schema: Schemas.oneOf(State.allCases.map(\.rawValue))
                )
            ] + Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Schemas.free)],
            handler: { request in
                let page = try Page(request.query)
                let state = request.query["state"]
                guard state.map({ State(rawValue: $0) != nil }) ?? true else {
                    throw Problem.invalid("/query/state", "is no state of an event")
                }
                return try page.response(
                    try await inbound.list(try request.caller(), state: state, page: page)
                )
            }
        )
    }

    private var replay: Route {
        Route(
            .post,
            "/v1/admin/inbound/{id}/replay",
            access: .role(.admin),
            summary: "Feed an event in once more",
            description: "A message that is there stays single, unless `force` asks for another.",
            tag: "Channels",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(InboundRoutes.replay),
            responses: [202: RouteResponse("It will be.", schema: Schemas.free)],
            handler: { request in
                let id = try request.id()
                let (isForced, channel) = try request.readOptional(InboundRoutes.replay)
                let outcome = try await inbound.replay(
                    try request.caller(),
                    id,
                    channel: channel,
                    isForced: isForced
                )
                switch outcome.name {
                case "queued":
                    received()
                    return .json(202, bytes: outcome.answer)
                case "busy":
                    throw Problem.conflict("inbound_pending", "it is being worked on already")
                default: throw Problem.notFound
                }
            }
        )
    }

    private static func replay(_ fields: inout JSONFields) -> (isForced: Bool, channel: String?) {
        (fields.optionalBool("force") ?? false, fields.optionalCode("channel_code"))
    }
}
