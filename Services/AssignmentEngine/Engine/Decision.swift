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
    var order: [Candidate] = []
    var rejected: [(agent: UUID, reason: Rejection)] = []
    var tookMilliseconds = 0.0

    /// The row's content, as the database's functions take it.
    var document: JSON {
        let counts = rejected.reduce(into: [:]) { $0[$1.reason.rawValue, default: 0] += 1 }
        return [
            "id": .string(id.text), "source": .string(source.rawValue),
            "outcome": .string(outcome.rawValue), "reason": .string(reason),
            "strategy": .string(strategy.rawValue), "rr_index": JSON(roundRobinIndex),
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
            "took_ms": .double(tookMilliseconds),
        ]
    }
}

/// Puts a stored decision into words.
enum Explanation {
    /// A sentence or two about a row of `assignment_decisions`, as JSON.
    static func text(of decision: JSON) -> String {
        let considered = decision["candidates"]?.arrayValue?.count ?? 0
        let verdict =
            switch decision["outcome"]?.stringValue {
            case "assign": assigned(decision, considered)
            case "error": "Nothing was changed: \(words(decision["reason"]))."
            case "stop": "It is left out of automatic assignment: \(words(decision["reason"]))."
            default: "Nobody got it: \(words(decision["reason"]))."
            }
        let turnedDown = rejected(decision["counts"])
        return turnedDown.isEmpty ? verdict : verdict + " " + turnedDown
    }

    private static func assigned(_ decision: JSON, _ considered: Int) -> String {
        let chosen = decision["agent_id"]?.stringValue ?? ""
        let name =
            decision["candidates"]?.arrayValue?.first {
                $0["agent_id"]?.stringValue == chosen
            }?["name"]?.stringValue ?? "The agent"
        let people = considered == 1 ? "1 candidate" : "\(considered) candidates"
        guard let strategy = decision["strategy"]?.stringValue else {
            return "\(name) got it by hand."
        }
        let how =
            switch strategy {
            case "round_robin":
                "it was \(name)'s turn (position \(decision["rr_index"]?.intValue ?? 0))"
            case "fair": "\(name) had the lowest share so far"
            case "least_recently_assigned": "\(name) had waited longest"
            case "least_active": "\(name) had the least open work"
            default: "\(name) had the most room"
            }
        return "\(name) got it: of \(people), \(how)."
    }

    private static func rejected(_ counts: JSON?) -> String {
        let parts = (counts?.objectValue?.members ?? []).compactMap { member -> String? in
            guard let reason = Rejection(rawValue: member.key), let count = member.value.intValue
            else { return nil }
            return "\(count) \(reason.explanation)"
        }
        return parts.isEmpty ? "" : "Not considered: " + parts.joined(separator: ", ") + "."
    }

    private static func words(_ reason: JSON?) -> String {
        switch reason?.stringValue {
        case "no_candidates": "no member of the team can take it now"
        case "no_members": "the team has no members"
        case "no_capacity": "everybody filled up while it was being assigned"
        case "taken": "somebody has it already"
        case "busy": "another run is at it"
        case "redis_unavailable": "the shared round-robin counter could not be reached"
        case .some(let other): other
        case nil: "no reason was stored"
        }
    }
}
