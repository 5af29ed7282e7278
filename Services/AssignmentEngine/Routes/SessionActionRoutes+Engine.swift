internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Actions after which the engine decides.
extension SessionActionRoutes {
    var handover: Route {
        act(
            "handover",
            "Ask again for a person",
            schema: Shapes.again,
            responses: RunAnswer.responses
        ) { request in
            let (team, priority, context, due, reason) = try request.readOptional { body in
                (
                    body.optionalUUID("team_id"), body.optionalInt("priority", in: 0...4),
                    body.optionalJSONObject("context").map(JSON.object) ?? [:],
                    body.optionalDate("sla_due_at"),
                    body.optionalString("reason", length: 0...500)
                )
            }
            let tenant = try Tenant(request)
            let result = try await sessions.handOver(
                tenant,
                request.id(),
                team: team,
                priority: priority,
                context: context,
                due: due,
                audit: AuditNote(request, reason: reason)
            )
            let session = try result.accepted()
            return RunAnswer.response(
                try await service.run(tenant, session, source: .handover),
                created: false
            )
        }
    }

    var assign: Route {
        act(
            "assign",
            "Run the engine for a session, or give it to an agent",
            responses: RunAnswer.orSession
        ) { request in
            let body = try request.readOptional(Assignee.anybody)
            let tenant = try Tenant(request)
            guard let agent = body.agent else {
                guard let session = try await sessions.find(tenant, request.id()) else {
                    throw Problem.notFound
                }
                return RunAnswer.response(
                    try await service.assignSession(tenant, session),
                    created: false
                )
            }
            return try await give(request, tenant, to: agent, .assign, body)
        }
    }

    var reopen: Route {
        act(
            "reopen",
            "Open a closed session again",
            schema: Shapes.close,
            access: .roleOrService(.agent),
            responses: RunAnswer.responses
        ) {
            request in
            let reason = try request.readOptional { $0.optionalString("reason", length: 0...500) }
            let tenant = try Tenant(request)
            let result = try await sessions.reopen(
                tenant,
                request.id(),
                audit: AuditNote(request, reason: reason)
            )
            if result.name == "bot", let session = result.session {
                return RunAnswer.stopped(session, reason: "returned_to_bot")
            }
            let session = try result.accepted()
            let owner = session.document["last_agent_id"]?.uuidValue
            let run = try await service.run(
                tenant,
                session,
                source: .handover,
                preferred: result.onReopen == .sameIfEligible ? owner : nil
            )
            return RunAnswer.response(run, created: false)
        }
    }
}
