internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Sessions of sockets, and who is there.
@LoopActor
struct SessionRoutes {
    let sessions: UserSessionService
    let presence: PresenceService
    let conversations: ConversationRepository

    var routes: [Route] { [register, find, leave, disconnect, heartbeat, present] }

    private var register: Route {
        Route(
            .put,
            "/v1/user-sessions/{socket_id}",
            access: .roleOrService(.agent),
            summary: "Say which user a socket belongs to",
            description: "The socket keeps its user for as long as the session lasts (24 hours "
                + "after the last activity); another user gets 409. The session comes into the "
                + "conversation besides those that it is in; its user is there in each until it "
                + "leaves or ends.",
            tag: "Live",
            requestSchema: JSONFields.schema(SessionRoutes.registration),
            responses: [
                200: RouteResponse("It goes on.", schema: SessionRoutes.session),
                201: RouteResponse("It is made.", schema: SessionRoutes.session),
            ],
            handler: { request in
                let caller = try request.caller()
                let socket = try SessionRoutes.socket(of: request)
                let (user, conversation) = try request.readOptional(SessionRoutes.registration)
                let outcome = try await sessions.registerUser(
                    caller,
                    socket: socket,
                    user: user,
                    conversation: conversation
                )
                switch outcome.name {
                case "taken":
                    throw Problem.conflict("socket_taken", "the socket is another user's")
                case "unknown_conversation":
                    throw Problem.invalid("/conversation_id", "names no conversation")
                case "too_many_conversations": throw SessionRoutes.tooMany
                default: break
                }
                await presence.beat(caller.code, [PresenceConnection(user: user, id: socket)])
                return .json(outcome.name == "created" ? 201 : 200, bytes: outcome.answer)
            }
        )
    }

    private var find: Route {
        Route(
            .get,
            "/v1/user-sessions/{socket_id}",
            access: .roleOrService(.agent),
            summary: "The user of a socket",
            tag: "Live",
            responses: [200: RouteResponse("The session.", schema: SessionRoutes.session)],
            handler: { request in
                guard
                    let document = try await sessions.find(
                        try request.caller(),
                        request.parameters["socket_id"]
                    )
                else { throw Problem.notFound }
                return .json(bytes: document)
            }
        )
    }

    private var leave: Route {
        Route(
            .delete,
            "/v1/user-sessions/{socket_id}/conversations/{id}",
            access: .roleOrService(.agent),
            summary: "Leave a conversation, and stay in the others",
            tag: "Live",
            responses: [200: RouteResponse("The session.", schema: SessionRoutes.session)],
            handler: { request in
                guard
                    let document = try await sessions.leave(
                        try request.caller(),
                        request.parameters["socket_id"],
                        conversation: try request.id()
                    )
                else { throw Problem.notFound }
                return .json(bytes: document)
            }
        )
    }

    private var disconnect: Route {
        Route(
            .delete,
            "/v1/user-sessions/{socket_id}",
            access: .roleOrService(.agent),
            summary: "End the session of a socket",
            description: "With `session_id` only that one: a late goodbye does not end the session "
                + "that came after.",
            tag: "Live",
            queryParameters: [
                QueryParameter("session_id", "The session that is meant.", schema: Schemas.uuid)
            ],
            responses: [204: RouteResponse("It has ended.")],
            handler: { request in
                let caller = try request.caller()
                var session: UUID?
                if let text = request.query["session_id"] {
                    session = UUID(text: text)
                    guard session != nil else {
                        throw Problem.invalid("/query/session_id", "must be a UUID")
                    }
                }
                guard
                    let ended = try await sessions.disconnectUser(
                        caller,
                        request.parameters["socket_id"],
                        session: session
                    )
                else { throw Problem.notFound }
                await presence.leave(caller.code, ended.connection)
                return .empty()
            }
        )
    }

    private var heartbeat: Route {
        Route(
            .post,
            "/v1/presence/heartbeat",
            access: .roleOrService(.agent),
            summary: "Give a sign of life of a connection",
            description: "To be given at least every third of `ttl_ms`; 30 s by default.",
            tag: "Live",
            requestSchema: JSONFields.schema(SessionRoutes.connection),
            responses: [200: RouteResponse("It is noted.", schema: Schemas.free)],
            handler: { request in
                let caller = try request.caller()
                let connection = try request.readOptional(SessionRoutes.connection)
                await presence.beat(caller.code, [connection])
                // Its session lasts as long as its signs of life come; nearly always the cache says
                // that the row was looked at just now.
                _ = try? await sessions.find(caller, connection.id)
                return .json(["ttl_ms": .int(presence.ttl.milliseconds)])
            }
        )
    }

    private var present: Route {
        Route(
            .get,
            "/v1/conversations/{id}/presence",
            access: .roleOrService(.viewer),
            summary: "Who looks at a conversation",
            tag: "Live",
            responses: [200: RouteResponse("Those who are there.", schema: Schemas.free)],
            handler: { request in
                let caller = try request.caller()
                let conversation = try request.id()
                let known = try await sessions.sessions(in: conversation, caller)
                if known.isEmpty {
                    guard try await conversations.contact(caller, conversation) != nil else {
                        throw Problem.notFound
                    }
                }
                let users = await presence.present(caller.code, among: known)
                return .json(["users": SessionRoutes.list(users)])
            }
        )
    }

    private static func registration(_ fields: inout JSONFields) -> (String, UUID?) {
        (fields.string("user_id", length: 1...255), fields.optionalConversation())
    }

    private static func connection(_ fields: inout JSONFields) -> PresenceConnection {
        PresenceConnection(
            user: fields.string("user_id", length: 1...255),
            id: fields.string("connection_id", length: 1...128)
        )
    }

    private static let session: JSON = [
        "type": "object",
        "properties": [
            "socket_id": Schemas.text, "session_id": Schemas.uuid, "user_id": Schemas.text,
            "conversation_id": ["type": ["string", "null"]],
            "conversation_ids": ["type": "array", "items": Schemas.uuid],
            "expires_at": Schemas.text,
        ],
    ]

    /// One session is in more conversations than anybody looks at.
    nonisolated static var tooMany: Problem {
        Problem.conflict("too_many_conversations", "leave another one first")
    }

    private static func list(_ users: [String: [Duration]]) -> JSON {
        let now = WallClock.milliseconds()
        return .array(
            users.sorted { $0.key < $1.key }.map { user, left in
                let last = left.max() ?? .zero
                return [
                    "user_id": .string(user), "connections": .int(Int64(left.count)),
                    "expires_at": .string(RFC3339.string(now + last.milliseconds)),
                ]
            }
        )
    }

    /// A socket's id: what a server of sockets makes up, in visible ASCII.
    private static func socket(of request: Request) throws(Problem) -> String {
        let socket = request.parameters["socket_id"]
        guard (1...128).contains(socket.utf8.count),
            socket.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else { throw .invalid("/path/socket_id", "must be 1 to 128 visible ASCII characters") }
        return socket
    }
}
