internal import EventLoop
internal import HTTPServer

/// Serves the WebSocket of a client whose session lives in another instance: polls it there, as the
/// client itself did before, and takes along what the client sends.
@LoopActor
final class EngineIORelay {
    private let sid: String
    private let bridge: EngineIOBridge
    private var isTried = false
    private var nudges: Task<Void, Never>?
    private var listener: Task<Void, Never>?

    init(sid: String, bridge: EngineIOBridge) {
        self.sid = sid
        self.bridge = bridge
    }

    /// Whether there is such a session anywhere.
    func isKnown() async -> Bool { await bridge.ask(sid, body: []) != nil }

    /// Serves the socket to its end; the session ends with it, unless it was only tried out.
    func serve(_ webSocket: WebSocket) async {
        while let message = await webSocket.receive() {
            guard case .text(let packet) = message else {
                webSocket.close(.unsupportedData)
                break
            }
            // One after the other: they arrive in the client's order.
            guard await taken(packet, webSocket) else { break }
        }
        webSocket.close()
        isTried = false
        await nudges?.value
        guard let listener else { return }
        _ = await bridge.ask(sid, body: [EngineIOSession.Kind.close.rawValue])
        await listener.value
    }

    /// Takes a packet of the client along; false when its session is gone.
    private func taken(_ packet: [UInt8], _ webSocket: WebSocket) async -> Bool {
        if listener != nil { return await bridge.ask(sid, body: packet) != nil }
        if packet == EngineIOSession.probe, !isTried {
            isTried = true
            webSocket.send(text: EngineIOSession.probeAnswer)
            nudges = Task { await nudge(webSocket) }
        } else if packet.first == EngineIOSession.Kind.upgrade.rawValue {
            isTried = false
            listener = Task { await listen(webSocket) }
        }
        return true
    }

    /// Has polls that wait answered, so that the client can stop polling.
    private func nudge(_ webSocket: WebSocket) async {
        let end = EventLoop.shared.now + EngineIOSession.tryTimeout
        while isTried, EventLoop.shared.now < end, await bridge.ask(sid, body: []) != nil {
            try? await EventLoop.shared.sleep(for: EngineIOSession.nudgeInterval)
        }
        if isTried { webSocket.close() }
    }

    /// Brings what the session sends, until it ends or its instance is gone.
    private func listen(_ webSocket: WebSocket) async {
        while let packets = await bridge.ask(sid, body: nil) {
            for packet in packets.split(separator: EngineIOSession.separator) {
                guard packet.first != EngineIOSession.Kind.noop.rawValue else { continue }
                guard packet.first != EngineIOSession.Kind.close.rawValue,
                    await webSocket.waitForRoom()
                else { return webSocket.close() }
                webSocket.send(text: Array(packet))
            }
        }
        webSocket.close()
    }
}
