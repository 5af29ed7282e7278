import Foundation

@testable import assignment_engine

/// Something that must never be.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension World {
    /// What holds at every moment.
    func check() throws {
        var carried = [Int](repeating: 0, count: agents.count)
        for (index, session) in sessions.enumerated() {
            let isOwned = session.state == "assigned" || session.state == "on_hold"
            guard isOwned == (session.owner != nil) else {
                throw Violation(
                    "session \(index) is \(session.state) with owner \(session.owner as Any)"
                )
            }
            if let owner = session.owner, session.holdsUnits {
                carried[owner] += session.facts.units
            }
            if session.state == "queued" || session.state == "parked", session.isLookedAt,
                session.reason == nil
            {
                throw Violation("session \(index) waits and nobody says why")
            }
        }
        for (index, agent) in agents.enumerated() where agent.active != carried[index] {
            throw Violation("agent \(index) counts \(agent.active) and carries \(carried[index])")
        }
    }

    /// What holds when a run gives a session to somebody.
    func check(_ index: Int, _ claim: PendingClaim) throws {
        let (agent, session) = (agents[index], sessions[claim.session])
        if let owner = session.owner {
            throw Violation("session \(claim.session) of agent \(owner) is given to \(index)")
        }
        if agent.active + session.facts.units > agent.capacity {
            throw Violation("agent \(index) gets more than its capacity")
        }
        let isThere = agent.isOnline && agent.isAccepting && agent.isPresent
        if !isThere, !claim.takesAbsent { throw Violation("agent \(index) is not there") }
        // Counted anew: what a membership says of itself is the store's own account.
        let carried = sessions.filter {
            $0.team == session.team && $0.owner == index && $0.holdsUnits
        }
        if let cap = policies[session.team].capacityUnits,
            teams[session.team].contains(where: { $0.agent == index }),
            carried.reduce(session.facts.units, { $0 + $1.facts.units }) > cap
        {
            throw Violation("agent \(index) gets more than its team's cap")
        }
        // What a look decides may have changed while its claim was on its way.
        guard claim.isFresh else { return }
        if let until = session.facts.declined[agent.id], until > now {
            throw Violation("agent \(index) gets what it declined")
        }
        let waited = now - session.facts.enqueuedAt
        for skill in session.facts.skills where !skill.isMet(by: agent.skills, after: waited) {
            throw Violation("agent \(index) lacks \(skill.name)")
        }
    }

    /// Nobody waits while somebody could serve: judged without the product's own pipeline.
    func checkNobodyWaitsInVain() throws {
        for (index, session) in sessions.enumerated() where session.state == "queued" {
            let waited = now - session.facts.enqueuedAt
            for member in teams[session.team] {
                let agent = agents[member.agent]
                let cap = policies[session.team].capacityUnits ?? Int.max
                let units = session.facts.units
                let isFree =
                    agent.isOnline && agent.isAccepting && agent.isPresent
                    && agent.capacity - agent.active >= units && cap - member.units >= units
                let fits =
                    (session.facts.declined[agent.id] ?? 0) <= now
                    && !session.facts.excluded.contains(agent.id)
                    && session.facts.skills.allSatisfy { $0.isMet(by: agent.skills, after: waited) }
                if isFree && fits {
                    throw Violation("session \(index) waits although agent \(member.agent) is free")
                }
            }
        }
    }
}
