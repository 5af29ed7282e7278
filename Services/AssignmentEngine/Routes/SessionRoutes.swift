internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import Tracing

/// Sessions, their decisions, and the queue.
@LoopActor
struct SessionRoutes {
    let service: AssignmentService
    let sessions: SessionRepository
    let drainer: QueueDrainer

    var routes: [Route] {
        [open, get, list, decisions, queue, drain]
    }

    private var open: Route {
        Route(
            .post,
            "/v1/sessions",
            access: .roleOrService(.agent),
            summary: "Hand a conversation to a person",
            description: "Opens the conversation's session, or finds the open one, and runs the "
                + "engine.",
            tag: "Sessions",
            idempotency: .replayed,
            requestSchema: Shapes.handover,
            responses: RunAnswer.responses,
            handler: { request in
                let handover = try request.read(SessionRoutes.handover)
                let (created, result) = try await service.requestAssignment(
                    Tenant(request),
                    handover,
                    audit: AuditNote(request)
                )
                return await withSpan("assignment.outcome") {
                    RunAnswer.response(result, created: created)
                }
            }
        )
    }

    private enum Source: String, CaseIterable { case handover }

    private nonisolated static func handover(_ body: inout JSONFields) -> HandoverRequest {
        let request = HandoverRequest(
            conversationID: body.uuid("conversation_id"),
            contactID: body.string("contact_id", length: 1...200),
            teamID: body.optionalUUID("team_id"),
            priority: body.optionalInt("priority", in: 0...4),
            context: body.optionalJSONObject("context").map(JSON.object) ?? [:],
            dueAt: body.optionalDate("sla_due_at")
        )
        _ = body.choice("source", of: Source.self)
        return request
    }

    private var get: Route {
        Route(
            .get,
            "/v1/sessions/{id}",
            access: .roleOrService(.viewer),
            summary: "A session",
            tag: "Sessions",
            responses: [200: RouteResponse("It.", schema: Shapes.any)],
            handler: { request in
                guard let session = try await sessions.view(Tenant(request), request.id()) else {
                    throw Problem.notFound
                }
                return .json(200, session.document)
            }
        )
    }

    private var list: Route {
        Route(
            .get,
            "/v1/sessions",
            access: .role(.viewer),
            summary: "Sessions, newest first",
            tag: "Sessions",
            queryParameters: Page.parameters + [
                QueryParameter("state", "Only those in this state."),
                QueryParameter("team_id", "Only those of this team."),
                QueryParameter("agent_id", "Only those of this agent."),
            ],
            responses: [200: RouteResponse("A page.", schema: Shapes.list)],
            handler: { request in
                let (limit, after) = try Page.read(request)
                var filter = SessionFilter(before: after, limit: limit + 1)
                filter.state = try request.choice("state", of: SessionState.self)?.rawValue
                filter.team = try request.queryID("team_id")
                filter.agent = try request.queryID("agent_id")
                return Page.answer(try await sessions.list(Tenant(request), filter), limit: limit)
            }
        )
    }

    private var decisions: Route {
        Route(
            .get,
            "/v1/sessions/{id}/decisions",
            access: .role(.viewer),
            summary: "Why a session went to whom, newest first",
            tag: "Sessions",
            queryParameters: Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Shapes.list)],
            handler: { request in
                let (limit, after) = try Page.read(request)
                let (tenant, id) = (try Tenant(request), try request.id())
                guard try await sessions.find(tenant, id) != nil else { throw Problem.notFound }
                let rows = try await sessions.decisions(
                    tenant,
                    id,
                    limit: limit + 1,
                    before: after
                )
                return Page.answer(rows.map(SessionRoutes.explained), limit: limit)
            }
        )
    }

    private nonisolated static func explained(_ decision: JSON) -> JSON {
        var members = decision.objectValue ?? [:]
        members["explanation"] = .string(Explanation.text(of: decision))
        return .object(members)
    }

    private var queue: Route {
        Route(
            .get,
            "/v1/queue",
            access: .role(.viewer),
            summary: "Who waits, in the order of service",
            tag: "Queue",
            queryParameters: Page.parameters + [
                QueryParameter("team_id", "Only those of this team.")
            ],
            responses: [200: RouteResponse("A page.", schema: Shapes.list)],
            handler: { request in
                let (limit, after) = try Page.read(request)
                let waiting = try await sessions.queued(
                    Tenant(request),
                    team: request.queryID("team_id"),
                    after: after,
                    limit: limit + 1
                )
                return Page.answer(waiting, limit: limit)
            }
        )
    }

    private var drain: Route {
        Route(
            .post,
            "/v1/queue/drain",
            access: .role(.operator),
            summary: "Give waiting sessions to whoever has room",
            tag: "Queue",
            idempotency: .replayed,
            requestSchema: Shapes.drain,
            responses: [200: RouteResponse("How many were assigned.", schema: Shapes.any)],
            handler: { request in
                let team = try request.readOptional { $0.optionalUUID("team_id") }
                let count = try await drainer.assignQueuedSessionsToAvailableAgents(
                    Tenant(request),
                    team: team
                )
                return .json(200, ["assigned": .int(Int64(count))])
            }
        )
    }
}
