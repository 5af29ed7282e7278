internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging

/// `/v1/socket`: conversations over a WebSocket.
@LoopActor
struct SocketRoutes {
    /// Makes the peer of a connection.
    let peer: @LoopActor (Caller, any SocketTransport) -> SocketPeer
    let dispatcher: SocketDispatcher
    let keys: KeyWatch
    let logger: Logger

    var routes: [Route] { [socket] }

    private var socket: Route {
        let events = dispatcher.types.map { "`\($0)`" }.joined(separator: ", ")
        return Route(
            .get,
            "/v1/socket",
            access: .roleOrService(.viewer),
            summary: "Follow conversations and act in them (WebSocket)",
            description: "Frames are JSON in text messages: `{type, id, socket_id, data}`. Each is "
                + "answered, in its order, with `{type: \"ok\", ref, data}` or `{type: \"error\", "
                + "ref, status, code, detail}`; in between come the events of `/v1/stream` for the "
                + "conversations that are followed. The `socket_id` must have a session (`PUT "
                + "/v1/user-sessions/{socket_id}`), else 401. Types: \(events).",
            tag: "Live",
            queryParameters: [
                QueryParameter(
                    "conversation_id",
                    "Follow this conversation from the beginning; up to 20 times.",
                    schema: Schemas.uuid
                )
            ] + StreamRoutes.parameters.dropFirst(),
            responses: [101: RouteResponse("The connection is a WebSocket now.")],
            handler: { request in
                let caller = try request.caller()
                var position = StreamPosition(conversations: [])
                if request.query["conversation_id"] ?? request.query["room_id"] != nil {
                    position = try StreamPosition(request)
                }
                let webSocket = try WebSocket(
                    request,
                    messageBytesMax: Route.bodyLimitDefault,
                    bufferLimit: ServerSentClient.bufferLimit
                )
                let connection = SocketConnection(
                    webSocket,
                    caller: caller,
                    role: request.context.principal?.role,
                    logger: logger
                )
                let peer = peer(caller, connection)
                do {
                    for id in position.conversations {
                        try await peer.follow(id, since: position.seqs[id])
                    }
                } catch {
                    await peer.end()
                    throw error
                }
                let key = keys.add(request.context.principal) {
                    webSocket.close(.policyViolation, reason: "the key was revoked")
                }
                connection.start(dispatcher, peer, ended: { [keys] in keys.remove(key) })
                return webSocket.response
            }
        )
    }
}
