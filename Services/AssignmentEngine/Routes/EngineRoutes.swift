internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What the engine would do.
@LoopActor
struct EngineRoutes {
    let service: AssignmentService
    let sessions: SessionRepository

    var routes: [Route] { [simulate, replay] }

    private var simulate: Route {
        Route(
            .post,
            "/v1/engine/simulate",
            access: .role(.operator),
            summary: "What the engine would do",
            description:
                "The same decision as a run's, for a session that is there or for one that "
                + "is described, at another time if asked; nothing is written and no turn is "
                + "counted.",
            tag: "Engine",
            requestSchema: Shapes.simulation,
            responses: [200: RouteResponse("The decision.", schema: Shapes.any)],
            handler: { request in
                let tenant = try Tenant(request)
                let body = try request.read(Simulation.init)
                var document = body.session
                if let id = body.sessionID {
                    guard let session = try await sessions.find(tenant, id) else {
                        throw Problem.notFound
                    }
                    document = session.document
                }
                let decision = try await service.simulate(
                    tenant,
                    document,
                    at: body.at,
                    policyVersion: body.policyVersion
                )
                guard let decision else {
                    throw Problem.invalid("/policy_version", "was never published")
                }
                return .json(200, decision)
            }
        )
    }
}

extension EngineRoutes {
    private var replay: Route {
        Route(
            .post,
            "/v1/engine/replay",
            access: .role(.operator),
            summary: "What other rules would have made of past sessions",
            description:
                "Decides the sessions that were opened in that time once by `policy_version` and "
                + "once by `against` (else the version in force), and answers those that differ; "
                + "nothing is written and no turn is counted. People are as they are now.",
            tag: "Engine",
            requestSchema: Shapes.replay,
            responses: [200: RouteResponse("What would differ.", schema: Shapes.any)],
            handler: { request in
                let body = try request.read(Replay.init)
                guard let answer = try await service.replay(Tenant(request), body) else {
                    throw Problem.invalid("/policy_version", "was never published")
                }
                return .json(200, answer)
            }
        )
    }
}

extension Replay {
    fileprivate init(_ body: inout JSONFields) {
        let versions = 1...1_000_000_000
        self.init(
            from: body.date("from"),
            to: body.date("to"),
            policyVersion: body.int("policy_version", in: versions),
            against: body.optionalInt("against", in: versions),
            limit: body.optionalInt("limit", in: 1...Replay.sessionsLimit)
                ?? Replay.sessionsLimit
        )
    }
}

/// What is to be simulated.
private struct Simulation: Sendable {
    let sessionID: UUID?
    let session: JSON
    let at: Int64?
    let policyVersion: Int?

    init(_ body: inout JSONFields) {
        sessionID = body.optionalUUID("session_id")
        at = body.optionalDate("at")
        policyVersion = body.optionalInt("policy_version", in: 1...1_000_000_000)
        let session = body.optionalObject("session", Simulation.session)
        self.session = session ?? [:]
        if (sessionID == nil) == (session == nil) {
            body.fault("session_id", "or session is required, and not both")
        }
    }

    private static func session(_ body: inout JSONFields) -> JSON {
        [
            "contact_id": JSON(body.optionalString("contact_id", length: 1...200)),
            "team_id": JSON(body.optionalUUID("team_id")?.text),
            "priority": JSON(body.optionalInt("priority", in: 0...4)),
            "context": body.optionalJSONObject("context").map(JSON.object) ?? [:],
            "units": JSON(body.optionalInt("units", in: 1...100)),
            "source": JSON(body.optionalString("source", length: 1...100)),
            "enqueued_at": JSON(body.optionalDate("enqueued_at").map(RFC3339.string)),
        ]
    }
}
