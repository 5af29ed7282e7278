internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What people do with a session.
@LoopActor
struct SessionActionRoutes {
    let service: AssignmentService
    let sessions: SessionRepository
    let drainer: QueueDrainer

    var routes: [Route] {
        [
            handover, assign, take, transfer, replied,
            owners("accept", .accept, "Accept an offer"),
            owners("decline", .decline, "Decline an offer; it is not offered again for 10 minutes"),
            plain("on-hold", .hold, "Put a session aside; its capacity is given back"),
            plain("resume", .resume, "Go on with a session that was put aside"),
            plain(
                "close",
                .close,
                "End a session; its capacity is given back",
                access: .roleOrService(.agent)
            ),
            plain(
                "return-to-bot",
                .returnToBot,
                "End a session; the bot answers again",
                access: .roleOrService(.agent)
            ),
            reopen,
        ]
    }

    private var take: Route {
        act("take", "Take a session that nobody has", schema: Shapes.taking) { request in
            let body = try request.read(Assignee.somebody)
            guard let agent = body.agent else { throw Problem.invalid("/agent_id", "is required") }
            return try await give(request, Tenant(request), to: agent, .take, body)
        }
    }

    private var transfer: Route {
        act("transfer", "Give a session to another agent or team", schema: Shapes.transfer) {
            request in
            let body = try request.read(Assignee.agentOrTeam)
            let tenant = try Tenant(request)
            if let agent = body.agent {
                return try await give(request, tenant, to: agent, .transfer, body)
            }
            let result = try await sessions.act(
                tenant,
                request.id(),
                .transferTeam,
                team: body.team,
                audit: AuditNote(request, reason: body.reason)
            )
            let session = try result.accepted()
            let run = try await service.run(tenant, session, source: .transfer)
            drainer.trigger(tenant)
            return .json(200, run.session.document)
        }
    }

    func give(
        _ request: Request,
        _ tenant: Tenant,
        to agent: UUID,
        _ kind: GiveKind,
        _ body: Assignee
    ) async throws -> Response {
        let result = try await sessions.give(
            tenant,
            request.id(),
            to: agent,
            kind,
            force: body.force,
            audit: AuditNote(request, reason: body.reason)
        )
        let session = try result.accepted()
        // The one it was taken from has room now.
        if kind == .transfer { drainer.trigger(tenant) }
        return .json(200, session.document)
    }

    private var replied: Route {
        act("replied", "Note a public reply of an agent", schema: Shapes.agentOnly) { request in
            let agent = try request.read { $0.uuid("agent_id") }
            let result = try await sessions.noteReply(
                Tenant(request),
                request.id(),
                of: agent,
                audit: AuditNote(request)
            )
            return .json(200, try result.accepted().document)
        }
    }

    private func owners(_ name: String, _ action: SessionAction, _ summary: String) -> Route {
        act(name, summary, schema: Shapes.agentOnly) { request in
            let (agent, reason) = try request.read { body in
                (body.uuid("agent_id"), body.optionalString("reason", length: 0...500))
            }
            return try await perform(request, action, agent: agent, force: false, reason: reason)
        }
    }

    private func plain(
        _ name: String,
        _ action: SessionAction,
        _ summary: String,
        access: RouteAccess = .role(.agent)
    ) -> Route {
        let schema = action == .resume ? Shapes.forced : Shapes.close
        return act(name, summary, schema: schema, access: access) { request in
            let (force, reason) = try request.readOptional { body in
                (
                    action == .resume ? body.optionalBool("force") ?? false : false,
                    body.optionalString("reason", length: 0...500)
                )
            }
            return try await perform(request, action, agent: nil, force: force, reason: reason)
        }
    }

    /// Does it, and lets the queue have the room that it may have made.
    private func perform(
        _ request: Request,
        _ action: SessionAction,
        agent: UUID?,
        force: Bool,
        reason: String?
    ) async throws -> Response {
        let tenant = try Tenant(request)
        let result = try await sessions.act(
            tenant,
            request.id(),
            action,
            agent: agent,
            force: force,
            audit: AuditNote(request, reason: reason)
        )
        var session = try result.accepted()
        if result.runs { session = try await service.run(tenant, session, source: .queue).session }
        drainer.trigger(tenant)
        return .json(200, session.document)
    }

    // MARK: Common to all

    func act(
        _ name: String,
        _ summary: String,
        schema: JSON = Shapes.assignee,
        access: RouteAccess = .role(.agent),
        responses: [Int: RouteResponse] = [
            200: RouteResponse("The session.", schema: Shapes.any)
        ],
        _ handler: @escaping Route.Handler
    ) -> Route {
        Route(
            .post,
            "/v1/sessions/{id}/\(name)",
            access: access,
            summary: summary,
            tag: "Sessions",
            idempotency: .replayed,
            requestSchema: schema,
            responses: responses,
            handler: handler
        )
    }
}
