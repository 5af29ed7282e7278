internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import PostgresClient

/// A user at a socket.
struct Session: Sendable, Hashable {
    let socket: String
    /// Tells this session from a later one of the same socket.
    let id: String
    let user: String

    /// Reads what `messaging.session_json` made.
    init?(_ value: JSON) {
        guard let socket = value["socket_id"]?.stringValue,
            let id = value["session_id"]?.stringValue, let user = value["user_id"]?.stringValue
        else { return nil }
        self.socket = socket
        self.id = id
        self.user = user
    }

    /// The connection that its signs of life are of.
    var connection: PresenceConnection { PresenceConnection(user: user, id: socket) }
}

/// Sessions of sockets: the rows decide, the cache saves looking.
@LoopActor
final class UserSessionService {
    /// How long a session lasts without activity.
    static let ttl: Duration = .seconds(86_400)
    /// How long the cache is believed before the row is looked at again: so long a session that
    /// ended while Redis was away is still let in at most.
    static let checkInterval: Duration = .seconds(120)
    /// Between two sweeps of sessions that have run out.
    static let sweepInterval: Duration = .seconds(60)

    private let postgres: PostgresClient
    private let cache: SessionCache
    private lazy var sweeps = RepeatedWork(every: UserSessionService.sweepInterval) {
        [postgres] in
        _ = try? await postgres.query("select messaging.drop_expired_sessions(1000)", [])
    }

    init(postgres: PostgresClient, cache: SessionCache) {
        self.postgres = postgres
        self.cache = cache
    }

    func start() { sweeps.start() }

    func stop() async { await sweeps.end() }

    /// Makes the session of a socket, or goes on with the user's own, and has it come into a
    /// conversation.
    ///
    /// See `messaging.register_user` for the outcomes.
    ///
    /// - Parameter isOpen: it only looks at the conversation, instead of the one before; else it is
    ///   in this one besides the others.
    func registerUser(
        _ caller: Caller,
        socket: String,
        user: String,
        conversation: UUID?,
        isOpen: Bool = false
    ) async throws -> Outcome {
        let outcome = try Outcome(
            try await postgres.query(
                "select * from messaging.register_user($1, $2, $3, $4, $5, $6, $7::interval, $8)",
                [
                    .uuid(caller.tenant), .string(socket), .string(user),
                    PostgresValue(conversation), .bool(isOpen),
                    .int(SocketPeer.conversationsMax), UserSessionService.interval,
                    .string(caller.actor),
                ],
                idempotent: true
            ).one()
        )
        if outcome.name == "created" || outcome.name == "updated" {
            await cache.put(caller.code, socket, outcome.answer)
        }
        return outcome
    }

    /// The session of a socket; `nil` when there is none.
    func getUserBySocketId(_ caller: Caller, _ socket: String) async throws -> Session? {
        guard let document = try await find(caller, socket) else { return nil }
        return Session(try JSON(parsing: document))
    }

    /// Has a session leave a conversation: the one with this id, or whichever the socket has.
    ///
    /// - Returns: the session's document as it is then; `nil` when there is none.
    @discardableResult
    func leave(
        _ caller: Caller,
        _ socket: String,
        session: UUID? = nil,
        conversation: UUID
    ) async throws -> [UInt8]? {
        let document = try await postgres.query(
            "select messaging.leave_conversation($1, $2, $3, $4) session",
            [.uuid(caller.tenant), .string(socket), PostgresValue(session), .uuid(conversation)],
            idempotent: true
        ).one().optionalUTF8("session")
        if let document { await cache.put(caller.code, socket, document) }
        return document
    }

    /// Puts off the end of sessions that somebody is there for.
    ///
    /// - Returns: the sockets of those that have ended meanwhile.
    func touch(_ caller: Caller, _ sessions: [Session]) async throws -> [String] {
        try await postgres.query(
            "select socket from messaging.touch_sessions($1, $2, $3, $4::interval) socket",
            [
                .uuid(caller.tenant), .strings(sessions.map(\.socket)),
                .uuids(sessions.compactMap { UUID(text: $0.id) }), UserSessionService.interval,
            ],
            idempotent: true
        ).map { try $0.string("socket") }
    }

    /// The document of a socket's session: from the cache, else from the database, whose row's end
    /// this puts off.
    func find(_ caller: Caller, _ socket: String) async throws -> [UInt8]? {
        switch await cache.get(caller.code, socket) {
        case .found(let document): return document
        case .gone: return nil
        case .unknown: break
        }
        let document = try await postgres.query(
            "select messaging.session_of($1, $2, $3::interval) session",
            [.uuid(caller.tenant), .string(socket), UserSessionService.interval],
            idempotent: true
        ).one().optionalUTF8("session")
        if let document { await cache.put(caller.code, socket, document) }
        return document
    }

    /// Ends a session: the one with this id, or whichever the socket has.
    ///
    /// - Returns: the session that it was; `nil` when there was none.
    @discardableResult
    func disconnectUser(
        _ caller: Caller,
        _ socket: String,
        session: UUID? = nil
    ) async throws -> Session? {
        let document = try await postgres.query(
            "select messaging.disconnect_user($1, $2, $3) session",
            [.uuid(caller.tenant), .string(socket), PostgresValue(session)]
        ).one().optionalUTF8("session")
        guard let document else { return nil }
        await cache.forget(caller.code, socket, document)
        return Session(try JSON(parsing: document))
    }

    /// Who looks at a conversation, by their sockets.
    func sessions(in conversation: UUID, _ caller: Caller) async throws -> [PresenceConnection] {
        try await postgres.query(
            "select * from messaging.sessions_in($1, $2)",
            [.uuid(caller.tenant), .uuid(conversation)],
            idempotent: true
        ).map {
            PresenceConnection(user: try $0.string("user_id"), id: try $0.string("socket_id"))
        }
    }

    /// The same for many conversations at once.
    func sessions(in keys: [LiveKey]) async throws -> [UUID: [PresenceConnection]] {
        var found: [UUID: [PresenceConnection]] = [:]
        let rows = try await postgres.query(
            "select * from messaging.sessions_in_all($1, $2)",
            [.uuids(keys.map(\.tenant)), .uuids(keys.map(\.conversation))],
            idempotent: true
        )
        for row in rows {
            found[try row.uuid("conversation_id"), default: []].append(
                PresenceConnection(
                    user: try row.string("user_id"),
                    id: try row.string("socket_id")
                )
            )
        }
        return found
    }

    private static let interval = PostgresValue.string("\(ttl.milliseconds) ms")
}
