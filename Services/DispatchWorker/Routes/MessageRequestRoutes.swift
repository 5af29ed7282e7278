internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import Tracing

/// Message requests: accepted here, sent by the worker.
@LoopActor
struct MessageRequestRoutes {
    /// How long a repeat waits for the first request with its key, and how often it looks.
    static let idempotencyWait: Duration = .seconds(5)
    static let idempotencyPause: Duration = .milliseconds(100)

    let repository: MessageRequestRepository
    let templates: TemplateRepository
    /// Whether too many of the tenant's messages wait already.
    let isFull: @LoopActor (Tenant) async -> Bool
    /// Called after a commit that left something to send or to tell.
    let committed: @LoopActor () -> Void

    var routes: [Route] { [accept, find, list] }

    private var accept: Route {
        Route(
            .post,
            "/v1/message-requests",
            access: .roleOrService(.agent),
            summary: "Ask for a message to be sent",
            description: "202 says that it is stored: it will be sent, or its state says why not.",
            tag: "Message requests",
            idempotency: .inHandler,
            requestSchema: MessageRequestBody.schema,
            responses: [
                202: RouteResponse("It is stored.", schema: Schemas.reference("MessageRequest")),
                429: RouteResponse(
                    "Too many of the tenant's messages wait.",
                    contentType: "application/problem+json"
                ),
            ],
            handler: { request in
                let tenant = try Tenant(request)
                let new = try await newRequest(request, tenant)
                if await isFull(tenant), try await !repository.isKnown(tenant, new) {
                    throw Problem.tenantBacklog
                }
                let acceptance = try await acceptInTurn(tenant, new)
                switch acceptance.result {
                case .created:
                    committed()
                    return .json(202, bytes: acceptance.document)
                case .replayed:
                    return .json(202, bytes: acceptance.document)
                        .withField("Idempotency-Replayed", "true")
                case .reused: throw Problem.idempotencyKeyReused
                case .inProgress: throw Problem.idempotencyInProgress
                case .noChannel:
                    throw Problem.invalid("/channel_code", "names no channel of this tenant")
                case .textTooLong:
                    throw Problem.invalid(
                        "/text",
                        "has more than the \(SlackLimits.textMax) characters that Slack shows"
                    )
                }
            }
        )
    }

    private func newRequest(
        _ request: Request,
        _ tenant: Tenant
    ) async throws -> NewMessageRequest {
        let isService = request.context.principal?.isService == true
        var body = try request.read { MessageRequestBody.read(&$0, isService: isService) }
        let began = MonotonicTime.now()
        try await render(&body, tenant)
        Span.past("dispatch.render", since: began)
        let faults = body.document["blocks"].map(SlackLimits.faults) ?? []
        guard faults.isEmpty else { throw Problem.invalid(faults) }
        return NewMessageRequest(
            id: body.id,
            fields: .object(body.document),
            reportTo: isService ? "messaging" : nil,
            traceparent: request.context.traceparent.description,
            idempotency: request.context.idempotencyKey.map {
                IdempotentCall(
                    key: $0,
                    path: request.path,
                    bodyHash: request.context.bodyHash
                )
            },
            audit: AuditNote(request)
        )
    }

    /// Makes text and blocks from the template that the body names.
    private func render(_ body: inout MessageRequestBody, _ tenant: Tenant) async throws {
        guard let template = body.template else { return }
        let rendered = try await RenderedTemplate.make(
            templates,
            tenant,
            template.code,
            template.values
        )
        guard let rendered else {
            throw Problem.invalid("/template_code", "names no template of this tenant")
        }
        if let text = rendered.text { body.document["text"] = .string(text) }
        if let blocks = rendered.blocks { body.document["blocks"] = blocks }
        body.document["template_code"] = .string(rendered.code)
        body.document["template_version"] = .int(Int64(rendered.version))
        body.document["variables"] = .object(template.values)
    }

    /// Another process may be at the same key: it is asked again, holding nothing meanwhile.
    private func acceptInTurn(
        _ tenant: Tenant,
        _ new: NewMessageRequest
    ) async throws -> Acceptance {
        let deadline = MonotonicTime.now() + MessageRequestRoutes.idempotencyWait
        while true {
            try await FaultPoints.reached("dispatch.before_accept")
            let acceptance = try await repository.accept(tenant, new)
            try await FaultPoints.reached("dispatch.accepted")
            guard acceptance.result == .inProgress, MonotonicTime.now() < deadline else {
                return acceptance
            }
            try await EventLoop.shared.sleep(for: MessageRequestRoutes.idempotencyPause)
        }
    }

    private var find: Route {
        Route(
            .get,
            "/v1/message-requests/{id}",
            access: .roleOrService(.viewer),
            summary: "A message request with every attempt",
            tag: "Message requests",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("MessageRequest"))],
            handler: { request in
                guard
                    let found = try await repository.find(try Tenant(request), try request.id())
                else { throw Problem.notFound }
                return .json(200, found)
            }
        )
    }

    private var list: Route {
        Route(
            .get,
            "/v1/message-requests",
            access: .roleOrService(.viewer),
            summary: "Message requests, the newest first",
            tag: "Message requests",
            queryParameters: [
                QueryParameter(
                    "status",
                    "Only those in this state.",
                    schema: Schemas.oneOf(MessageRequestStatus.allCases.map(\.rawValue))
                ),
                QueryParameter("channel_code", "Only those of this channel."),
                QueryParameter("template_code", "Only those of this template."),
                QueryParameter("error", "Only those whose last error is this."),
                QueryParameter("q", "A piece of the text, or an id."),
                QueryParameter("from", "Made at this time or later.", schema: Schemas.time),
                QueryParameter("to", "Made before this time.", schema: Schemas.time),
            ] + Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Schemas.list(of: "MessageRequest"))],
            handler: { request in
                let page = try Page.read(request)
                let items = try await repository.list(
                    try Tenant(request),
                    try filter(request.query),
                    limit: page.limit,
                    after: page.after
                )
                return Page.answer(items, limit: page.limit)
            }
        )
    }

    private func filter(
        _ query: QueryParameters
    ) throws(Problem) -> MessageRequestRepository.Filter {
        var filter = MessageRequestRepository.Filter()
        if let status = query["status"] {
            guard MessageRequestStatus(rawValue: status) != nil else {
                throw Problem.invalid("/query/status", "is no state of a message request")
            }
            filter.statuses = [status]
        }
        filter.channelCode = query["channel_code"]
        filter.templateCode = query["template_code"]
        filter.error = query["error"]
        filter.query = query["q"]
        filter.from = try time(query, "from")
        filter.to = try time(query, "to")
        return filter
    }

    private func time(_ query: QueryParameters, _ name: String) throws(Problem) -> Int64? {
        guard let text = query[name] else { return nil }
        guard let time = RFC3339.parse(text) else {
            throw Problem.invalid("/query/\(name)", "is not a time like 2026-01-31T12:00:00.000Z")
        }
        return time
    }
}
