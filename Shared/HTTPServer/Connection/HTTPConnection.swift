internal import EventLoop

/// One connection: moves bytes between the socket, the parser and the handlers, as its state machine
/// says.
///
/// Every entry (readiness, a finished handler, a timer) is one ``perform(_:)``: it collects output
/// and ends with one send. A handler that does not wait ends inside the entry that started it.
@LoopActor
final class HTTPConnection: Channel, Flushable {
    let server: HTTPServer
    let peer: SocketAddress
    /// Whether the connection is one too many, and only told so.
    let isRefusal: Bool
    /// Its place among the server's connections.
    var index: Int

    private var socket: StreamSocket
    var machine: ConnectionStateMachine
    var parser: RequestParser
    private var timer: LoopTimer?
    private var isPerforming = false
    private var hasEnded = false
    private var resetsOnClose = false
    var isFlushScheduled = false

    /// Bytes received while a request was in flight or the output was full, from `inputPosition` on.
    var input: [UInt8] = []
    var inputPosition = 0
    /// Bytes received and not parsed, wherever they are.
    var unread = 0
    /// Bytes to send, from `outputPosition` on.
    var output: [UInt8] = []
    var outputPosition = 0
    /// Whether the kernel takes nothing until it tells of room.
    private(set) var isBlocked = false
    private var takenSinceBlocked = 0

    /// The request that is being read or answered.
    var current: RequestInProgress?
    /// Tells the answer of this request from one that was given up.
    var exchange = 0
    /// The handler, while it waits.
    var task: Task<Void, Never>?
    var stream: EventStream?
    /// What the connection became; its output is ``stream``.
    var webSocket: WebSocket?
    /// How the stream is framed.
    var isChunked = false

    init(
        _ socket: consuming StreamSocket,
        server: HTTPServer,
        index: Int,
        isRefusal: Bool
    ) {
        peer = socket.peer
        self.socket = socket
        self.server = server
        self.index = index
        self.isRefusal = isRefusal
        machine = ConnectionStateMachine(
            deadlines: server.configuration.deadlines,
            lingerBytesMax: server.configuration.lingerBytesMax,
            now: EventLoop.shared.now
        )
        parser = RequestParser(limits: server.configuration.limits)
    }

    /// Begins to read, or to turn the peer away.
    func start() {
        do {
            try socket.watch(self, interest: .read)
        } catch {
            // The kernel has no room to watch one more: it cannot be served.
            machine.lost()
        }
        perform {
            guard isRefusal else { return }
            output.append(contentsOf: server.refusalAnswer())
            machine.finish()
        }
    }

    // MARK: Entries

    func ready(_ readiness: Readiness) {
        perform {
            if readiness.contains(.read) {
                receive()
            } else if readiness.contains(.hangup) {
                // Nothing can be written any more: the client has gone.
                machine.lost()
            }
        }
    }

    private func receive() {
        let outcome = socket.receive { bytes, count in received(bytes, count) }
        switch outcome {
        case .received, .wouldBlock: break
        case .end: inputEnded(hasMoreInput: unread > 0)
        case .failed: machine.lost()
        }
    }

    /// The end of the tick in which a stream asked for it.
    func flush() {
        perform {}
    }

    private func timerFired() {
        perform {
            switch machine.timerFired(now: EventLoop.shared.now) {
            case .carryOn, .close: break
            case .cut:
                resetsOnClose = true
                server.observer?.cut(.writeStall)
            case .requestTimeout:
                server.observer?.cut(.requestTimeout)
                refuse(Problem(status: 408, detail: "the request took too long to arrive"))
            case .handlerTimeout:
                server.observer?.cut(.handlerTimeout)
                task?.cancel()
                refuse(.unavailable("the request took too long", code: "handler_timeout"))
            case .streamComment: quietPassed()
            }
        }
    }

    /// The server takes no new work.
    func drain() {
        perform {
            switch machine.drainStarted(now: EventLoop.shared.now) {
            case .carryOn, .close: break
            case .endStream: endStream()
            }
        }
    }

    /// Gives the connection up; the peer learns that what it got is not whole.
    func cut(_ reason: ConnectionCut) {
        perform {
            machine.lost()
            resetsOnClose = true
        }
        server.observer?.cut(reason)
    }

    /// Does `work`, then sends what it wrote, goes on with input that waits, and closes if it is time.
    ///
    /// Re-entrant: a handler that ends at once, or closes a stream of its own connection, gets here
    /// from inside.
    func perform(_ work: () -> Void) {
        guard !isPerforming else { return work() }
        guard !hasEnded else { return }
        isPerforming = true
        if output.isEmpty { swap(&output, &server.outputBuffer) }
        work()
        repeat {
            pumpStream()
            flushOutput()
        } while parseWaitingInput()
        giveBufferBack()
        isPerforming = false
        guard !machine.isClosed else { return end() }
        updateInterest()
        armTimer()
    }

    // MARK: Output

    /// Bytes that the kernel has not taken.
    var unsent: Int { output.count - outputPosition }

    private func flushOutput() {
        // Most entries bring a request whose answer comes later.
        guard !output.isEmpty || machine.isFinishing else { return }
        guard !machine.isClosed else { return }
        let start = outputPosition
        var position = start
        while position < output.count {
            switch send(from: position) {
            case .sent(let count): position += count
            case .wouldBlock:
                outputPosition = position
                takenSinceBlocked += position - start
                return outputBlocked()
            case .failed:
                return machine.lost()
            }
        }
        output.removeAll(keepingCapacity: true)
        outputPosition = 0
        isBlocked = false
        takenSinceBlocked = 0
        stream?.wrote(unsent: 0)
        switch machine.outputFlushed(now: EventLoop.shared.now) {
        case .carryOn, .close: break
        case .halfClose: socket.shutdownSending()
        }
    }

    private func send(from position: Int) -> SendOutcome {
        let bytes = output
        return socket.send(bytes.span.extracting(position..<bytes.count))
    }

    private func outputBlocked() {
        isBlocked = true
        let isFair = takenSinceBlocked >= server.configuration.outputLowWater
        if isFair { takenSinceBlocked = 0 }
        machine.outputBlocked(progressed: isFair, now: EventLoop.shared.now)
        stream?.wrote(unsent: unsent)
    }

    /// Keeps only what is not sent; the rest of the buffer serves the next connection.
    private func giveBufferBack() {
        var buffer: [UInt8] = []
        if !output.isEmpty { buffer.append(contentsOf: output[outputPosition...]) }
        outputPosition = 0
        swap(&buffer, &output)
        guard buffer.capacity <= server.configuration.outputHighWater * 2 else { return }
        buffer.removeAll(keepingCapacity: true)
        swap(&buffer, &server.outputBuffer)
    }

    private func updateInterest() {
        var interest: Interest = []
        if machine.wantsInput && webSocket?.isInboxFull != true
            && (input.isEmpty
                || input.count - inputPosition < server.configuration.inputHighWater)
        {
            interest.insert(.read)
        }
        if !output.isEmpty { interest.insert(.write) }
        socket.update(interest: interest)
    }

    // MARK: Time

    /// Sees to it that a timer fires no later than the next deadline.
    ///
    /// It never looks further ahead than the shortest deadline, so that the beginning of a request,
    /// which brings a sooner one than idling had, does not move it.
    private func armTimer() {
        let next = machine.nextDeadline
        if let timer, timer.isPending {
            guard next < timer.deadline else { return }
            EventLoop.shared.cancel(timer)
        }
        let horizon = EventLoop.shared.now + server.configuration.deadlines.shortest
        timer = EventLoop.shared.schedule(at: min(next, horizon)) { [self] in timerFired() }
    }

    // MARK: The end

    private func end() {
        guard !hasEnded else { return }
        hasEnded = true
        if let timer { EventLoop.shared.cancel(timer) }
        timer = nil
        task?.cancel()
        task = nil
        forgetRequest()
        input = []
        output = []
        if resetsOnClose { socket.abort() } else { socket.close() }
        stream?.finish(.clientGone)
        stream = nil
        webSocket = nil
        server.ended(self)
    }
}
