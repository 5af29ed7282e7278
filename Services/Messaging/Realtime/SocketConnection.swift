internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging

/// One client of `/v1/socket`: its frames are done one after the other, and what it follows is sent
/// in between.
@LoopActor
final class SocketConnection: LiveClient {
    /// How many conversations one connection may follow.
    static let conversationsMax = 100
    /// How many sockets one connection may speak for.
    static let socketsMax = 100

    private let socket: WebSocket
    private let hub: LiveHub
    private let presence: PresenceService
    private let sessions: UserSessionService
    private let logger: Logger
    private let caller: Caller
    private let role: Role?
    private var places: [UUID: LiveSubscription] = [:]
    /// The sessions that this connection has joined for; they end with it.
    private var joined: [String: Session] = [:]
    private var work: Task<Void, Never>?
    private var heart: Task<Void, Never>?

    init(
        _ socket: WebSocket,
        caller: Caller,
        role: Role?,
        hub: LiveHub,
        presence: PresenceService,
        sessions: UserSessionService,
        logger: Logger
    ) {
        self.socket = socket
        self.caller = caller
        self.role = role
        self.hub = hub
        self.presence = presence
        self.sessions = sessions
        self.logger = logger
    }

    /// Begins to take frames; ends by itself with the socket.
    func start(_ dispatcher: SocketDispatcher) {
        work = Task { await run(dispatcher) }
        heart = Task { await beat() }
    }

    private func run(_ dispatcher: SocketDispatcher) async {
        while let message = await socket.receive() {
            guard case .text(let text) = message else {
                socket.close(.unsupportedData, reason: "frames are text")
                break
            }
            socket.send(text: await answer(text, dispatcher))
        }
        await end()
    }

    private func answer(_ text: [UInt8], _ dispatcher: SocketDispatcher) async -> [UInt8] {
        var ref = JSON.null
        do {
            let frame = try SocketFrame(text)
            ref = frame.id
            return SocketFrame.ok(ref, try await dispatcher.run(frame, caller, role, self))
        } catch {
            return SocketFrame.error(ref, SocketConnection.problem(error, logger))
        }
    }

    private static func problem(_ error: any Error, _ logger: Logger) -> Problem {
        if let problem = ErrorMapping.problem(error) { return problem }
        logger.error("a socket's frame failed", metadata: ["reason": "\(error)"])
        return .internalError
    }

    // MARK: What the handlers use

    /// Follows a conversation from after `since`; again does nothing.
    func follow(_ conversation: UUID, since: Int64?) async throws {
        guard places[conversation] == nil else { return }
        guard places.count < SocketConnection.conversationsMax else {
            throw Problem.conflict("too_many_conversations", "leave another one first")
        }
        let key = LiveKey(caller, conversation)
        guard let place = try await hub.follow(key, since: since, self) else {
            throw Problem.notFound
        }
        guard socket.isOpen else { return hub.end(place) }
        places[conversation] = place
    }

    /// Follows a conversation no more.
    func leave(_ conversation: UUID) {
        guard let place = places.removeValue(forKey: conversation) else { return }
        hub.end(place)
    }

    /// Speaks for a session from now on: gives its signs of life, and ends it with the connection.
    func join(_ session: Session) async throws {
        guard joined[session.socket] != nil || joined.count < SocketConnection.socketsMax else {
            throw Problem.conflict("too_many_sockets", "one connection speaks for too many")
        }
        joined[session.socket] = session
        await presence.beat(caller.code, session.connection)
    }

    // MARK: Following

    func deliver(_ event: LiveEvent, of key: LiveKey) {
        socket.send(encoded: event.frame)
    }

    func resync(_ key: LiveKey, head: Int64) {
        deliver(.resync(key, head: head), of: key)
    }

    func waitForRoom() async -> Bool {
        await socket.waitForRoom()
    }

    // MARK: Life

    /// Gives the signs of life of those that joined, as long as the connection is there.
    private func beat() async {
        while socket.isOpen {
            try? await EventLoop.shared.sleep(for: presence.ttl / 3)
            for session in joined.values where socket.isOpen {
                await presence.beat(caller.code, session.connection)
            }
        }
    }

    /// Gives up before the socket was opened.
    func abandon() {
        for place in places.values { hub.end(place) }
        places = [:]
    }

    private func end() async {
        heart?.cancel()
        abandon()
        for session in joined.values {
            await presence.leave(caller.code, session.connection)
            do {
                try await sessions.disconnectUser(
                    caller,
                    session.socket,
                    session: UUID(uuidString: session.id)
                )
            } catch {
                // The session ends by itself; presence already says that nobody is there.
                logger.warning("a session was not ended", metadata: ["reason": "\(error)"])
            }
        }
        joined = [:]
        work = nil
    }
}
