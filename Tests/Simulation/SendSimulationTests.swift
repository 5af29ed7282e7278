import TestSupport
import Testing

@testable import dispatch_worker

/// The send state machine under every fault that its environment has, many times over.
@Suite("SendSimulationTests")
struct SendSimulationTests {
    static let seeds = 10_000
    static let steps = 400

    /// Runs one seed.
    private func run(_ mutant: SendWorld.Mutant?, _ random: SeededRandom) throws -> SendWorld {
        var world = SendWorld(mutant, random)
        for _ in 0..<SendSimulationTests.steps { try world.step() }
        try world.heal()
        return world
    }

    @Test("whatever breaks, a message is with the provider once, or its row says why not")
    func once() throws {
        var ends: [SendRow.Status: Int] = [:]
        try SeededRandom.check(runs: SendSimulationTests.seeds) { random in
            ends[try run(nil, random).row.status, default: 0] += 1
        }
        // A run that reaches one end only would show little.
        for status in SendRow.ended { #expect((ends[status] ?? 0) > 0, "\(status): \(ends)") }
    }

    @Test("each planted bug is found", arguments: SendWorld.Mutant.allCases)
    func planted(_ mutant: SendWorld.Mutant) {
        var seed: UInt64 = 0
        while seed < UInt64(SendSimulationTests.seeds) {
            seed += 1
            do {
                _ = try run(mutant, SeededRandom(seed: seed))
            } catch {
                return
            }
        }
        Issue.record("\(mutant) was not found in \(seed) seeds")
    }
}
