import Foundation
import JSON
import Testing

@testable import assignment_engine

private func rules(_ text: String) throws -> RuleSet {
    RuleSet(try JSON(parsing: Array(text.utf8)))
}

private func verdict(_ set: RuleSet, _ session: SessionFacts, now: Int64 = 0) -> RuleVerdict {
    set.evaluate { session.value($0, now: now) }
}

@Suite("Rules")
struct RuleTests {
    @Test(
        "each test of a condition",
        arguments: [
            (#"{"priority": 1}"#, true), (#"{"priority": {"lte": 1}}"#, true),
            (#"{"priority": {"lt": 1}}"#, false), (#"{"priority": {"gt": 0, "lt": 2}}"#, true),
            (#"{"context.vip": true}"#, true), (#"{"context.vip": {"ne": true}}"#, false),
            (#"{"context.order.total": {"gte": 99.5}}"#, true),
            (#"{"context.order.total": {"gte": "99"}}"#, false),
            (#"{"context.tags": {"contains": "tax"}}"#, true),
            (#"{"context.tags": {"contains": "car"}}"#, false),
            (#"{"context.lang": {"in": ["de", "fr"]}}"#, true),
            (#"{"context.lang": {"contains": "e"}}"#, true),
            (#"{"context.none": {"exists": false}}"#, true),
            (#"{"context.lang": {"exists": true}}"#, true),
            (#"{"context.none": 1}"#, false), (#"{"wait_s": {"gte": 60}}"#, true),
            (#"{"source": "handover", "contact_id": "c"}"#, true),
        ]
    )
    func conditions(when: String, holds: Bool) throws {
        var session = SessionFacts()
        session.priority = 1
        session.contactID = "c"
        session.context = [
            "vip": true, "order": ["total": 99.5], "tags": ["tax", "old"], "lang": "de",
        ]
        let set = try rules(#"[{"position": 1, "when": \#(when), "then": {"priority": 0}}]"#)
        let found = verdict(set, session, now: 60_000)
        #expect((found.effect.priority == 0) == holds)
    }

    @Test("rules are read by position; what ends the reading wins, what comes before it stays")
    func order() throws {
        let set = try rules(
            """
            [{"position": 3, "when": {}, "then": {"priority": 4}},
             {"position": 2, "when": {"context.vip": true}, "then": {"stop": "vip_desk"}},
             {"position": 1, "when": {}, "then": {"priority": 1, "team_id": "\(id(9))"}},
             {"position": 0, "enabled": false, "when": {}, "then": {"stop": "never"}}]
            """
        )
        var session = SessionFacts()
        #expect(verdict(set, session).effect.priority == 4)
        #expect(verdict(set, session).rule == 3)
        session.context = ["vip": true]
        let found = verdict(set, session)
        #expect(found.effect == RuleEffect(stop: "vip_desk", teamID: id(9), priority: 1))
        #expect(found.rule == 2)
    }

    @Test("a when that could never say anything is refused")
    func faults() {
        #expect(RuleBody.fault(in: ["context.vip": true, "priority": ["lte": 1]]) == nil)
        #expect(RuleBody.fault(in: ["vip": true])?.contains("'vip'") == true)
        #expect(RuleBody.fault(in: ["priority": ["below": 1]])?.contains("'below'") == true)
    }

    @Test("a skill relaxes to any level, then is dropped")
    func skills() {
        let tax = SkillDemand(name: "tax", minimum: 4, relaxAfter: 60, dropAfter: 120)
        #expect(!tax.isMet(by: ["tax": 3], after: 59_999))
        #expect(tax.isMet(by: ["tax": 1], after: 60_000))
        #expect(!tax.isMet(by: [:], after: 119_999))
        #expect(tax.isMet(by: [:], after: 120_000))
        #expect(tax.nextStep(after: 0) == 60_000)
        #expect(tax.nextStep(after: 60_000) == 120_000)
        #expect(tax.nextStep(after: 120_000) == nil)
    }
}
