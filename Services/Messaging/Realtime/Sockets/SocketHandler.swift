internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// One of the groups of events that a socket understands.
@LoopActor
protocol SocketHandler {
    /// What it does, by the type of the frame. Each answers the `data` of the `ok`.
    var events: [String: SocketEvent] { get }
}

/// An event of a socket, and who may send it.
struct SocketEvent {
    let role: Role
    let run: @LoopActor (SocketCall) async throws -> [UInt8]

    /// An event for keys of this role and higher ones.
    init(
        _ role: Role = .agent,
        _ run: @escaping @LoopActor (SocketCall) async throws -> [UInt8]
    ) {
        self.role = role
        self.run = run
    }
}

/// A frame whose socket is known.
struct SocketCall {
    let caller: Caller
    let session: Session
    let data: JSON
    /// Who it came from.
    let peer: SocketPeer

    /// Reads `data` strictly.
    func fields<Value>(_ read: (inout JSONFields) -> Value) throws -> Value {
        try JSONFields.read(data, read)
    }
}

/// Everything that a socket may ask for.
///
/// Whatever it asks, first its session is looked up, and waited for: a socket that nobody registered
/// gets a 401 and has no effect at all.
@LoopActor
final class SocketDispatcher {
    private let sessions: UserSessionService
    private let events: [String: SocketEvent]

    init(sessions: UserSessionService, handlers: [any SocketHandler]) {
        self.sessions = sessions
        var events: [String: SocketEvent] = [:]
        for handler in handlers {
            events.merge(handler.events) { _, _ in
                preconditionFailure("two handlers of one event")
            }
        }
        self.events = events
    }

    /// The types that are understood.
    var types: [String] { events.keys.sorted() }

    /// Does what a frame asks for.
    ///
    /// - Throws: a problem: 401 for an unknown socket, 404 for an unknown event, and its own.
    func run(
        _ frame: SocketFrame,
        _ caller: Caller,
        _ role: Role?,
        _ peer: SocketPeer
    ) async throws -> [UInt8] {
        guard let event = events[frame.type] else {
            throw Problem(
                status: 404,
                code: "unknown_event",
                detail: "no event is called \(frame.type)"
            )
        }
        guard let session = try await sessions.getUserBySocketId(caller, frame.socket) else {
            throw Problem(
                status: 401,
                code: "unknown_socket",
                detail: "the socket has no session"
            )
        }
        guard role.map({ $0 >= event.role }) ?? true else {
            throw Problem.forbidden("this takes a key of role \(event.role) or higher")
        }
        return try await event.run(
            SocketCall(
                caller: caller,
                session: session,
                data: frame.data,
                peer: peer
            )
        )
    }
}
