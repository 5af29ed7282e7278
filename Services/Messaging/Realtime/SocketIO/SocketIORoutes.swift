internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging

/// `/socket.io/`: what Socket.IO v4 clients speak (EIO 4), by long-polling, WebSocket, or the one
/// after the other.
///
/// A session lives in the process that opened it. Polls that come to another instance are carried to it
/// (``EngineIOBridge``), and so is what a WebSocket brings that comes there (``EngineIORelay``).
@LoopActor
final class SocketIORoutes: Authenticator {
    /// How many clients an instance serves.
    static let sessionsMax = 10_000

    private let authenticator: any Authenticator
    private let keys: KeyWatch
    private let bridge: EngineIOBridge
    private let dispatcher: SocketDispatcher
    private let peer: @LoopActor (Caller, any SocketTransport) -> SocketPeer
    private let logger: Logger
    private var connections: [String: SocketIOConnection] = [:]
    /// The tasks that read WebSockets; each ends with its socket.
    private var serving: [ObjectIdentifier: Task<Void, Never>] = [:]

    init(
        authenticator: any Authenticator,
        keys: KeyWatch,
        bridge: EngineIOBridge,
        dispatcher: SocketDispatcher,
        logger: Logger,
        peer: @escaping @LoopActor (Caller, any SocketTransport) -> SocketPeer
    ) {
        self.authenticator = authenticator
        self.keys = keys
        self.bridge = bridge
        self.dispatcher = dispatcher
        self.logger = logger
        self.peer = peer
        bridge.onRequest = { [weak self] in await self?.answer($0, body: $1) }
    }

    var routes: [Route] { [route(.get, listen), route(.post, post)] }

    private func route(_ method: HTTPMethod, _ handler: @escaping Route.Handler) -> Route {
        Route(
            method,
            "/socket.io/",
            access: .custom(self),
            summary: method == .get ? "Listen (Socket.IO v4)" : "Send (Socket.IO v4, long-polling)",
            description: "The protocol of Socket.IO v4 clients; the events are those of "
                + "`/v1/socket`, with the client's own id as `socket_id`.",
            tag: "Live",
            bodyLimit: EngineIOSession.payloadMax,
            queryParameters: [
                QueryParameter("EIO", "`4`.", isRequired: true),
                QueryParameter("transport", "`polling` or `websocket`.", isRequired: true),
                QueryParameter("sid", "The session, once there is one."),
                QueryParameter("t", "Keeps answers out of caches."),
            ],
            responses: [
                200: RouteResponse("Packets.", contentType: "text/plain"),
                101: RouteResponse("The connection is a WebSocket now."),
            ],
            handler: handler
        )
    }

    /// A key opens a session; after that the session's id, which nobody can guess, is enough: clients
    /// show their key only once.
    func authenticate(_ request: Request) async throws -> Principal {
        if let sid = request.query["sid"] {
            // One of another instance: that one knows whose it is.
            return connections[sid]?.principal
                ?? Principal(tenant: "", role: nil, keyID: "socket.io")
        }
        return try await authenticator.authenticate(request)
    }

    private func listen(_ request: Request) async throws -> Response {
        guard request.query["EIO"] == "4" else {
            throw SocketIORoutes.refusal(5, "Unsupported protocol version")
        }
        switch request.query["transport"] {
        case "websocket": return try await upgrade(request)
        case "polling":
            guard let sid = request.query["sid"] else {
                let session = try open(request).session
                return SocketIORoutes.answer(session.openPacket)
            }
            return SocketIORoutes.answer(try await carry(sid, body: nil))
        default: throw SocketIORoutes.refusal(0, "Transport unknown")
        }
    }

    private func post(_ request: Request) async throws -> Response {
        guard request.query["transport"] == "polling" else {
            throw SocketIORoutes.refusal(0, "Transport unknown")
        }
        return SocketIORoutes.answer(
            try await carry(request.query["sid"] ?? "", body: request.body)
        )
    }

    /// Takes a client's body to its session, or what waits for the client from it, wherever it is.
    private func carry(_ sid: String, body: [UInt8]?) async throws -> [UInt8] {
        if let packets = await answer(sid, body: body) { return packets }
        guard let packets = await bridge.ask(sid, body: body) else {
            throw SocketIORoutes.refusal(1, "Session ID unknown")
        }
        return packets
    }

    /// What a session of this instance answers; `nil` when there is none of that id.
    private func answer(_ sid: String, body: [UInt8]?) async -> [UInt8]? {
        guard let session = connections[sid]?.session else { return nil }
        guard let body else { return await session.polled() }
        session.posted(body)
        return Array("ok".utf8)
    }

    private func upgrade(_ request: Request) async throws -> Response {
        let webSocket = try WebSocket(
            request,
            messageBytesMax: EngineIOSession.payloadMax,
            bufferLimit: EngineIOSession.waitingMax
        )
        guard let sid = request.query["sid"] else {
            let session = try open(request).session
            serve(webSocket) { await session.serve($0, isUpgrade: false) }
            return webSocket.response
        }
        if let session = connections[sid]?.session {
            serve(webSocket) { await session.serve($0, isUpgrade: true) }
            return webSocket.response
        }
        let relay = EngineIORelay(sid: sid, bridge: bridge)
        guard await relay.isKnown() else { throw SocketIORoutes.refusal(1, "Session ID unknown") }
        serve(webSocket) { await relay.serve($0) }
        return webSocket.response
    }

    private func serve(
        _ webSocket: WebSocket,
        _ work: @escaping @LoopActor (WebSocket) async -> Void
    ) {
        serving[ObjectIdentifier(webSocket)] = Task {
            await work(webSocket)
            serving[ObjectIdentifier(webSocket)] = nil
        }
    }

    private func open(_ request: Request) throws -> SocketIOConnection {
        let caller = try request.caller()
        let principal = try request.context.requirePrincipal()
        guard connections.count < SocketIORoutes.sessionsMax else {
            throw Problem.unavailable("too many clients are connected here")
        }
        let session = EngineIOSession(sid: bridge.makeSID())
        let connection = SocketIOConnection(
            session,
            principal: principal,
            caller: caller,
            logger: logger,
            peer: { [peer] in peer(caller, $0) }
        )
        connections[session.sid] = connection
        let key = keys.add(principal) { session.end() }
        connection.start(
            dispatcher,
            ended: { [weak self, keys] in
                keys.remove(key)
                self?.connections[session.sid] = nil
            }
        )
        return connection
    }

    private static func answer(_ packets: [UInt8]) -> Response {
        Response(contentType: "text/plain; charset=UTF-8", body: .bytes(packets))
    }

    /// What Engine.IO's own server says, beside our own words.
    private static func refusal(_ code: Int, _ message: String) -> Problem {
        var problem = Problem(status: 400, code: "socket_io", detail: message)
        problem.members["message"] = .string(message)
        problem.members["engine_io_code"] = .int(Int64(code))
        return problem
    }
}
