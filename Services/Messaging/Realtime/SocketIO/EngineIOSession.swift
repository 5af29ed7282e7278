internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// One client of Engine.IO, version 4: long-polling at first or all along, or a WebSocket.
///
/// What is sent goes out over the WebSocket once there is one; until then it waits for the next
/// poll, in a bounded buffer. The server asks for signs of life; who gives none in time is dropped.
@LoopActor
final class EngineIOSession {
    /// Between two pings.
    nonisolated static let pingInterval: Duration = .milliseconds(25_000)
    /// How long a client may take to answer one.
    nonisolated static let pingTimeout: Duration = .milliseconds(20_000)
    /// Bytes that a client may send at once.
    nonisolated static let payloadMax = 64 * 1024
    /// Bytes that may wait for a poll before the client is dropped.
    nonisolated static let waitingMax = 512 * 1024
    /// Packets that one poll brings at most: the official client in Python takes more for a fault, and
    /// goes.
    nonisolated static let packetsMax = 16
    /// What a client says first on a WebSocket that it tries out, and what it is told.
    nonisolated static let probe = Array("2probe".utf8)
    nonisolated static let probeAnswer = Array("3probe".utf8)
    /// How often a client that tries a WebSocket out is told to poll no more.
    nonisolated static let nudgeInterval: Duration = .milliseconds(100)
    /// How long it may try.
    nonisolated static let tryTimeout: Duration = .seconds(10)
    /// Between two packets of one poll.
    nonisolated static let separator: UInt8 = 0x1e

    /// The first byte of a packet.
    enum Kind: UInt8, Sendable {
        case open = 0x30
        case close = 0x31
        case ping = 0x32
        case pong = 0x33
        case message = 0x34
        case upgrade = 0x35
        case noop = 0x36
    }

    let sid: String
    /// Called with each message of the client, in order.
    var onMessage: (@LoopActor ([UInt8]) -> Void)?
    /// Called once, when the client has gone.
    var onEnd: (@LoopActor () -> Void)?
    private(set) var isOpen = true

    /// What waits for a poll, and how many bytes that is with what separates it.
    private var waiting: [[UInt8]] = []
    private var waitingBytes = 0
    private var poll: CheckedContinuation<[UInt8], Never>?
    private var socket: WebSocket?
    /// The WebSocket that a polling client tries out.
    private var tried: WebSocket?
    private var nudges: Task<Void, Never>?
    private var timer: LoopTimer?
    private var room: [CheckedContinuation<Void, Never>] = []

    init(sid: String) {
        self.sid = sid
        schedulePing()
    }

    /// The packet that every client gets first.
    var openPacket: [UInt8] {
        let isPolling = socket == nil
        let document: JSON = [
            "sid": .string(sid), "upgrades": isPolling ? ["websocket"] : [],
            "pingInterval": .int(EngineIOSession.pingInterval.milliseconds),
            "pingTimeout": .int(EngineIOSession.pingTimeout.milliseconds),
            "maxPayload": .int(Int64(EngineIOSession.payloadMax)),
        ]
        return [Kind.open.rawValue] + document.serialized()
    }

    /// Sends a message.
    func send(message: [UInt8]) {
        send(.message, message)
    }

    /// Waits until the client has taken what waits for it; false when it has gone.
    func waitForRoom() async -> Bool {
        if let socket { return await socket.waitForRoom() }
        while isOpen, socket == nil, waitingBytes > EngineIOSession.waitingMax / 2 {
            await withCheckedContinuation { room.append($0) }
        }
        return isOpen
    }

    private func send(_ kind: Kind, _ payload: [UInt8] = []) {
        guard isOpen else { return }
        let packet = [kind.rawValue] + payload
        if let socket {
            socket.send(text: packet)
            return
        }
        guard waitingBytes + packet.count < EngineIOSession.waitingMax else { return end() }
        waiting.append(packet)
        waitingBytes += packet.count + 1
        if poll != nil { answer(poll, nextPoll()) }
    }

    // MARK: Polling

    /// Answers a poll: what waits, or what comes first.
    ///
    /// A client polls once at a time: an older poll that still waits is of a connection that broke.
    func polled() async -> [UInt8] {
        guard isOpen else { return [Kind.close.rawValue] }
        answer(poll, [Kind.noop.rawValue])
        guard socket == nil else { return [Kind.noop.rawValue] }
        if !waiting.isEmpty { return nextPoll() }
        return await withCheckedContinuation { poll = $0 }
    }

    /// Takes what a client posted.
    ///
    /// With nothing in it the poll that waits is answered: the client is about to stop polling.
    func posted(_ body: [UInt8]) {
        if body.isEmpty { nudge() }
        for packet in body.split(separator: EngineIOSession.separator) { received(Array(packet)) }
    }

    private func answer(_ waiter: CheckedContinuation<[UInt8], Never>?, _ packets: [UInt8]) {
        poll = nil
        waiter?.resume(returning: packets)
    }

    private func nextPoll() -> [UInt8] {
        Array(
            takeWaiting(EngineIOSession.packetsMax).joined(separator: [EngineIOSession.separator])
        )
    }

    /// Takes what waits, the oldest `most` of it.
    private func takeWaiting(_ most: Int = .max) -> ArraySlice<[UInt8]> {
        let taken = waiting.prefix(most)
        waiting.removeFirst(taken.count)
        for packet in taken { waitingBytes -= packet.count + 1 }
        let resumed = room
        room = []
        for one in resumed { one.resume() }
        return taken
    }

    // MARK: WebSocket

    /// Serves a client that comes by WebSocket from the beginning, or upgrades to it; ends with it.
    func serve(_ webSocket: WebSocket, isUpgrade: Bool) async {
        if isUpgrade {
            guard tried == nil, socket == nil else { return webSocket.close(.policyViolation) }
            tried = webSocket
        } else {
            socket = webSocket
            webSocket.send(text: openPacket)
        }
        while let message = await webSocket.receive() {
            guard case .text(let packet) = message else {
                webSocket.close(.unsupportedData)
                break
            }
            if tried === webSocket { probed(packet) } else { received(packet) }
        }
        if tried === webSocket { tried = nil } else { end() }
    }

    /// What a client says on a WebSocket that it tries out.
    private func probed(_ packet: [UInt8]) {
        if packet == EngineIOSession.probe {
            tried?.send(text: EngineIOSession.probeAnswer)
            if nudges == nil { nudges = Task { await nudgeWhileTried() } }
        } else if packet.first == Kind.upgrade.rawValue {
            socket = tried
            tried = nil
            // What waited for a poll goes first.
            for packet in takeWaiting() { socket?.send(text: packet) }
            answer(poll, [Kind.noop.rawValue])
        }
    }

    /// Answers a poll that waits, so that the client can stop polling.
    private func nudge() { answer(poll, [Kind.noop.rawValue]) }

    /// Until the client goes over to the WebSocket: it may have polled once more before it heard.
    private func nudgeWhileTried() async {
        let end = EventLoop.shared.now + EngineIOSession.tryTimeout
        while isOpen, tried != nil, EventLoop.shared.now < end {
            nudge()
            try? await EventLoop.shared.sleep(for: EngineIOSession.nudgeInterval)
        }
        tried?.close()
        nudges = nil
    }

    // MARK: Both

    private func received(_ packet: [UInt8]) {
        guard isOpen, let first = packet.first else { return }
        switch Kind(rawValue: first) {
        case .message: onMessage?(Array(packet.dropFirst()))
        case .pong: schedulePing()
        case .close: end()
        case .ping: send(.pong, Array(packet.dropFirst()))
        case .open, .upgrade, .noop: break
        case nil: end()
        }
    }

    private func schedulePing() {
        if let timer { EventLoop.shared.cancel(timer) }
        timer = EventLoop.shared.schedule(after: EngineIOSession.pingInterval) { [weak self] in
            guard let self, isOpen else { return }
            send(.ping)
            timer = EventLoop.shared.schedule(after: EngineIOSession.pingTimeout) { [weak self] in
                self?.end()
            }
        }
    }

    /// Drops the client.
    func end() {
        guard isOpen else { return }
        isOpen = false
        if let timer { EventLoop.shared.cancel(timer) }
        answer(poll, [Kind.close.rawValue])
        _ = takeWaiting()
        socket?.close()
        tried?.close()
        let action = onEnd
        onEnd = nil
        onMessage = nil
        action?()
    }
}
