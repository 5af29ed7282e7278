internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// What happens in conversations, as it happens.
@LoopActor
struct StreamRoutes {
    let hub: LiveHub
    let keys: KeyWatch

    var routes: [Route] { [stream] }

    static let parameters = [
        QueryParameter(
            "conversation_id",
            "Which conversation; may be given up to 20 times. At least one is needed.",
            schema: Schemas.uuid
        ),
        QueryParameter("room_id", "The same as `conversation_id`.", schema: Schemas.uuid),
        QueryParameter(
            "since",
            "Only events after this seq; of several conversations `<conversation>:<seq>`, joined "
                + "by commas. Without it, events from now on."
        ),
    ]

    private var stream: Route {
        Route(
            .get,
            "/v1/stream",
            access: .roleOrService(.viewer),
            summary: "Follow conversations (server-sent events)",
            description: "Each event's `id` is its place: a client that connects again, to any "
                + "instance, with `Last-Event-ID` misses nothing. When what it missed is no longer "
                + "kept, it gets one `resync_required` and reads the conversation anew. A client "
                + "that does not read is cut.",
            tag: "Live",
            queryParameters: StreamRoutes.parameters,
            responses: [
                200: RouteResponse(
                    "Events, for as long as the client stays.",
                    contentType: "text/event-stream"
                )
            ],
            handler: { request in
                let caller = try request.caller()
                let position = try StreamPosition(request)
                let client = ServerSentClient(position)
                let places = try await StreamRoutes.follow(hub, caller, position, client)
                guard client.stream.isOpen else {
                    for place in places { hub.end(place) }
                    throw Problem.unavailable("too much happened before the stream began")
                }
                let key = keys.add(request.context.principal) { client.stream.close() }
                client.stream.onEnd = { [keys] _ in
                    keys.remove(key)
                    for place in places { hub.end(place) }
                }
                return .events(client.stream)
            }
        )
    }

    /// Follows all conversations of a position, or none.
    static func follow(
        _ hub: LiveHub,
        _ caller: Caller,
        _ position: StreamPosition,
        _ client: any LiveClient
    ) async throws -> [LiveSubscription] {
        var places: [LiveSubscription] = []
        do {
            for conversation in position.conversations {
                let key = LiveKey(caller, conversation)
                let since = position.seqs[conversation]
                guard let place = try await hub.follow(key, since: since, client) else {
                    throw Problem.notFound
                }
                places.append(place)
            }
        } catch {
            for place in places { hub.end(place) }
            throw error
        }
        return places
    }
}
