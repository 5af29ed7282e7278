internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging
internal import Platform

/// How events reach the client of a socket.
@LoopActor
protocol SocketTransport: AnyObject {
    /// Whether what is sent may still reach the client.
    var isOpen: Bool { get }
    /// Sends an event of a conversation.
    func send(_ event: LiveEvent)
    /// Waits until the client has room for more; false when it has gone.
    func waitForRoom() async -> Bool
}

/// What a client of a socket follows, and for whom it speaks, whatever protocol it speaks.
@LoopActor
final class SocketPeer: LiveClient {
    /// How many conversations one client may follow.
    static let conversationsMax = 100
    /// How many sockets one connection may speak for.
    static let socketsMax = 100

    private unowned let transport: any SocketTransport
    private let hub: LiveHub
    private let presence: PresenceService
    private let sessions: UserSessionService
    private let logger: Logger
    private let caller: Caller
    private var places: [UUID: LiveSubscription] = [:]
    /// The sessions that this connection has joined for; they end with it.
    private var joined: [String: Session] = [:]
    private var heart: Task<Void, Never>?
    private var hasEnded = false

    init(
        _ transport: any SocketTransport,
        caller: Caller,
        hub: LiveHub,
        presence: PresenceService,
        sessions: UserSessionService,
        logger: Logger
    ) {
        self.transport = transport
        self.caller = caller
        self.hub = hub
        self.presence = presence
        self.sessions = sessions
        self.logger = logger
    }

    /// The problem that an error is to a client; a fault of ours is noted.
    static func problem(_ error: any Error, _ logger: Logger) -> Problem {
        if let problem = CommonErrors.problem(error) { return problem }
        logger.error("a socket's frame failed", metadata: ["reason": "\(error)"])
        return .internalError
    }

    // MARK: What the handlers use

    /// Follows a conversation from after `since`; again does nothing.
    func follow(_ conversation: UUID, since: Int64?) async throws {
        guard places[conversation] == nil else { return }
        guard places.count < SocketPeer.conversationsMax else {
            throw Problem.conflict("too_many_conversations", "leave another one first")
        }
        let key = LiveKey(caller, conversation)
        guard let place = try await hub.follow(key, since: since, self) else {
            throw Problem.notFound
        }
        guard !hasEnded, places[conversation] == nil else { return hub.end(place) }
        places[conversation] = place
    }

    /// Follows a conversation no more.
    func leave(_ conversation: UUID) {
        guard let place = places.removeValue(forKey: conversation) else { return }
        hub.end(place)
    }

    /// Speaks for a session from now on: gives its signs of life, and ends it with the connection.
    func join(_ session: Session) async throws {
        guard joined[session.socket] != nil || joined.count < SocketPeer.socketsMax else {
            throw Problem.conflict("too_many_sockets", "one connection speaks for too many")
        }
        joined[session.socket] = session
        if heart == nil { heart = Task { await beat() } }
        await presence.beat(caller.code, [session.connection])
    }

    // MARK: Following

    func deliver(_ event: LiveEvent, of key: LiveKey) {
        guard !hasEnded else { return }
        transport.send(event)
    }

    func resync(_ key: LiveKey, head: Int64) {
        deliver(.resync(key, head: head), of: key)
    }

    func waitForRoom() async -> Bool {
        guard !hasEnded else { return false }
        return await transport.waitForRoom()
    }

    // MARK: Life

    /// Gives the signs of life of those that joined, as long as the connection is there, and with
    /// every third has their sessions last.
    private func beat() async {
        var touched = EventLoop.shared.now
        while !hasEnded {
            try? await EventLoop.shared.sleep(for: presence.ttl / 3)
            guard !hasEnded else { return }
            if EventLoop.shared.now - touched >= presence.ttl {
                touched = EventLoop.shared.now
                await touch()
            }
            await presence.beat(caller.code, joined.values.map(\.connection))
        }
    }

    /// Puts the end of the sessions off; for one that somebody else ended nothing is said any more.
    private func touch() async {
        let sessions = Array(joined.values)
        guard let ended = try? await self.sessions.touch(caller, sessions) else { return }
        for session in sessions where ended.contains(session.socket) {
            if joined[session.socket] == session { joined[session.socket] = nil }
        }
    }

    /// The connection is gone: so are its places, and those that it spoke for.
    func end() async {
        guard !hasEnded else { return }
        hasEnded = true
        heart?.cancel()
        heart = nil
        for place in places.values { hub.end(place) }
        places = [:]
        for session in joined.values {
            await presence.leave(caller.code, session.connection)
            do {
                try await sessions.disconnectUser(
                    caller,
                    session.socket,
                    session: UUID(text: session.id)
                )
            } catch {
                // The session ends by itself; presence already says that nobody is there.
                logger.warning("a session was not ended", metadata: ["reason": "\(error)"])
            }
        }
        joined = [:]
    }
}
