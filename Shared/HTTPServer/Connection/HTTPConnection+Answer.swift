internal import EventLoop

extension HTTPConnection {
    /// Answers the request that has just become whole; a handler that may wait begins after this.
    func answerCurrent() {
        guard let progress = current else { preconditionFailure("there is no request") }
        server.readings.bodyBytes -= progress.body.count
        switch progress.target {
        case .answer(let response):
            answer(response, principal: nil)
        case .route(let entry, let parameters):
            guard let request = Request(progress, entry, parameters, peer) else {
                let response = Problem.invalidQuery.response(
                    requestID: progress.id.text,
                    instance: progress.head.target
                )
                return answer(response, principal: nil)
            }
            current?.body = []
            current?.bodySize = request.body.count
            call(entry, request)
        }
    }

    private func call(_ entry: RouteEntry, _ request: Request) {
        if let immediate = entry.route.immediateHandler {
            let response = server.pipeline.respond(request, entry, at: immediate)
            return answer(response, principal: nil)
        }
        exchange &+= 1
        let exchange = exchange
        server.readings.requestsInFlight += 1
        // Not `Task.immediate`: a task that was started so pays twice for each call that it makes
        // (the runtime looks for a preferred executor under a lock; Swift 6.3.1).
        task = Task { @LoopActor [self] in
            let (response, admission) = await server.pipeline.respond(request, entry)
            server.readings.requestsInFlight -= 1
            finished(exchange, response, admission?.principal)
        }
    }

    /// A handler has ended; nobody wants the answer of a request that was given up.
    @inline(never)  // Its frame would be part of what the task holds while the handler waits.
    private func finished(_ exchange: Int, _ response: Response, _ principal: Principal?) {
        guard machine.isHandling, exchange == self.exchange else {
            switch response.body {
            case .bytes: break
            case .stream(let stream): stream.finish(.clientGone)
            case .webSocket(let socket): socket.output.finish(.clientGone)
            }
            return
        }
        task = nil
        perform { answer(response, principal: principal) }
    }

    /// Writes the answer to the request in progress.
    private func answer(_ response: Response, principal: Principal?) {
        guard let progress = current else { return }
        current = nil
        let isHead = progress.head.method == .head
        switch response.body {
        case .stream(let stream) where !isHead:
            startStream(stream, response, progress)
        case .stream(let stream):
            stream.finish(.closed)
            write(response, [], isHead, progress)
        case .webSocket(let socket):
            startWebSocket(socket, response, progress)
        case .bytes(let body):
            write(response, body, isHead, progress)
        }
        report(response, progress, principal)
    }

    private func write(
        _ response: Response,
        _ body: [UInt8],
        _ isHead: Bool,
        _ progress: RequestInProgress
    ) {
        let keepsAlive = machine.keepsAliveAfterAnswer(hasMoreInput: unread > 0)
        server.appendHead(
            of: response,
            id: progress.id,
            framing: .length(body.count),
            version: progress.head.version,
            keepsAlive: keepsAlive,
            to: &output
        )
        if !isHead && !ResponseSerializer.isBodiless(response.status) {
            output.append(contentsOf: body)
        }
        machine.answered(keepsAlive: keepsAlive, now: EventLoop.shared.now)
    }

    private func report(
        _ response: Response,
        _ progress: RequestInProgress,
        _ principal: Principal?
    ) {
        server.readings.answered += 1
        guard let observer = server.observer else { return }
        let entry = progress.entry
        observer.answered(
            AnsweredRequest(
                routeIndex: entry?.index,
                route: entry?.route.pattern ?? "",
                method: progress.head.method,
                status: response.status,
                duration: MonotonicTime.now() - progress.received,
                requestBytes: progress.bodySize,
                responseBytes: response.bytes.count,
                id: progress.id,
                trace: progress.traceparent,
                tenant: principal?.tenant
            )
        )
    }

    // MARK: Refusing

    /// Answers once more and closes: what follows on the connection cannot be trusted or waited for.
    func refuse(_ problem: Problem) {
        let id = current?.id ?? server.identifiers.requestID()
        let instance = current?.head.target ?? "/"
        refuse(problem.response(requestID: id.text, instance: instance), id)
    }

    /// The same with an answer that is there already.
    func refuse(_ response: Response) {
        refuse(response, current?.id ?? server.identifiers.requestID())
    }

    private func refuse(_ response: Response, _ id: RequestID) {
        let progress = current
        forgetRequest()
        exchange &+= 1
        task = nil
        input = []
        inputPosition = 0
        unread = 0
        server.appendHead(
            of: response,
            id: id,
            framing: .length(response.bytes.count),
            version: progress?.head.version ?? .http11,
            keepsAlive: false,
            to: &output
        )
        if progress?.head.method != .head { output.append(contentsOf: response.bytes) }
        machine.finish()
        if let progress { report(response, progress, nil) }
    }
}

extension Request {
    /// The request that a handler sees; nil when its query is not UTF-8.
    @LoopActor
    init?(
        _ progress: RequestInProgress,
        _ entry: RouteEntry,
        _ parameters: PathParameters,
        _ peer: SocketAddress
    ) {
        let queryBytes = progress.head.queryBytes
        let query = queryBytes.isEmpty ? QueryParameters() : QueryParameters(queryBytes)
        guard let query else { return nil }
        message = Message(progress, entry, parameters, query: query, peer: peer)
    }
}
