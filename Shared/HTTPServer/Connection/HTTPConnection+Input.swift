internal import EventLoop
internal import Tracing

/// A request that is being read or answered.
///
/// A class, so that handing it around costs one reference and not one for each of its parts.
@LoopActor
final class RequestInProgress {
    let head: RequestHead
    let id: RequestID
    let traceparent: TraceParent
    let received: MonotonicTime
    /// The route, or what is answered instead of calling one.
    let target: Target
    /// The route alone; nil when none is called.
    let entry: RouteEntry?
    var body: [UInt8] = []
    /// Bytes of the whole body, also once the handler has it.
    var bodySize = 0

    enum Target {
        case route(RouteEntry, PathParameters)
        case answer(Response)
    }

    /// Bytes that the body may have.
    var bodyLimit: Int { entry?.route.bodyLimit ?? Route.bodyLimitDefault }

    /// Finds the route of a head, or what to answer without one.
    init(_ server: HTTPServer, _ head: RequestHead, now: MonotonicTime) {
        self.head = head
        received = now
        let fields = head.fields
        let given = fields.valueBytes(of: "X-Request-Id").flatMap { RequestID($0) }
        let id = given ?? server.identifiers.requestID()
        self.id = id
        let trace = fields.valueBytes(of: "traceparent").flatMap { TraceParent($0) }
        traceparent = server.identifiers.step(below: trace)
        func answer(_ problem: Problem) -> Target {
            .answer(problem.response(requestID: id.text, instance: head.target))
        }
        let match = server.pipeline.router.match(head.method, head.pathBytes)
        if case .route(let found, _) = match { entry = found } else { entry = nil }
        switch match {
        case .route(let entry, let parameters):
            target = .route(entry, parameters)
        case .none:
            target = answer(.noSuchCall)
        case .malformed:
            target = answer(.badRequest("the path is not UTF-8", code: "invalid_path"))
        case .options(let allow):
            target = .answer(Response.empty().withField("Allow", allow))
        case .otherMethods(let allow):
            var problem = Problem(status: 405, detail: "this path takes \(allow)")
            problem.fields["Allow"] = allow
            target = answer(problem)
        }
    }
}

extension HTTPConnection {
    /// Takes bytes off the loop's buffer; what cannot be parsed now is copied.
    func received(_ bytes: [UInt8], _ count: Int) {
        if machine.isLingering {
            _ = machine.lingered(count)
            return
        }
        if let webSocket { return webSocket.received(bytes, count: count) }
        unread += count
        guard inputPosition == input.count else {
            compactInput()
            input.append(contentsOf: bytes[..<count])
            return
        }
        var position = 0
        parse(bytes, &position, end: count)
        guard unread > 0 else { return }
        input = Array(bytes[position..<count])
        inputPosition = 0
    }

    /// Parses input that had to wait; true when that may have made new output.
    func parseWaitingInput() -> Bool {
        guard !input.isEmpty || machine.hasInputEnded else { return false }
        guard machine.mayParse, unsent <= server.configuration.outputLowWater else { return false }
        let hadInput = inputPosition < input.count
        if hadInput {
            // The handlers that run meanwhile may receive nothing, but be safe: the bytes are ours.
            var bytes: [UInt8] = []
            swap(&bytes, &input)
            var position = inputPosition
            inputPosition = 0
            parse(bytes, &position, end: bytes.count)
            if unread > 0 {
                swap(&bytes, &input)
                inputPosition = position
            }
        }
        guard machine.hasInputEnded, machine.mayParse, unread == 0 else { return hadInput }
        inputEnded(hasMoreInput: false)
        return true
    }

    private func compactInput() {
        guard inputPosition > 0 else { return }
        input.removeFirst(inputPosition)
        inputPosition = 0
    }

    /// Reads requests until one has to wait, the output is full, or the bytes are used up.
    private func parse(_ bytes: [UInt8], _ position: inout Int, end: Int) {
        while machine.mayParse, unsent < server.configuration.outputHighWater {
            let event = parser.next(bytes, &position, end: end)
            unread = end - position
            switch event {
            case .needsMore:
                var isMidHead = false
                if case .head = parser.phase { isMidHead = true }
                return machine.inputUsedUp(isMidHead: isMidHead, now: EventLoop.shared.now)
            case .head(let head):
                begin(head, bodyFollows: position < end)
            case .body(let range):
                takeBody(bytes[range])
            case .end:
                machine.requestCompleted(now: EventLoop.shared.now)
                answerCurrent()
            case .failed(let error):
                server.observer?.cut(.malformed)
                refuse(Problem(error))
            }
        }
        if let webSocket, position < end {
            // What came in one piece with the request that made it one.
            webSocket.received(bytes, from: position, count: end - position)
            position = end
        }
        if !machine.mayParse, !machine.isHandling {
            // No request will be read from here: what is left is nobody's.
            unread = 0
        }
    }

    private func begin(_ head: RequestHead, bodyFollows: Bool) {
        let now = EventLoop.shared.now
        machine.headCompleted(keepsAlive: head.keepsAlive, now: now)
        let request = RequestInProgress(server, head, now: now)
        current = request
        if let error = parser.acceptBody(limit: request.bodyLimit) {
            return refuse(Problem(error))
        }
        guard head.expectsContinue, !bodyFollows else { return }
        if case .answer(let response) = request.target {
            // The client waits for a word before it sends the body; this is the last one.
            return refuse(response)
        }
        ResponseSerializer.appendContinue(to: &output)
    }

    private func takeBody(_ bytes: ArraySlice<UInt8>) {
        guard current?.entry != nil else { return }
        server.readings.bodyBytes += bytes.count
        current?.body.append(contentsOf: bytes)
        guard server.readings.bodyBytes > server.configuration.bodyBytesMax else { return }
        refuse(.unavailable("too many bodies are being received", code: "overloaded"))
    }

    /// The peer has closed its side.
    func inputEnded(hasMoreInput: Bool) {
        switch machine.inputEnded(hasMoreInput: hasMoreInput) {
        case .carryOn, .close: break
        case .refuse: refuse(.badRequest("the request was cut off", code: "incomplete_request"))
        }
    }

    /// Lets go of the request in progress.
    func forgetRequest() {
        guard let request = current else { return }
        server.readings.bodyBytes -= request.body.count
        current = nil
    }
}

extension Problem {
    /// What the parser found.
    init(_ error: RequestError) {
        self.init(status: error.status, detail: error.description)
    }
}
