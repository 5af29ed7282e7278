internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Teams and their members.
@LoopActor
struct TeamRoutes {
    let roster: RosterRepository
    let drainer: QueueDrainer

    var routes: [Route] { [putTeam, getTeam, listTeams, deleteTeam, putMember, deleteMember] }

    private var putTeam: Route {
        .puts(
            "/v1/teams/{id}",
            "Make or change a team",
            tag: "Teams",
            schema: Shapes.team,
            member: "team",
            thenDrains: drainer
        ) { request, tenant in
            let (name, policy) = try request.read { body in
                (
                    body.string("name", length: 1...200, pattern: .singleLine),
                    PolicyBody.read(&body)
                )
            }
            return try await roster.putTeam(
                tenant,
                request.id(),
                name: name,
                policy: policy,
                audit: AuditNote(request)
            )
        }
    }

    private var getTeam: Route {
        .shows("/v1/teams/{id}", "A team and its members", tag: "Teams", "The team.") {
            request,
            tenant in
            try await roster.team(tenant, request.id())
        }
    }

    private var listTeams: Route {
        Route(
            .get,
            "/v1/teams",
            access: .role(.viewer),
            summary: "Teams by id, with how many members each has",
            tag: "Teams",
            queryParameters: Page.parameters + [
                QueryParameter("agent_id", "Only those this agent is a member of.")
            ],
            responses: [200: RouteResponse("A page.", schema: Shapes.list)],
            handler: { request in
                let (limit, after) = try Page.read(request)
                let teams = try await roster.teams(
                    Tenant(request),
                    agent: request.queryID("agent_id"),
                    after: after,
                    limit: limit + 1
                )
                return Page.answer(teams, limit: limit)
            }
        )
    }

    private var deleteTeam: Route {
        Route(
            .delete,
            "/v1/teams/{id}",
            access: .role(.admin),
            summary: "Take a team out",
            description: "Who waits in it goes to its overflow team, or to the tenant's pool.",
            tag: "Teams",
            responses: [204: RouteResponse("It is out.")],
            handler: { request in
                let tenant = try Tenant(request)
                let id = try request.id()
                guard try await roster.deleteTeam(tenant, id, audit: AuditNote(request)) else {
                    throw Problem.notFound
                }
                drainer.trigger(tenant)
                return .empty()
            }
        )
    }

    private var putMember: Route {
        Route(
            .put,
            "/v1/teams/{id}/members/{agent_id}",
            access: .role(.admin),
            summary: "Make an agent a member of a team, or change its membership",
            tag: "Teams",
            requestSchema: Shapes.member,
            responses: [200: RouteResponse("The team.", schema: Shapes.any)],
            handler: { request in
                let (weight, autoAssign) = try request.readOptional { body in
                    (body.optionalInt("weight", in: 1...1000), body.optionalBool("auto_assign"))
                }
                let tenant = try Tenant(request)
                let answer = try await roster.putMember(
                    tenant,
                    team: request.id(),
                    agent: request.id("agent_id"),
                    weight: weight,
                    autoAssign: autoAssign,
                    audit: AuditNote(request)
                )
                drainer.trigger(tenant)
                return .json(200, try found(answer["team"] ?? .null))
            }
        )
    }

    private var deleteMember: Route {
        Route(
            .delete,
            "/v1/teams/{id}/members/{agent_id}",
            access: .role(.admin),
            summary: "End an agent's membership",
            tag: "Teams",
            responses: [200: RouteResponse("The team.", schema: Shapes.any)],
            handler: { request in
                let answer = try await roster.deleteMember(
                    Tenant(request),
                    team: request.id(),
                    agent: request.id("agent_id"),
                    audit: AuditNote(request)
                )
                return .json(200, try found(answer["team"] ?? .null))
            }
        )
    }
}
