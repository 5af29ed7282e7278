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

    /// How long a cancelling call waits for what is being sent, and how often it looks.
    static let cancelWait: Duration = .seconds(5)
    static let cancelPause: Duration = .milliseconds(100)

    var routes: [Route] { [cancel, retry, resend, markSent, markNotSent] }

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
            description: "What is being sent is waited for, 5 s at most: 200 says that it was "
                + "cancelled, 409 that it was sent. 202 says that nobody knows yet: the wish is "
                + "noted, and should it turn out not to have been sent, it ends.",
            tag: "Message requests",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(MessageRequestActions.reason),
            responses: MessageRequestActions.responses.merging([
                202: RouteResponse("The wish.", schema: Schemas.reference("MessageRequest"))
            ]) { own, _ in own },
            handler: { request in
                let reason = try request.readOptional(MessageRequestActions.reason)
                let tenant = try Tenant(request)
                let id = try request.id()
                let answer = try await repository.cancel(
                    tenant,
                    id,
                    AuditNote(request, reason: reason)
                )
                guard var found = answer["request"] else { throw Problem.notFound }
                if answer["result"] == "requested" {
                    found = try await outcome(tenant, id) ?? found
                }
                switch found["status"]?.stringValue ?? "" {
                case "cancelled": return .json(200, found)
                case "sent", "failed", "expired":
                    let state = found["status"]?.stringValue ?? ""
                    throw Problem.conflict("too_late", "the request is \(state)")
                default: return .json(202, found)
                }
            }
        )
    }

    /// Waits until it is known what became of a request that is being sent.
    private func outcome(_ tenant: Tenant, _ id: UUID) async throws -> JSON? {
        let deadline = MonotonicTime.now() + MessageRequestActions.cancelWait
        while true {
            let found = try await repository.find(tenant, id)
            guard found?["status"] == "sending", MonotonicTime.now() < deadline else {
                return found
            }
            try await EventLoop.shared.sleep(for: MessageRequestActions.cancelPause)
        }
    }

    private var retry: Route {
        Route(
            .post,
            "/v1/message-requests/{id}/retry",
            access: .role(.operator),
            summary: "Try a message request at once",
            description: "One that waits becomes due; one that failed begins a new generation, "
                + "unless its deadline has passed.",
            tag: "Message requests",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(MessageRequestActions.reason),
            responses: MessageRequestActions.responses,
            handler: { request in
                let reason = try request.readOptional(MessageRequestActions.reason)
                let tenant = try Tenant(request)
                let id = try request.id()
                let answer = try await repository.retry(
                    tenant,
                    id,
                    AuditNote(request, reason: reason)
                )
                guard let found = answer["request"] else { throw Problem.notFound }
                switch answer["result"]?.stringValue {
                case "not_waiting":
                    let state = found["status"]?.stringValue ?? ""
                    throw Problem.conflict("not_waiting", "the request is \(state)")
                case "deadline_passed": throw MessageRequestActions.deadlinePassed(found)
                default: break
                }
                await settled(tenant, id)
                return .json(200, found)
            }
        )
    }

    private var resend: Route {
        Route(
            .post,
            "/v1/message-requests/{id}/resend",
            access: .role(.operator),
            summary: "Send a message request once more, as a new generation",
            description: "What was sent, or may have been, or is past its deadline needs `force` "
                + "and a reason. A deadline that is still to come holds; one that has passed does "
                + "not any more.",
            tag: "Message requests",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(MessageRequestActions.forced),
            responses: MessageRequestActions.responses,
            handler: { request in
                let (force, reason) = try request.readOptional(MessageRequestActions.forced)
                let tenant = try Tenant(request)
                let id = try request.id()
                let answer = try await repository.resend(
                    tenant,
                    id,
                    force: force,
                    AuditNote(request, reason: reason)
                )
                guard let found = answer["request"] else { throw Problem.notFound }
                let state = found["status"]?.stringValue ?? ""
                switch answer["result"]?.stringValue {
                case "needs_force":
                    throw Problem.conflict("needs_force", "the request is \(state)")
                case "deadline_passed": throw MessageRequestActions.deadlinePassed(found)
                case "not_ended":
                    throw Problem.conflict("not_ended", "the request is \(state)")
                default: break
                }
                await settled(tenant, id)
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
            description: "The first message of a `thread_key` needs `provider_ts`: the others are "
                + "posted below it.",
            tag: "Message requests",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(MessageRequestActions.sentAs),
            responses: MessageRequestActions.responses,
            handler: { request in
                let (ts, reason) = try request.readOptional(MessageRequestActions.sentAs)
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
            requestSchema: JSONFields.schema(MessageRequestActions.reason),
            responses: MessageRequestActions.responses,
            handler: { request in
                let reason = try request.readOptional(MessageRequestActions.reason)
                return try await settle(
                    request,
                    .init(state: .retryWait, error: "marked_not_sent"),
                    reason
                )
            }
        )
    }

    private static func deadlinePassed(_ found: JSON) -> Problem {
        let deadline = found["deadline_at"]?.stringValue ?? ""
        return Problem.conflict(
            "deadline_passed",
            "its deadline was \(deadline); resend with force sends it all the same"
        )
    }

    private static func reason(_ fields: inout JSONFields) -> String? {
        fields.optionalString("reason", length: 1...500)
    }

    private static func forced(_ fields: inout JSONFields) -> (force: Bool, reason: String?) {
        let force = fields.optionalBool("force") ?? false
        let reason = reason(&fields)
        if force, reason == nil { fields.fault("reason", "is required with force") }
        return (force, reason)
    }

    private static func sentAs(_ fields: inout JSONFields) -> (ts: String?, reason: String?) {
        (fields.optionalString("provider_ts", length: 1...40), reason(&fields))
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
        guard answer["missing"]?.stringValue == nil else {
            throw Problem.invalid(
                "/provider_ts",
                "is needed: others of its thread_key are posted below this message"
            )
        }
        await settled(tenant, id)
        return .json(200, answer)
    }
}
