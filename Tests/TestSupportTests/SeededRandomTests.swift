import Foundation
import Testing
import TestSupport

@Suite("SeededRandom")
struct SeededRandomTests {
    @Test("the numbers are those of the published algorithm")
    func reference() {
        // xoshiro256** with the state that SplitMix64 makes of 0, as in other implementations.
        var random = SeededRandom(seed: 0)
        #expect(
            (0..<3).map { _ in random.next() } == [
                0x99EC_5F36_CB75_F2B4, 0xBF6E_1F78_4956_452A, 0x1A5F_849D_4933_E6E0,
            ]
        )
    }

    @Test("a seed repeats everything, another one does not")
    func repeats() {
        func numbers(_ seed: UInt64) -> [Int] {
            var random = SeededRandom(seed: seed)
            return (0..<20).map { _ in Int.random(in: 0..<1_000_000, using: &random) }
        }
        #expect(numbers(7) == numbers(7))
        #expect(numbers(7) != numbers(8))
    }

    @Test("chance is about what it says")
    func chance() {
        var random = SeededRandom(seed: 3)
        let hits = (0..<10_000).count { _ in random.chance(0.25) }
        #expect((2300...2700).contains(hits), "\(random)")
    }

    @Test("a check runs every seed and names the one that failed")
    func check() async throws {
        var seen: [UInt64] = []
        try SeededRandom.check(runs: 5) { seen.append($0.seed) }
        #expect(seen == [1, 2, 3, 4, 5])
        struct Wrong: Error {}
        let error = #expect(throws: SeededRandom.Failure.self) {
            try SeededRandom.check(runs: 5) { if $0.seed == 3 { throw Wrong() } }
        }
        #expect(error?.seed == 3)
        #expect(error?.description.contains("SWITCHBOARD_SEED=3") == true)
        #expect(error?.underlying is Wrong)
    }

    @Test("the environment chooses one seed")
    func environment() async {
        await #expect(processExitsWith: .success) {
            setenv(SeededRandom.variable, "41", 1)
            var seen: [UInt64] = []
            try SeededRandom.check(runs: 5) { seen.append($0.seed) }
            precondition(seen == [41])
        }
    }
}
