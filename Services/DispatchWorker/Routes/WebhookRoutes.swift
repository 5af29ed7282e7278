internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPClient
internal import HTTPServer
internal import JSON
internal import Platform

/// Endpoints that hear of outcomes.
@LoopActor
struct WebhookRoutes {
    /// What can be heard of.
    static let events = [
        "message_request.dispatched", "message_request.sent", "message_request.retrying",
        "message_request.unknown", "message_request.failed", "message_request.cancelled",
        "message_request.expired", "workspace.paused",
    ]

    let repository: WebhookRepository
    let allowedHosts: AllowedHosts

    var routes: [Route] { [put, find, remove] }

    private var put: Route {
        Route(
            .put,
            "/v1/webhooks/{code}",
            access: .role(.admin),
            summary: "Make or change a webhook",
            description: "Deliveries are signed as Standard Webhooks asks (`webhook-id`, "
                + "`webhook-timestamp`, `webhook-signature: v1,…`) and tried for 5 days; an "
                + "endpoint that takes nothing for so long is disabled until it is put again. "
                + "`workspace.paused` says that a workspace refused its token: nothing of it is "
                + "sent until it has another.",
            tag: "Webhooks",
            requestSchema: Schemas.object(
                [
                    "url": ["type": "string", "format": "uri"], "secret": Schemas.text,
                    "events": ["type": "array", "items": Schemas.oneOf(WebhookRoutes.events)],
                ],
                required: ["url", "events"]
            ),
            responses: [
                200: RouteResponse("It was changed.", schema: Schemas.reference("Webhook")),
                201: RouteResponse("It was made.", schema: Schemas.reference("Webhook")),
            ],
            handler: { request in
                let tenant = try Tenant(request)
                let code = try request.code()
                let draft = try request.read(draft)
                let answer = try await repository.put(tenant, code, draft, AuditNote(request))
                guard let webhook = answer["webhook"] else {
                    throw Problem.invalid("/secret", "is required")
                }
                return .json(answer["created"] == true ? 201 : 200, webhook)
            }
        )
    }

    private func draft(_ fields: inout JSONFields) -> WebhookRepository.Draft {
        let url = fields.string("url", length: 1...1000)
        if let refusal = AddressGuard.refusal(of: url, allowHosts: allowedHosts) {
            fields.fault("url", refusal.message)
        }
        let events = fields.strings("events", count: 1...20)
        for event in events where !WebhookRoutes.events.contains(event) {
            fields.fault("events", "\(event) is no event of a message request")
        }
        return WebhookRepository.Draft(
            url: url,
            secret: fields.optionalString("secret", length: 16...500, pattern: .visible)
                .map(Secret.init),
            events: events
        )
    }

    private var find: Route {
        Route(
            .get,
            "/v1/webhooks/{code}",
            access: .role(.admin),
            summary: "A webhook with its last deliveries",
            tag: "Webhooks",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("Webhook"))],
            handler: { request in
                guard
                    let found = try await repository.find(
                        try Tenant(request),
                        request.parameters["code"]
                    )
                else { throw Problem.notFound }
                return .json(200, found)
            }
        )
    }

    private var remove: Route {
        Route(
            .delete,
            "/v1/webhooks/{code}",
            access: .role(.admin),
            summary: "Remove a webhook and what still waits for it",
            tag: "Webhooks",
            responses: [204: RouteResponse("It is gone.")],
            handler: { request in
                guard
                    try await repository.remove(
                        try Tenant(request),
                        request.parameters["code"],
                        AuditNote(request)
                    )
                else { throw Problem.notFound }
                return .empty(204)
            }
        )
    }
}
