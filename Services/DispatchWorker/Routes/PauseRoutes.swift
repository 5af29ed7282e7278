internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Stopping and going on, by scope, with a reason and an author.
@LoopActor
struct PauseRoutes {
    let repository: OperationsRepository
    /// Called after a pause has ended: what waited can be sent.
    let committed: @LoopActor () -> Void

    var routes: [Route] { [pause, end, list] }

    private var pause: Route {
        Route(
            .post,
            "/v1/pauses",
            access: .roleOrService(.operator),
            summary: "Stop sending in a scope",
            description: "Messages are accepted and wait; what is being sent ends. Their deadlines "
                + "stand still unless `uses_deadlines` says otherwise. Only a service stops `all`.",
            tag: "Operations",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(PauseRoutes.draft),
            responses: [201: RouteResponse("The pause.", schema: Schemas.reference("Pause"))],
            handler: { request in
                let draft = try request.read(PauseRoutes.draft)
                if draft.scope == .all, request.context.principal?.isService != true {
                    throw Problem.forbidden("only a service stops all tenants")
                }
                let pause = try await repository.pause(
                    try Tenant(request),
                    draft,
                    AuditNote(request, reason: draft.reason)
                )
                return .json(201, pause)
            }
        )
    }

    private static func draft(_ fields: inout JSONFields) -> OperationsRepository.PauseDraft {
        typealias Scope = OperationsRepository.PauseDraft.Scope
        let scope = fields.object("scope") { scope in
            (kind: scope.choice("kind", of: Scope.self), code: scope.optionalCode("code"))
        }
        let needsCode = scope.kind != .tenant && scope.kind != .all
        if needsCode != (scope.code != nil) {
            fields.fault("scope", needsCode ? "needs a code" : "takes no code")
        }
        return OperationsRepository.PauseDraft(
            scope: scope.kind,
            code: scope.code,
            reason: fields.string("reason", length: 1...500),
            usesDeadlines: fields.optionalBool("uses_deadlines") ?? false,
            expiresAt: fields.optionalDate("expires_at")
        )
    }

    private var end: Route {
        Route(
            .delete,
            "/v1/pauses/{id}",
            access: .roleOrService(.operator),
            summary: "Go on",
            tag: "Operations",
            responses: [200: RouteResponse("The pause.", schema: Schemas.reference("Pause"))],
            handler: { request in
                guard
                    let ended = try await repository.endPause(
                        try Tenant(request),
                        try request.id(),
                        global: request.context.principal?.isService == true,
                        AuditNote(request)
                    )
                else { throw Problem.notFound }
                committed()
                return .json(200, ended)
            }
        )
    }

    private var list: Route {
        Route(
            .get,
            "/v1/pauses",
            access: .roleOrService(.viewer),
            summary: "What is stopped now, by whom and why",
            tag: "Operations",
            responses: [200: RouteResponse("They.", schema: Schemas.list(of: "Pause"))],
            handler: { request in
                let pauses = try await repository.pauses(try Tenant(request))
                return .json(200, ["items": .array(pauses), "next_cursor": .null])
            }
        )
    }
}
