import Foundation
import TestSupport
import Testing

@testable import assignment_engine

/// One life of a small company: people come, go and change, work arrives and ends, instances pause
/// between their look and their claim, or die there.
enum Simulation {
    static let steps = 200

    @discardableResult
    static func run(_ random: inout SeededRandom, bug: PlantedBug? = nil) throws -> Life {
        var world = World(bug: bug)
        setUp(&world, &random)
        let beginning = world
        for _ in 0..<steps {
            try step(&world, &random)
            try world.check()
        }
        // Everybody who is paused goes on; then the queue is swept until nothing changes.
        for var claim in world.pending {
            claim.isFresh = false
            try world.claim(claim)
        }
        world.pending = []
        for _ in 0..<3 {
            for index in world.sessions.indices {
                if let claim = world.decide(index) { try world.claim(claim) }
            }
        }
        try world.check()
        try world.checkNobodyWaitsInVain()
        return Life(beginning: beginning, end: world)
    }

    /// How a company began, and what had become of it.
    struct Life {
        let beginning: World
        let end: World
    }

    private static func setUp(_ world: inout World, _ random: inout SeededRandom) {
        for number in 0..<Int.random(in: 1...5, using: &random) {
            var agent = World.Agent(id: id(number + 1))
            agent.capacity = Int.random(in: 1...4, using: &random)
            if random.chance(0.5) { agent.skills = ["tax": Int.random(in: 1...5, using: &random)] }
            world.agents.append(agent)
        }
        for team in 0..<2 {
            if random.chance(0.5) { world.large.insert(team) }
            var policy = TeamPolicy()
            policy.strategy = Strategy.allCases.randomElement(using: &random) ?? .fair
            if random.chance(0.5) { policy.capacityUnits = Int.random(in: 1...3, using: &random) }
            if random.chance(0.2) {
                policy.maxWaitSeconds = 60
                policy.noAgentAction = .assignOffline
            }
            world.policies.append(policy)
            world.turns.append(0)
            let members = world.agents.indices.filter { _ in random.chance(0.8) }
            world.teams.append(members.map { World.Member(agent: $0) })
        }
    }

    private static func step(_ world: inout World, _ random: inout SeededRandom) throws {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<4: arrive(&world, &random)
        case 4..<10: try run(&world, &random)
        case 10, 11: try goOn(&world, &random)
        case 12..<15: act(&world, &random)
        case 15..<18: change(&world, &random)
        default: pass(&world, &random)
        }
    }

    /// A conversation asks for a person.
    private static func arrive(_ world: inout World, _ random: inout SeededRandom) {
        var session = World.Session()
        session.team = Int.random(in: 0..<2, using: &random)
        session.facts.enqueuedAt = world.now
        session.facts.units = random.chance(0.2) ? 2 : 1
        if random.chance(0.2) {
            session.facts.skills = [SkillDemand(name: "tax", minimum: 3, relaxAfter: 30)]
        }
        world.deeds.append(.arrive(session: world.sessions.count))
        world.sessions.append(session)
    }

    /// An instance looks at a session; most claim at once, some are paused before, some die.
    private static func run(_ world: inout World, _ random: inout SeededRandom) throws {
        guard let index = world.sessions.indices.randomElement(using: &random),
            let claim = world.decide(index)
        else { return }
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<7: try world.claim(claim)
        case 7, 8: world.pending.append(claim)
        default: break
        }
    }

    /// A paused instance goes on; sometimes its answer was lost and it does it again.
    private static func goOn(_ world: inout World, _ random: inout SeededRandom) throws {
        guard !world.pending.isEmpty else { return }
        var claim = world.pending.removeFirst()
        claim.isFresh = false
        try world.claim(claim)
        if random.chance(0.3) { try world.claim(claim) }
    }

    /// Somebody does something with a session that has an owner.
    private static func act(_ world: inout World, _ random: inout SeededRandom) {
        let owned = world.sessions.indices.filter { world.sessions[$0].owner != nil }
        guard let index = owned.randomElement(using: &random) else { return }
        if world.sessions[index].state == "on_hold" {
            random.chance(0.5) ? world.resume(index) : world.close(index)
            return
        }
        switch Int.random(in: 0..<5, using: &random) {
        case 0, 1: world.close(index)
        case 2: world.hold(index)
        case 3: world.requeue(index, declined: random.chance(0.7))
        default: world.transfer(index, to: Int.random(in: 0..<world.agents.count, using: &random))
        }
    }

    /// Somebody comes, goes, falls silent, joins or leaves a team, or gets more or less room.
    private static func change(_ world: inout World, _ random: inout SeededRandom) {
        let agent = Int.random(in: 0..<world.agents.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 5:
            let team = Int.random(in: 0..<2, using: &random)
            world.toggleMember(agent, of: team)
            if random.chance(0.5) { world.toggleMember(agent, of: team) }
            return
        case 0: world.agents[agent].isOnline.toggle()
        case 1: world.agents[agent].isAccepting.toggle()
        case 2: world.agents[agent].isPresent.toggle()
        case 3: world.agents[agent].capacity = Int.random(in: 0...4, using: &random)
        default:
            world.agents[agent].isOnline = true
            world.agents[agent].isAccepting = true
            world.agents[agent].isPresent = true
        }
        world.deeds.append(.change(agent: agent, world.agents[agent]))
    }

    private static func pass(_ world: inout World, _ random: inout SeededRandom) {
        world.now += Int64.random(in: 1...120_000, using: &random)
    }
}

@Suite("Simulation of the decision")
struct SimulationTests {
    /// Ten thousand with `SWITCHBOARD_LONG`.
    static let runs =
        ProcessInfo.processInfo.environment["SWITCHBOARD_LONG"] == nil ? 1_000 : 10_000

    @Test("the lives of many companies keep every promise")
    func lives() throws {
        try SeededRandom.check(runs: SimulationTests.runs) { try Simulation.run(&$0) }
    }

    @Test("each planted bug is noticed", arguments: PlantedBug.allCases)
    func planted(bug: PlantedBug) {
        let isNoticed = (1...300).contains { seed in
            var random = SeededRandom(seed: UInt64(seed))
            return (try? Simulation.run(&random, bug: bug)) == nil
        }
        #expect(isNoticed, "\(bug)")
    }
}
