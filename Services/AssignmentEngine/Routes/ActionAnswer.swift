internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

extension ActionResult {
    /// The session when it was done, or the problem that says why not.
    func accepted() throws(Problem) -> Session {
        switch name {
        case "done", "given", "already", "unchanged":
            guard let session else { throw .notFound }
            return session
        case "missing": throw .notFound
        case "no_agent": throw .invalid("/agent_id", "does not exist")
        case "no_team": throw .invalid("/team_id", "does not exist")
        case "ineligible", "at_capacity":
            let code = reason ?? name
            var problem = Problem.invalid("/agent_id", "may not have it: \(code)")
            problem.code = code
            throw problem
        case "taken":
            var problem = Problem.conflict("already_assigned", "somebody else has it")
            problem.members["agent_id"] = JSON(agentID?.text)
            throw problem
        case "closed": throw .conflict("session_closed", "the session is closed")
        case "open": throw .conflict("session_open", "the session is not closed")
        case "other_open":
            throw .conflict("session_open", "the conversation has another open session")
        case "not_yours": throw .conflict("not_yours", "it is offered to another")
        default:
            let state = session?.state ?? "unknown"
            throw .conflict("wrong_state", "the session is \(state)")
        }
    }
}

/// Who is to have a session.
struct Assignee: Sendable {
    var agent: UUID?
    var team: UUID?
    let force: Bool
    let reason: String?

    /// An agent, or nobody in particular.
    static func anybody(_ body: inout JSONFields) -> Assignee {
        Assignee(
            agent: body.optionalUUID("agent_id"),
            force: body.optionalBool("force") ?? false,
            reason: body.optionalString("reason", length: 0...500)
        )
    }

    static func somebody(_ body: inout JSONFields) -> Assignee {
        if !body.has("agent_id") { body.fault("agent_id", "is required") }
        return anybody(&body)
    }

    static func agentOrTeam(_ body: inout JSONFields) -> Assignee {
        if body.has("agent_id") == body.has("team_id") {
            body.fault("agent_id", "or team_id is required, and not both")
        }
        var assignee = anybody(&body)
        assignee.team = body.optionalUUID("team_id")
        return assignee
    }
}
