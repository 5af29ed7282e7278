import Foundation
import JSON
import Testing

@testable import assignment_engine

private let now = at("2026-11-23T10:00:00Z")

private func session(waited seconds: Int64 = 0) -> SessionFacts {
    var session = SessionFacts()
    session.enqueuedAt = now - seconds * 1000
    return session
}

private func facts(_ agents: Int = 2) -> RunFacts {
    var facts = RunFacts(now: now)
    facts.roster = (0..<agents).map { agent($0 + 1) }
    return facts
}

private func ending(_ verdict: Verdict) -> Ending? {
    guard case .end(let ending) = verdict else { return nil }
    return ending
}

private func choosing(_ verdict: Verdict) -> Choosing? {
    guard case .choose(let choosing) = verdict else { return nil }
    return choosing
}

private func team(_ verdict: Verdict) -> UUID? {
    guard case .move(let team, _) = verdict else { return nil }
    return team
}

/// Open on Tuesdays only; `now` is a Monday.
private func closed() throws -> Schedule {
    try schedule(#"{"tz": "UTC", "windows": [{"day": "tue", "from": "09:00", "to": "17:00"}]}"#)
}

@Suite("assignment-engine decision")
struct DecisionCoreTests {
    @Test("a team that does not exist, and one without anybody, are told apart")
    func nobody() {
        var missing = facts()
        missing.teamExists = false
        #expect(ending(DecisionCore(session(), missing).decide())?.reason == "no_team")
        #expect(ending(DecisionCore(session(), facts(0)).decide())?.reason == "no_members")
    }

    @Test("of a team that was taken out the heir is looked at, or the tenant's pool")
    func gone() {
        var facts = facts(0)
        (facts.teamExists, facts.isTeamGone) = (false, true)
        guard case .move(nil, _) = DecisionCore(session(), facts).decide() else {
            Issue.record("it is not moved")
            return
        }
        facts.heir = id(60)
        #expect(team(DecisionCore(session(), facts).decide()) == id(60))
    }

    @Test("outside its hours a team holds the session until it opens")
    func offHours() throws {
        var facts = facts()
        facts.policy.scheduleID = id(50)
        facts.schedules[id(50)] = try closed()
        let end = ending(DecisionCore(session(), facts).decide())
        #expect(end?.outcome == .stop && end?.reason == "off_hours")
        #expect(end?.wake == Wake(kind: .scheduleOpen, due: at("2026-11-24T09:00:00Z")))
        facts.policy.offHoursAction = .messageOnly
        #expect(ending(DecisionCore(session(), facts).decide())?.wake == nil)
        facts.policy.offHoursAction = .overflowTeam
        facts.policy.overflowTeamID = id(60)
        #expect(team(DecisionCore(session(), facts).decide()) == id(60))
        // It has been there: it does not go in circles.
        let back = DecisionCore(session(), facts, visited: [id(60)]).decide()
        #expect(ending(back)?.reason == "off_hours")
    }

    @Test("an agent's own hours go before the team's")
    func ownHours() throws {
        var facts = facts()
        facts.policy.scheduleID = id(50)
        facts.schedules[id(50)] = try closed()
        facts.schedules[id(51)] = try schedule(
            #"{"tz": "UTC", "windows": [{"day": "mon", "from": "09:00", "to": "17:00"}]}"#
        )
        facts.roster[1].scheduleID = id(51)
        let core = DecisionCore(session(), facts)
        #expect(choosing(core.decide())?.candidates.map(\.id) == [id(2)])
        #expect(core.pipeline.rejected.map(\.reason) == [.offSchedule])
    }

    @Test("the contact's own agent gets it, is waited for, and then is not")
    func sticky() {
        var facts = facts()
        facts.preferred = id(2)
        facts.policy.stickyWaitSeconds = 60
        let found = choosing(DecisionCore(session(), facts).decide())
        #expect(found?.candidates.map(\.id) == [id(2)] && found?.reason == "contact_assigned")
        facts.roster[1].activeUnits = 3
        let held = ending(DecisionCore(session(waited: 20), facts).decide())
        #expect(held?.reason == "sticky_hold")
        #expect(held?.wake == Wake(kind: .stickyHold, due: now + 40_000))
        let after = choosing(DecisionCore(session(waited: 60), facts).decide())
        #expect(after?.candidates.map(\.id) == [id(1)] && after?.strategy == .roundRobin)
        // Waiting for somebody who may never have it would be waiting for nothing.
        facts.blocked = [id(2)]
        #expect(choosing(DecisionCore(session(), facts).decide())?.candidates.map(\.id) == [id(1)])
    }

    @Test("each demand has its reason, in their order")
    func demands() {
        var facts = facts(5)
        facts.blocked = [id(1)]
        facts.roster[4].skills = ["tax": 2]
        facts.roster[4].isMember = false
        var asked = session()
        asked.excluded = [id(2)]
        asked.declined = [id(3): now + 1]
        asked.skills = [SkillDemand(name: "tax", minimum: 2)]
        let core = DecisionCore(asked, facts)
        #expect(
            core.pipeline.rejected.map(\.reason) == [
                .blockedForContact, .excludedPreviousOwner, .declinedRecently, .missingSkill,
                .notMember,
            ]
        )
        #expect(ending(core.decide())?.reason == "missing_skill")
        asked.declined = [id(3): now]
        asked.skills = []
        #expect(choosing(DecisionCore(asked, facts).decide())?.candidates.count == 2)
    }

    @Test("a cap of the team and flood control hold back who has room of their own")
    func caps() {
        var facts = facts(2)
        facts.policy.capacityUnits = 1
        facts.roster[0].teamUnits = 1
        facts.policy.newPerAgent = (2, 60)
        facts.roster[1].windowCount = 2
        facts.roster[1].windowBeganAt = now - 59_000
        let core = DecisionCore(session(), facts)
        #expect(core.pipeline.rejected.map(\.reason) == [.atCapacity, .agentRateLimited])
        facts.roster[1].windowBeganAt = now - 60_000
        #expect(choosing(DecisionCore(session(), facts).decide())?.candidates.map(\.id) == [id(2)])
    }

    @Test("after the longest wait: another team, somebody away, or a word to the contact")
    func overdue() {
        var facts = facts(2)
        for index in facts.roster.indices { facts.roster[index].status = "offline" }
        facts.policy.maxWaitSeconds = 30
        facts.policy.noAgentAction = .assignOffline
        let early = ending(DecisionCore(session(waited: 10), facts).decide())
        #expect(early?.wake == Wake(kind: .maxWait, due: now + 20_000))
        let late = choosing(DecisionCore(session(waited: 30), facts).decide())
        #expect(late?.takesAbsent == true && late?.strategy == .leastRecentlyAssigned)
        facts.policy.noAgentAction = .askContact
        #expect(
            ending(DecisionCore(session(waited: 30), facts).decide())?.event
                == "session.ask_contact"
        )
        facts.policy.noAgentAction = .overflowTeam
        facts.policy.overflowTeamID = id(60)
        #expect(team(DecisionCore(session(waited: 30), facts).decide()) == id(60))
        facts.policy.noAgentAction = .wait
        let waiting = ending(DecisionCore(session(waited: 30), facts).decide())
        #expect(waiting?.outcome == .skip && waiting?.wake == nil)
    }

    @Test("old work is parked, and a rule's agents are taken in its order")
    func backlogAndNamed() {
        var facts = facts(3)
        facts.policy.backlogCutoffHours = 1
        let old = ending(DecisionCore(session(waited: 3601), facts).decide())
        #expect(old?.outcome == .stop && old?.reason == "stale_backlog")
        let named = DecisionCore(session(), facts, named: [id(3), id(9), id(1)]).decide()
        #expect(choosing(named)?.candidates.map(\.id) == [id(3), id(1)])
        #expect(ending(DecisionCore(session(), facts, named: [id(9)]).decide())?.outcome == .skip)
    }

    @Test("a skill that relaxes is looked at again when it does")
    func relaxing() {
        var asked = session(waited: 5)
        asked.skills = [SkillDemand(name: "tax", minimum: 3, relaxAfter: 10, dropAfter: 20)]
        let end = ending(DecisionCore(asked, facts()).decide())
        #expect(end?.wake == Wake(kind: .skillRelax, due: now + 5000))
        asked.enqueuedAt = now - 20_000
        #expect(choosing(DecisionCore(asked, facts()).decide())?.candidates.count == 2)
    }
}
