import EventLoop
import Foundation
import JSON
import Testing

@testable import assignment_engine

@Suite("CandidatePipeline")
struct CandidatePipelineTests {
    @Test("each rejected agent keeps its first reason")
    func reasons() {
        var off = agent(1)
        off.autoAssign = false
        off.status = "offline"
        var busy = agent(2)
        busy.status = "busy"
        var gone = agent(3)
        gone.isPresent = false
        var full = agent(4)
        full.activeUnits = full.capacityUnits
        let pipeline = CandidatePipeline(
            roster: [full, gone, busy, off, agent(5)],
            demands: Demands()
        )
        #expect(pipeline.candidates.map(\.id) == [id(5)])
        #expect(
            pipeline.rejected.map(\.reason)
                == [.autoAssignOff, .notAccepting, .offline, .atCapacity]
        )
    }

    @Test("every instance sees the same order, whatever the database's")
    func order() {
        let roster = (1...9).map(agent)
        let shuffled = CandidatePipeline(roster: roster.shuffled(), demands: Demands())
        #expect(
            shuffled.candidates == CandidatePipeline(roster: roster, demands: Demands()).candidates
        )
    }

    @Test("a session that needs more room than there is is turned down")
    func units() {
        var tight = agent(1)
        tight.activeUnits = 2
        #expect(Demands().rejection(of: tight) == nil)
        #expect(Demands(units: 2).rejection(of: tight) == .atCapacity)
    }
}

@Suite("Strategy")
struct StrategyTests {
    @Test("round robin walks the ring from its index", arguments: 0..<7)
    func ring(index: Int) {
        let order = Strategy.roundRobin.order((1...3).map(agent), index: index).map(\.id)
        #expect(order.first == id(index % 3 + 1))
        #expect(Set(order) == [id(1), id(2), id(3)])
        #expect(order[1] == id((index + 1) % 3 + 1))
    }

    @Test("fair takes the earliest deadline, ties by id")
    func fair() {
        var (one, two, three) = (agent(1), agent(2), agent(3))
        one.virtualTime = 2
        two.virtualTime = 1
        three.virtualTime = 1
        #expect(Strategy.fair.order([three, one, two]).map(\.id) == [id(2), id(3), id(1)])
    }

    @Test("who never had one comes first, then who waited longest")
    func leastRecently() {
        var (one, two) = (agent(1), agent(2))
        one.lastAssignedAt = 200
        two.lastAssignedAt = 100
        let order = Strategy.leastRecentlyAssigned.order([one, two, agent(3)]).map(\.id)
        #expect(order == [id(3), id(2), id(1)])
    }

    @Test("least active and most available count what is open")
    func load() {
        var (one, two) = (agent(1), agent(2))
        one.activeUnits = 2
        one.capacityUnits = 10
        two.activeUnits = 1
        two.capacityUnits = 3
        #expect(Strategy.leastActive.order([one, two]).first?.id == id(2))
        #expect(Strategy.mostAvailable.order([one, two]).first?.id == id(1))
    }
}

@Suite("Explanation")
struct ExplanationTests {
    @Test("says who, why, and why not the others")
    func assigned() {
        var decision = Decision(source: .handover, reason: "assigned", strategy: .roundRobin)
        decision.outcome = .assign
        decision.order = [agent(1), agent(2)]
        decision.roundRobinIndex = 4
        decision.rejected = [(id(3), .offline), (id(4), .offline), (id(5), .atCapacity)]
        var document = decision.document.objectValue ?? [:]
        document["agent_id"] = .string(id(1).uuidString.lowercased())
        let text = Explanation.text(of: .object(document))
        #expect(text.contains("agent 1 got it: of 2 candidates, it was agent 1's turn"))
        #expect(text.contains("2 not online"))
        #expect(text.contains("1 at capacity"))
    }

    @Test("says why nobody got it")
    func skipped() {
        let decision = Decision(source: .queue, reason: "no_candidates", strategy: .fair)
        #expect(
            Explanation.text(of: decision.document)
                == "Nobody got it: no member of the team can take it now."
        )
    }
}
