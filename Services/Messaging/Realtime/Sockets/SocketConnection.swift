internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging

/// One client of `/v1/socket`: its frames are done one after the other, and what it follows is sent
/// in between.
@LoopActor
final class SocketConnection: SocketTransport {
    private let socket: WebSocket
    private let caller: Caller
    private let role: Role?
    private let logger: Logger
    private var work: Task<Void, Never>?

    init(_ socket: WebSocket, caller: Caller, role: Role?, logger: Logger) {
        self.socket = socket
        self.caller = caller
        self.role = role
        self.logger = logger
    }

    /// Begins to take frames; ends by itself with the socket, and says so.
    func start(
        _ dispatcher: SocketDispatcher,
        _ peer: SocketPeer,
        ended: @escaping @LoopActor () -> Void
    ) {
        work = Task {
            await run(dispatcher, peer)
            ended()
        }
    }

    private func run(_ dispatcher: SocketDispatcher, _ peer: SocketPeer) async {
        while let message = await socket.receive() {
            guard case .text(let text) = message else {
                socket.close(.unsupportedData, reason: "frames are text")
                break
            }
            socket.send(text: await answer(text, dispatcher, peer))
        }
        await peer.end()
        work = nil
    }

    private func answer(
        _ text: [UInt8],
        _ dispatcher: SocketDispatcher,
        _ peer: SocketPeer
    ) async -> [UInt8] {
        var ref = JSON.null
        do {
            let frame = try SocketFrame(text)
            ref = frame.id
            return SocketFrame.ok(ref, try await dispatcher.run(frame, caller, role, peer))
        } catch {
            return SocketFrame.error(ref, SocketPeer.problem(error, logger))
        }
    }

    // MARK: Following

    var isOpen: Bool { socket.isOpen }

    func send(_ event: LiveEvent) {
        socket.send(encoded: event.frame)
    }

    func waitForRoom() async -> Bool {
        await socket.waitForRoom()
    }
}
