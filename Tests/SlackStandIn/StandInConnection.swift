import EventLoop
import HTTPServer

/// One connection: reads whole requests, answers each in one write, or fails as it was told.
@LoopActor
final class StandInConnection: Channel {
    private var socket: StreamSocket
    private let workspace: StandInWorkspace
    private var parser = RequestParser()
    private var input: [UInt8] = []
    private var head: RequestHead?
    private var body: [UInt8] = []
    private var output: [UInt8] = []
    private var requests = 0
    private var closesAfterOutput = false

    init(_ socket: consuming StreamSocket, _ workspace: StandInWorkspace) {
        self.socket = socket
        self.workspace = workspace
    }

    func start() {
        do {
            try socket.watch(self, interest: .read)
        } catch {
            socket.close()
        }
    }

    func ready(_ readiness: Readiness) {
        guard socket.isOpen else { return }
        if readiness.contains(.write) { flush() }
        guard readiness.contains(.read) || readiness.contains(.hangup), socket.isOpen else {
            return
        }
        if requests == 0, head == nil, workspace.takeResetBeforeReading() { return socket.abort() }
        switch socket.receive({ buffer, count in input += buffer[..<count] }) {
        case .received: parse()
        case .wouldBlock: break
        case .end, .failed: socket.close()
        }
    }

    private func parse() {
        var position = 0
        defer { input.removeFirst(min(position, input.count)) }
        while socket.isOpen {
            switch parser.next(input, &position, end: input.count) {
            case .needsMore: return
            case .failed(let error):
                write(StandInAnswer(status: error.status, body: Array("\(error.code)".utf8)))
                closesAfterOutput = true
                return flush()
            case .head(let next):
                head = next
                body = []
                if parser.acceptBody(limit: 1 << 20) != nil { return socket.close() }
            case .body(let range): body += input[range]
            case .end:
                guard let request = head else { return }
                head = nil
                requests += 1
                answer(request, body)
                if !request.keepsAlive { closesAfterOutput = true }
            }
        }
    }

    private func answer(_ head: RequestHead, _ body: [UInt8]) {
        let request = StandInRequest(head, body: body, numberOnConnection: requests)
        switch workspace.respond(to: request) {
        case .answer(let answer):
            write(answer)
            flush()
        case .later(let answer, let delay):
            EventLoop.shared.schedule(after: delay) { [self] in
                guard socket.isOpen else { return }
                write(answer)
                flush()
            }
        case .hang: break
        case .reset: socket.abort()
        case .close: socket.close()
        case .cut(let answer):
            write(answer)
            output.removeLast(min(output.count, answer.body.count / 2))
            closesAfterOutput = true
            flush()
        }
    }

    /// The whole answer in one buffer, so that it leaves in one write.
    private func write(_ answer: StandInAnswer) {
        var text = "HTTP/1.1 \(answer.status) \(answer.status == 200 ? "OK" : "Answer")\r\n"
        text += "Content-Type: \(answer.contentType)\r\nContent-Length: \(answer.body.count)\r\n"
        for (name, value) in answer.fields { text += "\(name): \(value)\r\n" }
        output += Array((text + "\r\n").utf8) + answer.body
    }

    private func flush() {
        while !output.isEmpty {
            switch socket.send(output.span) {
            case .sent(let count): output.removeFirst(count)
            case .wouldBlock: return socket.update(interest: [.read, .write])
            case .failed: return socket.close()
            }
        }
        socket.update(interest: .read)
        if closesAfterOutput { socket.close() }
    }
}
