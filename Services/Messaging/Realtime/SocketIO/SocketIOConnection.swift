internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging

/// A Socket.IO client of the namespace `/`: its events are done one after the other, and what it
/// follows is sent in between.
///
/// Its Socket.IO id is its socket's id, with which its session is registered. The id of its transport
/// is another, because whoever knows that one can speak in its place.
@LoopActor
final class SocketIOConnection: SocketTransport {
    /// Messages of a client that wait before it is dropped.
    static let inboxMax = 256

    let session: EngineIOSession
    /// The socket's id, as others may know it.
    let socket = UUID().text
    /// Who opened it.
    let principal: Principal
    private let caller: Caller
    private let makePeer: @LoopActor (any SocketTransport) -> SocketPeer
    private var peer: SocketPeer?
    private var inbox: [[UInt8]] = []
    private let wakeup = Wakeup()
    private var work: Task<Void, Never>?
    private let logger: Logger

    init(
        _ session: EngineIOSession,
        principal: Principal,
        caller: Caller,
        logger: Logger,
        peer: @escaping @LoopActor (any SocketTransport) -> SocketPeer
    ) {
        self.session = session
        self.principal = principal
        self.caller = caller
        self.logger = logger
        makePeer = peer
    }

    /// Begins to take messages; ends by itself with the session.
    func start(_ dispatcher: SocketDispatcher, ended: @escaping @LoopActor () -> Void) {
        session.onMessage = { [weak self] in self?.take($0) }
        session.onEnd = { [weak self] in
            self?.wakeup.wake()
            ended()
        }
        work = Task { await run(dispatcher) }
    }

    private func take(_ message: [UInt8]) {
        guard inbox.count < SocketIOConnection.inboxMax else { return session.end() }
        inbox.append(message)
        wakeup.wake()
    }

    private func run(_ dispatcher: SocketDispatcher) async {
        while session.isOpen {
            while !inbox.isEmpty { await done(inbox.removeFirst(), dispatcher) }
            guard session.isOpen else { break }
            await wakeup.rest(atMost: .seconds(60))
        }
        await peer?.end()
        peer = nil
        work = nil
    }

    private func done(_ message: [UInt8], _ dispatcher: SocketDispatcher) async {
        let packet: SocketIOPacket
        do {
            packet = try SocketIOPacket(message)
        } catch {
            // The protocol knows no answer to this but the end.
            logger.info("socket.io: a client was dropped", metadata: ["reason": "\(error.reason)"])
            return session.end()
        }
        switch packet.kind {
        case .connect: connect(packet)
        case .event: await event(packet, dispatcher)
        case .disconnect: session.end()
        case .ack, .connectError: break
        }
    }

    private func connect(_ packet: SocketIOPacket) {
        guard packet.namespace == "/" else {
            let refusal = "4\(packet.namespace),{\"message\":\"Invalid namespace\"}"
            return session.send(message: Array(refusal.utf8))
        }
        if peer == nil { peer = makePeer(self) }
        let document: JSON = ["sid": .string(socket)]
        session.send(message: SocketIOPacket.encode(.connect, json: document.serialized()))
    }

    /// `["<type>", data]`; the acknowledgement, or an event `error`, says what became of it.
    private func event(_ packet: SocketIOPacket, _ dispatcher: SocketDispatcher) async {
        guard let peer, let list = packet.data.arrayValue, let type = list.first?.stringValue else {
            return session.end()
        }
        let frame = SocketFrame(
            type: type,
            id: .null,
            socket: socket,
            data: list.count > 1 ? list[1] : [:]
        )
        do {
            let data = try await dispatcher.run(frame, caller, principal.role, peer)
            guard let id = packet.id else { return }
            acknowledge(id, SocketFrame.ok(.null, data))
        } catch {
            let document = SocketFrame.error(.null, SocketPeer.problem(error, logger))
            if let id = packet.id {
                acknowledge(id, document)
            } else {
                session.send(message: SocketIOPacket.event("error", document))
            }
        }
    }

    private func acknowledge(_ id: Int, _ document: [UInt8]) {
        let json = Array("[".utf8) + document + Array("]".utf8)
        session.send(message: SocketIOPacket.encode(.ack, id: id, json: json))
    }

    // MARK: Following

    var isOpen: Bool { session.isOpen }

    func send(_ event: LiveEvent) {
        session.send(message: event.socketIO)
    }

    func waitForRoom() async -> Bool {
        await session.waitForRoom()
    }
}
