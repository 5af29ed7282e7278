public import EventLoop

/// A WebSocket to one client (RFC 6455).
///
/// A handler makes it from the request, answers ``response``, and goes on with it in a task of its
/// own: ``receive()`` until it answers nil. What the client does not take waits in a bounded buffer;
/// a client that lets it run full is cut. What the handler does not take in time stops the reading.
@LoopActor
public final class WebSocket {
    /// Bytes that a message of a client may have, unless said otherwise.
    public nonisolated static let messageBytesDefault = 64 * 1024
    /// Messages that wait for the handler before the client is read no further.
    nonisolated static let inboxMax = 64
    /// So many pings in a row may stay without a word from the client.
    nonisolated static let silentPingsMax = 2

    /// What the client asked for in its handshake.
    let acceptance: String
    /// Bytes on their way to the client.
    let output: EventStream
    /// Called once, when the socket has ended, whatever the reason.
    public var onEnd: (@LoopActor () -> Void)?
    /// Tells the connection that it may read on.
    var onRoom: (@LoopActor () -> Void)?

    private var parser: WebSocketParser
    private var inbox: [WebSocketMessage] = []
    private var reader: CheckedContinuation<WebSocketMessage?, Never>?
    private var hasSentClose = false
    private var hasEnded = false
    private var silentPings = 0

    /// Opens a WebSocket in answer to a request.
    ///
    /// - Throws: 426 for a request that asks for none, 400 for one that asks in the wrong way.
    public init(
        _ request: Request,
        messageBytesMax: Int = WebSocket.messageBytesDefault,
        bufferLimit: Int = EventStream.bufferLimitDefault
    ) throws(Problem) {
        acceptance = try WebSocketHandshake.acceptance(of: request)
        output = EventStream(bufferLimit: bufferLimit)
        parser = WebSocketParser(messageBytesMax: messageBytesMax)
        output.onEnd = { [weak self] _ in self?.ended() }
    }

    /// The answer that opens it.
    public var response: Response {
        Response(status: 101, contentType: nil, body: .webSocket(self))
    }

    /// Whether what is sent may still reach the client.
    public var isOpen: Bool { output.isOpen && !hasSentClose }

    /// Sends a text message; false when the socket has ended, or just now by this.
    @discardableResult
    public func send(text: [UInt8]) -> Bool {
        send(encoded: WebSocket.encode(text: text))
    }

    /// Sends a message that ``encode(text:)`` made, once for many sockets.
    @discardableResult
    public func send(encoded: [UInt8]) -> Bool {
        isOpen && output.send(encoded: encoded)
    }

    /// Sends a binary message.
    @discardableResult
    public func send(binary: [UInt8]) -> Bool {
        send(encoded: WebSocketFrame.encode(.binary, binary))
    }

    /// A text message as it goes over the wire.
    public nonisolated static func encode(text: [UInt8]) -> [UInt8] {
        WebSocketFrame.encode(.text, text)
    }

    /// The next message of the client; nil when there will be none.
    public func receive() async -> WebSocketMessage? {
        if !inbox.isEmpty {
            let wasFull = isInboxFull
            let message = inbox.removeFirst()
            if wasFull { onRoom?() }
            return message
        }
        guard !hasEnded, !hasSentClose else { return nil }
        precondition(reader == nil, "one reads a socket")
        return await withCheckedContinuation { reader = $0 }
    }

    /// Waits until less than half of the buffer is full; false when the socket has ended.
    public func waitForRoom() async -> Bool {
        await output.waitForRoom() && isOpen
    }

    /// Ends the conversation after what was sent.
    public func close(_ code: WebSocketCloseCode = .normal, reason: String = "") {
        guard isOpen else { return }
        hasSentClose = true
        output.send(encoded: WebSocketFrame.close(code, reason: reason))
        output.close()
    }

    // MARK: The connection's side

    var isInboxFull: Bool { inbox.count >= WebSocket.inboxMax }

    /// Takes bytes of the client.
    func received(_ bytes: [UInt8], from start: Int = 0, count: Int) {
        silentPings = 0
        var position = start
        while let event = parser.next(bytes, &position, end: start + count) {
            switch event {
            case .message(let message): deliver(message)
            case .ping(let payload): send(encoded: WebSocketFrame.encode(.pong, payload))
            case .pong: break
            case .close(let code): closed(by: code)
            case .failed(let code, let why): close(code, reason: why)
            }
        }
    }

    /// The quiet of an interval: asks whether the client is there; false when it was asked in vain.
    func asks() -> Bool {
        guard silentPings < WebSocket.silentPingsMax else { return false }
        silentPings += 1
        send(encoded: WebSocketFrame.encode(.ping, []))
        return true
    }

    private func deliver(_ message: WebSocketMessage) {
        guard isOpen else { return }
        guard let waiting = reader else {
            inbox.append(message)
            return
        }
        reader = nil
        waiting.resume(returning: message)
    }

    /// The client closes: its code is given back to it (RFC 6455 section 5.5.1).
    private func closed(by code: WebSocketCloseCode?) {
        guard isOpen else { return }
        hasSentClose = true
        output.send(encoded: WebSocketFrame.close(code))
        output.close()
    }

    private func ended() {
        guard !hasEnded else { return }
        hasEnded = true
        reader?.resume(returning: nil)
        reader = nil
        let action = onEnd
        onEnd = nil
        action?()
    }
}
