internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Teams, their members, and agents.
@LoopActor
struct RosterRoutes {
    let roster: RosterRepository
    let drainer: QueueDrainer
    /// How long an agent is present after a sign of life.
    let presence: Duration

    var routes: [Route] {
        [putTeam, getTeam, putMember, deleteMember, putAgent, getAgent, setStatus, heartbeat]
    }

    private var putTeam: Route {
        Route(
            .put,
            "/v1/teams/{id}",
            access: .role(.admin),
            summary: "Make or change a team",
            tag: "Teams",
            requestSchema: Shapes.team,
            responses: [
                200: RouteResponse("It was changed.", schema: Shapes.any),
                201: RouteResponse("It was made.", schema: Shapes.any),
            ],
            handler: ErrorMapping.mapped { request in
                let (name, strategy) = try request.read { body in
                    (
                        body.string("name", length: 1...200, pattern: .singleLine),
                        body.optionalChoice("strategy", of: Strategy.self)
                    )
                }
                let answer = try await roster.putTeam(
                    Tenant(request),
                    request.id(),
                    name: name,
                    strategy: strategy,
                    audit: AuditNote(request)
                )
                return .json(answer["created"] == true ? 201 : 200, answer["team"] ?? .null)
            }
        )
    }

    private var getTeam: Route {
        Route(
            .get,
            "/v1/teams/{id}",
            access: .role(.viewer),
            summary: "A team and its members",
            tag: "Teams",
            responses: [200: RouteResponse("The team.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                .json(200, try found(await roster.team(Tenant(request), request.id())))
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
            handler: ErrorMapping.mapped { request in
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
            handler: ErrorMapping.mapped { request in
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

    private var putAgent: Route {
        Route(
            .put,
            "/v1/agents/{id}",
            access: .role(.admin),
            summary: "Make or change an agent",
            tag: "Agents",
            requestSchema: Shapes.agent,
            responses: [
                200: RouteResponse("It was changed.", schema: Shapes.any),
                201: RouteResponse("It was made.", schema: Shapes.any),
            ],
            handler: ErrorMapping.mapped { request in
                let agent = try request.read(RosterRoutes.agentBody)
                let tenant = try Tenant(request)
                let answer = try await roster.putAgent(
                    tenant,
                    request.id(),
                    agent,
                    audit: AuditNote(request)
                )
                drainer.trigger(tenant)
                return .json(answer["created"] == true ? 201 : 200, answer["agent"] ?? .null)
            }
        )
    }

    private nonisolated static func agentBody(_ body: inout JSONFields) -> AgentBody {
        let skills = body.optionalArray("skills", count: 0...100) { skill -> JSON in
            [
                "name": .string(skill.string("name", length: 1...100, pattern: .singleLine)),
                "level": .int(Int64(skill.int("level", in: 1...5))),
            ]
        }
        return AgentBody(
            name: body.string("name", length: 1...200, pattern: .singleLine),
            capacityUnits: body.optionalInt("capacity_units", in: 0...1000),
            presenceMode: body.optionalChoice("presence_mode", of: PresenceMode.self),
            skills: skills.map(JSON.array)
        )
    }

    private var getAgent: Route {
        Route(
            .get,
            "/v1/agents/{id}",
            access: .role(.viewer),
            summary: "An agent",
            tag: "Agents",
            responses: [200: RouteResponse("The agent.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                .json(200, try found(await roster.agent(Tenant(request), request.id())))
            }
        )
    }

    private var setStatus: Route {
        Route(
            .put,
            "/v1/agents/{id}/status",
            access: .role(.agent),
            summary: "Say whether an agent works",
            tag: "Agents",
            requestSchema: Shapes.status,
            responses: [200: RouteResponse("The agent.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                let status = try request.read { $0.choice("status", of: AgentStatus.self) }
                let tenant = try Tenant(request)
                let agent = try found(
                    await roster.setStatus(
                        tenant,
                        request.id(),
                        status,
                        presence: presence,
                        audit: AuditNote(request)
                    )
                )
                if status == .online { drainer.trigger(tenant) }
                return .json(200, agent)
            }
        )
    }

    private var heartbeat: Route {
        Route(
            .post,
            "/v1/agents/{id}/heartbeat",
            access: .role(.agent),
            summary: "A sign of life of an agent",
            tag: "Agents",
            responses: [200: RouteResponse("The agent.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                let agent = try await roster.heartbeat(
                    Tenant(request),
                    request.id(),
                    presence: presence
                )
                return .json(200, try found(agent))
            }
        )
    }
}

/// The document, or 404 when there is none.
func found(_ document: JSON) throws(Problem) -> JSON {
    if document.isNull { throw .notFound }
    return document
}
