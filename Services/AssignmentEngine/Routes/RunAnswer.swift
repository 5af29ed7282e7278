internal import HTTPServer
internal import JSON
internal import Platform

/// What callers see of a run.
enum RunAnswer {
    static let responses: [Int: RouteResponse] = [
        200: RouteResponse("The session was there already.", schema: Shapes.outcome),
        201: RouteResponse("The session was opened.", schema: Shapes.outcome),
        503: RouteResponse("Outcome `error`: try again.", schema: Shapes.outcome),
    ]

    /// For a route that runs the engine unless somebody is named: then it answers the session.
    static let orSession = responses.merging([
        200: RouteResponse(
            "The run; the session where an agent was named.",
            schema: ["anyOf": [Shapes.outcome, Shapes.any]]
        )
    ]) { $1 }

    /// 201 for a session that the request opened, 200 for one that was there, 503 for an error.
    static func response(_ result: RunResult, created: Bool) -> Response {
        var document: JSONObject = [
            "session": result.session.document, "outcome": .string(result.outcome.rawValue),
            "reason": .string(result.reason), "agent_id": JSON(result.agentID?.text),
            "strategy": JSON(result.strategy?.rawValue),
            "decision_id": JSON(result.decisionID?.text),
        ]
        guard result.outcome == .error else {
            return .json(created ? 201 : 200, .object(document))
        }
        document["retryable"] = true
        return .json(503, .object(document)).withField("Retry-After", "1")
    }

    /// The session is not for people; no run was made.
    static func stopped(_ session: Session, reason: String) -> Response {
        response(
            RunResult(
                outcome: .stop,
                reason: reason,
                agentID: nil,
                strategy: nil,
                decisionID: nil,
                session: session
            ),
            created: false
        )
    }
}
