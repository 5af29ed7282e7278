internal import EventLoop
internal import HTTPServer
internal import JSON
internal import Platform

/// The two shapes that most routes of a configuration have.
@LoopActor
extension Route {
    /// Answers a document from the caller's tenant.
    typealias Read = @LoopActor (Request, Tenant) async throws -> JSON

    /// Shows one document; null is 404.
    static func shows(
        _ path: String,
        _ summary: String,
        tag: String,
        _ what: String,
        _ read: @escaping Read
    ) -> Route {
        Route(
            .get,
            path,
            access: .role(.viewer),
            summary: summary,
            tag: tag,
            responses: [200: RouteResponse(what, schema: Shapes.any)],
            handler: { request in
                .json(200, try found(await read(request, Tenant(request))))
            }
        )
    }

    /// Makes or changes something, after which the queue is looked at; shows the answer's `member`.
    static func puts(
        _ path: String,
        _ summary: String,
        tag: String,
        schema: JSON,
        member: String,
        thenDrains drainer: QueueDrainer,
        _ change: @escaping Read
    ) -> Route {
        Route(
            .put,
            path,
            access: .role(.admin),
            summary: summary,
            tag: tag,
            requestSchema: schema,
            responses: [
                200: RouteResponse("It was changed.", schema: Shapes.any),
                201: RouteResponse("It was made.", schema: Shapes.any),
            ],
            handler: { request in
                let tenant = try Tenant(request)
                let answer = try await change(request, tenant)
                try refuseMissing(answer)
                drainer.trigger(tenant)
                return .json(answer["created"] == true ? 201 : 200, answer[member] ?? .null)
            }
        )
    }
}

/// The document, or 404 when there is none.
func found(_ document: JSON) throws(Problem) -> JSON {
    if document.isNull { throw .notFound }
    return document
}

/// Refuses a body that names what does not exist.
func refuseMissing(_ answer: JSON) throws(Problem) {
    guard let name = answer["missing"]?.stringValue else { return }
    throw .invalid("/\(name)", "does not exist")
}
