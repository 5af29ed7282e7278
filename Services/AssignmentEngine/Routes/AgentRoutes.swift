internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Agents: who they are, and whether they work.
@LoopActor
struct AgentRoutes {
    let roster: RosterRepository
    let drainer: QueueDrainer
    /// How long an agent is present after a sign of life.
    let presence: Duration

    var routes: [Route] { [putAgent, getAgent, listAgents, deleteAgent, setStatus, heartbeat] }

    private var putAgent: Route {
        .puts(
            "/v1/agents/{id}",
            "Make or change an agent",
            tag: "Agents",
            schema: JSONFields.schema(AgentRoutes.agentBody),
            member: "agent",
            thenDrains: drainer
        ) { request, tenant in
            try await roster.putAgent(
                tenant,
                request.id(),
                try request.read(AgentRoutes.agentBody),
                presence: presence,
                audit: AuditNote(request)
            )
        }
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
            skills: skills.map(JSON.array),
            scheduleID: body.optionalUUID("schedule_id"),
            canReply: body.optionalBool("can_reply")
        )
    }

    private var getAgent: Route {
        .shows("/v1/agents/{id}", "An agent", tag: "Agents", "The agent.") { request, tenant in
            try await roster.agent(tenant, request.id())
        }
    }

    private var listAgents: Route {
        Route(
            .get,
            "/v1/agents",
            access: .role(.viewer),
            summary: "Agents by id",
            tag: "Agents",
            queryParameters: Page.parameters + [
                QueryParameter(
                    "status",
                    "Only those who chose this.",
                    schema: [
                        "type": "string",
                        "enum": .array(AgentStatus.allCases.map { .string($0.rawValue) }),
                    ]
                ),
                QueryParameter("team_id", "Only members of this team."),
            ],
            responses: [200: RouteResponse("A page.", schema: Shapes.list)],
            handler: { request in
                let (limit, after) = try Page.read(request)
                let filter = AgentFilter(
                    status: try request.choice("status", of: AgentStatus.self),
                    team: try request.queryID("team_id"),
                    after: after,
                    limit: limit + 1
                )
                return Page.answer(try await roster.agents(Tenant(request), filter), limit: limit)
            }
        )
    }

    private var deleteAgent: Route {
        Route(
            .delete,
            "/v1/agents/{id}",
            access: .role(.admin),
            summary: "Take an agent out",
            description: "The agent's open work goes back to the queue.",
            tag: "Agents",
            responses: [204: RouteResponse("The agent is out.")],
            handler: { request in
                let (tenant, id) = (try Tenant(request), try request.id())
                guard try await roster.deleteAgent(tenant, id, audit: AuditNote(request)) else {
                    throw Problem.notFound
                }
                return .empty()
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
            handler: { request in
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
            handler: { request in
                let tenant = try Tenant(request)
                let answer = try found(
                    await roster.heartbeat(tenant, request.id(), presence: presence)
                )
                if answer["returned"] == true { drainer.trigger(tenant) }
                return .json(200, answer["agent"] ?? .null)
            }
        )
    }
}
