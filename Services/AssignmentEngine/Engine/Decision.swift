internal import FoundationEssentials
internal import JSON
internal import Platform

/// How a run of the engine ended.
enum Outcome: String, Sendable {
    /// Somebody has the session.
    case assign
    /// Nobody now; it stays queued and is tried again when something changes.
    case skip
    /// Not to be assigned automatically until an event changes that.
    case stop
    /// Something that the run needs is away; nothing about the owner changed.
    case error
}

/// Who asked for a run.
enum RunSource: String, Sendable, CaseIterable {
    case handover, queue, manual, transfer, timer
}

/// Why a run ended as it did: stored for every run, whatever its outcome.
struct Decision: Sendable {
    /// How many candidates and rejected agents are stored by name; all are counted.
    static let listLimit = 50

    let id = UUID()
    let source: RunSource
    var outcome = Outcome.skip
    var reason: String
    var strategy: Strategy
    var roundRobinIndex: Int?
    /// The position of the rule that spoke, and the version of the rules that it stands in.
    var rule: Int?
    var policyVersion: Int?
    var order: [Candidate] = []
    var rejected: [(agent: UUID, reason: Rejection)] = []
    /// How many more members of a large team were not to be had, by reason.
    var away: [String: Int] = [:]
    /// What else a person wants to know.
    var note: String?
    var tookMilliseconds = 0.0

    /// The row's content, as the database's functions take it.
    var document: JSON {
        let counts = rejected.reduce(into: away) { $0[$1.reason.rawValue, default: 0] += 1 }
        return [
            "id": .string(id.text), "source": .string(source.rawValue),
            "outcome": .string(outcome.rawValue), "reason": .string(reason),
            "strategy": .string(strategy.rawValue), "rr_index": JSON(roundRobinIndex),
            "rule_id": JSON(rule), "policy_version": JSON(policyVersion),
            "candidates": .array(
                order.prefix(Decision.listLimit).map { candidate in
                    [
                        "agent_id": .string(candidate.id.text), "name": .string(candidate.name),
                        "active_units": .int(Int64(candidate.activeUnits)),
                        "capacity_units": .int(Int64(candidate.capacityUnits)),
                    ]
                }
            ),
            "rejected": .array(
                rejected.prefix(Decision.listLimit).map { entry in
                    [
                        "agent_id": .string(entry.agent.text),
                        "reason": .string(entry.reason.rawValue),
                    ]
                }
            ),
            "counts": .object(
                JSONObject(
                    counts.sorted { $0.key < $1.key }.map { ($0.key, .int(Int64($0.value))) }
                )
            ),
            "note": JSON(note), "took_ms": .double(tookMilliseconds),
        ]
    }
}
