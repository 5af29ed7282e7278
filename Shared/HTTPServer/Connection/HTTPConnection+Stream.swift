internal import EventLoop

/// What a connection does once it carries events or a WebSocket.
extension HTTPConnection: EventStreamCarrier {
    private static let comment = Array(": still here\n\n".utf8)

    func startStream(
        _ stream: EventStream,
        _ response: Response,
        _ progress: RequestInProgress
    ) {
        server.appendHead(
            of: response,
            id: progress.id,
            framing: progress.head.version == .http11 ? .chunked : .untilClose,
            version: progress.head.version,
            keepsAlive: false,
            to: &output
        )
        machine.streamStarted(now: EventLoop.shared.now)
        isChunked = progress.head.version == .http11
        self.stream = stream
        stream.attach(self)
        if server.isDraining { stream.close() }
        if machine.hasInputEnded { machine.lost() }
    }

    /// Moves what the stream has to the output, unless that is full.
    func pumpStream() {
        guard let stream, !isBlocked, !machine.isClosed else { return }
        appendToStream(stream.takeWaiting())
        guard !stream.isOpen else { return }
        if isChunked { ResponseSerializer.appendLastChunk(to: &output) }
        machine.finish()
        self.stream = nil
    }

    func appendToStream(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        if isChunked {
            ResponseSerializer.appendChunk(bytes, to: &output)
        } else {
            output.append(contentsOf: bytes)
        }
        machine.streamWritten(now: EventLoop.shared.now)
    }

    func streamChanged() {
        EventLoop.shared.flushLater(self)
    }

    func streamOverflowed() {
        cut(.streamOverflow)
    }

    /// The connection has been quiet for an interval.
    func quietPassed() {
        guard let webSocket else { return appendToStream(HTTPConnection.comment) }
        if !webSocket.asks() { machine.lost() }
    }

    /// The server drains: the client is told to go on elsewhere.
    func endStream() {
        if let webSocket { webSocket.close(.goingAway) } else { stream?.close() }
    }

    func startWebSocket(
        _ socket: WebSocket,
        _ response: Response,
        _ progress: RequestInProgress
    ) {
        ResponseSerializer.appendUpgrade(
            acceptance: socket.acceptance,
            requestID: progress.id.text,
            fields: response.fields,
            to: &output
        )
        machine.streamStarted(now: EventLoop.shared.now)
        isChunked = false
        webSocket = socket
        stream = socket.output
        socket.onRoom = { [weak self] in self?.streamChanged() }
        socket.output.attach(self)
        if server.isDraining { socket.close(.goingAway) }
        if machine.hasInputEnded { return machine.lost() }
        // Frames that came right behind the request.
        let start = inputPosition
        let count = input.count - start
        guard count > 0 else { return }
        var bytes: [UInt8] = []
        swap(&bytes, &input)
        (inputPosition, unread) = (0, 0)
        socket.received(bytes, from: start, count: count)
    }
}
