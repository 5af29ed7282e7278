internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform

/// Which past sessions are decided again, and by which rules.
struct Replay: Sendable {
    /// Sessions that one replay decides.
    static let sessionsLimit = 200

    /// Milliseconds since 1970, the end not included.
    let from: Int64
    let to: Int64
    let policyVersion: Int
    /// What it is compared with; nil is the version in force.
    let against: Int?
    let limit: Int
}

extension AssignmentService {
    /// Decides past sessions again as they were asked for, at their time, by two versions of the rules;
    /// nothing is written and no turn is counted.
    ///
    /// People are as they are now: what differs is what the rules make of it. Nil when a version was
    /// never published.
    func replay(_ tenant: Tenant, _ replay: Replay) async throws -> JSON? {
        let asked = try await sessions.opened(
            tenant,
            from: replay.from,
            to: replay.to,
            limit: replay.limit
        )
        var changed: [JSON] = []
        for session in asked {
            let at = session["enqueued_at"]?.stringValue.flatMap(RFC3339.parse)
            guard
                let before = try await simulate(
                    tenant,
                    session,
                    at: at,
                    policyVersion: replay.against
                ),
                let after = try await simulate(
                    tenant,
                    session,
                    at: at,
                    policyVersion: replay.policyVersion
                )
            else { return nil }
            let (old, new) = (AssignmentService.gist(before), AssignmentService.gist(after))
            guard old != new else { continue }
            changed.append(["session_id": session["id"] ?? .null, "before": old, "after": new])
        }
        return [
            // Who was where at that time is kept for those alone whom a run looked at then.
            "people": "as_now",
            "looked_at": .int(Int64(asked.count)), "changed": .int(Int64(changed.count)),
            "items": .array(changed),
        ]
    }

    /// What a change of rules may change.
    private static func gist(_ decision: JSON) -> JSON {
        let names = ["outcome", "reason", "team_id", "agent_id", "rule_id"]
        return .object(JSONObject(names.map { ($0, decision[$0] ?? .null) }))
    }
}
