internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What a person may do about a message request.
@LoopActor
struct MessageRequestActions {
    let repository: MessageRequestRepository
    /// Called with a request that was settled: its lock is in the way.
    let settled: @LoopActor (Tenant, UUID) async -> Void

    var routes: [Route] { [cancel, markSent, markNotSent] }

    private static let responses: [Int: RouteResponse] = [
        200: RouteResponse("The request now.", schema: Schemas.reference("MessageRequest")),
        409: RouteResponse("Its state forbids it.", contentType: "application/problem+json"),
    ]

    private var cancel: Route {
        Route(
            .post,
            "/v1/message-requests/{id}/cancel",
            access: .role(.operator),
            summary: "Stop a message request that was not sent yet",
            description: "While it is being sent the wish is noted: should that fail, it ends.",
            tag: "Message requests",
            idempotency: .replayed,
            requestSchema: Schemas.object(["reason": Schemas.text]),
            responses: MessageRequestActions.responses,
            handler: ErrorMapping.mapped { request in
                let reason = try request.readOptional {
                    $0.optionalString("reason", length: 1...500)
                }
                let answer = try await repository.cancel(
                    try Tenant(request),
                    try request.id(),
                    AuditNote(request, reason: reason)
                )
                guard let found = answer["request"] else { throw Problem.notFound }
                guard answer["result"] != "too_late" else {
                    let state = found["status"]?.stringValue ?? ""
                    throw Problem.conflict("too_late", "the request is \(state)")
                }
                return .json(200, found)
            }
        )
    }

    private var markSent: Route {
        Route(
            .post,
            "/v1/message-requests/{id}/mark-sent",
            access: .role(.operator),
            summary: "Say that an unknown message was sent",
            tag: "Message requests",
            idempotency: .replayed,
            requestSchema: Schemas.object([
                "provider_ts": Schemas.text, "reason": Schemas.text,
            ]),
            responses: MessageRequestActions.responses,
            handler: ErrorMapping.mapped { request in
                let (ts, reason) = try request.readOptional {
                    (
                        $0.optionalString("provider_ts", length: 1...40),
                        $0.optionalString("reason", length: 1...500)
                    )
                }
                return try await settle(request, .init(state: .sent, providerTS: ts), reason)
            }
        )
    }

    private var markNotSent: Route {
        Route(
            .post,
            "/v1/message-requests/{id}/mark-not-sent",
            access: .role(.operator),
            summary: "Say that an unknown message was not sent: it is sent again",
            tag: "Message requests",
            idempotency: .replayed,
            requestSchema: Schemas.object(["reason": Schemas.text]),
            responses: MessageRequestActions.responses,
            handler: ErrorMapping.mapped { request in
                let reason = try request.readOptional {
                    $0.optionalString("reason", length: 1...500)
                }
                return try await settle(
                    request,
                    .init(state: .retryWait, error: "marked_not_sent"),
                    reason
                )
            }
        )
    }

    private func settle(
        _ request: Request,
        _ settlement: MessageRequestRepository.Settlement,
        _ reason: String?
    ) async throws -> Response {
        let tenant = try Tenant(request)
        let id = try request.id()
        guard let found = try await repository.find(tenant, id) else { throw Problem.notFound }
        let generation = Int(found["generation"]?.intValue ?? 1)
        guard
            let answer = try await repository.settle(
                tenant.id,
                id,
                generation: generation,
                settlement,
                note: AuditNote(request, reason: reason)
            )
        else {
            let state = found["status"]?.stringValue ?? ""
            throw Problem.conflict("not_unknown", "the request is \(state), not unknown")
        }
        await settled(tenant, id)
        return .json(200, answer)
    }
}
