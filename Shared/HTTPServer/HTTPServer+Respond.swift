internal import EventLoop

extension HTTPServer {
    /// Answers a request that did not come over a socket, as a client would see it.
    ///
    /// For tests of handlers: everything but the connection takes part, so router, keys, idempotency
    /// and problems are real.
    public func respond(
        _ method: HTTPMethod,
        _ target: String,
        fields: HTTPFields = [:],
        body: [UInt8] = []
    ) async -> Response {
        var text = Array("\(method.name) \(target) HTTP/1.1\r\nHost: localhost\r\n".utf8)
        for (name, value) in fields { text.append(contentsOf: "\(name): \(value)\r\n".utf8) }
        if !body.isEmpty { text.append(contentsOf: "Content-Length: \(body.count)\r\n".utf8) }
        text.append(contentsOf: "\r\n".utf8)
        var parser = RequestParser(limits: configuration.limits)
        var position = 0
        switch parser.next(text, &position, end: text.count) {
        case .failed(let error): return Problem(error).response(requestID: "", instance: target)
        case .needsMore, .body, .end: preconditionFailure("the text ends with an empty line")
        case .head(let head):
            let progress = RequestInProgress(self, head, now: EventLoop.shared.now)
            progress.body = body
            if let error = parser.acceptBody(limit: progress.bodyLimit) {
                let id = progress.id.text
                return Problem(error).response(requestID: id, instance: target)
            }
            return await respond(to: progress)
        }
    }

    private func respond(to progress: RequestInProgress) async -> Response {
        guard case .route(let entry, let parameters) = progress.target else {
            guard case .answer(let response) = progress.target else { return .empty() }
            return response
        }
        guard let request = Request(progress, entry, parameters, .loopback) else {
            return Problem.invalidQuery.response(
                requestID: progress.id.text,
                instance: progress.head.target
            )
        }
        return await pipeline.respond(request, entry).0
    }
}

extension Problem {
    static let invalidQuery = badRequest("the query is not UTF-8", code: "invalid_query")
}
