internal import Foundation

/// Random numbers that a seed repeats: xoshiro256**, seeded by SplitMix64 (Blackman and Vigna, 2018).
///
/// Put it into the comment of an expectation (`#expect(sum == 3, "\(random)")`): it prints as its
/// seed.
public struct SeededRandom: RandomNumberGenerator, Sendable, CustomStringConvertible {
    /// The environment variable with the one seed that ``check(runs:_:)`` is to try.
    public static let variable = "SWITCHBOARD_SEED"

    /// What the numbers follow from.
    public let seed: UInt64
    private var state: (UInt64, UInt64, UInt64, UInt64)

    /// The numbers of `seed`.
    public init(seed: UInt64) {
        self.seed = seed
        var mixer = SplitMix64(state: seed)
        state = (mixer.next(), mixer.next(), mixer.next(), mixer.next())
    }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        let product = state.1 &* 5
        let result = (product << 7 | product >> 57) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = state.3 << 45 | state.3 >> 19
        return result
    }

    /// `true` with the given probability.
    public mutating func chance(_ probability: Double) -> Bool {
        Double.random(in: 0..<1, using: &self) < probability
    }

    /// The seed, and how to repeat it.
    public var description: String { "seed \(seed) (\(SeededRandom.variable)=\(seed) repeats it)" }

    // MARK: Many seeds

    /// A check that failed, and the seed that makes it fail again.
    public struct Failure: Error, CustomStringConvertible {
        /// The seed.
        public let seed: UInt64
        /// What the check threw.
        public let underlying: any Error

        /// The error and how to repeat it.
        public var description: String { "\(SeededRandom(seed: seed)): \(underlying)" }
    }

    /// Runs `body` with the seeds 1 to `runs`, or with the one in ``variable``.
    ///
    /// - Throws: ``Failure``, which is printed as well.
    public static func check(
        runs: Int,
        _ body: (inout SeededRandom) throws -> Void
    ) throws(Failure) {
        for seed in seeds(runs) {
            var random = SeededRandom(seed: seed)
            do { try body(&random) } catch { throw failure(seed, error) }
        }
    }

    /// Runs `body` with the seeds 1 to `runs`, one after the other, or with the one in ``variable``.
    ///
    /// - Throws: ``Failure``, which is printed as well.
    public static func check(
        runs: Int,
        _ body: (inout SeededRandom) async throws -> Void
    ) async throws(Failure) {
        for seed in seeds(runs) {
            var random = SeededRandom(seed: seed)
            do { try await body(&random) } catch { throw failure(seed, error) }
        }
    }

    private static func seeds(_ runs: Int) -> ClosedRange<UInt64> {
        precondition(runs > 0, "a check without a run proves nothing")
        guard let text = ProcessInfo.processInfo.environment[variable] else {
            return 1...UInt64(runs)
        }
        guard let seed = UInt64(text) else {
            preconditionFailure("\(variable) is not a number: \(text)")
        }
        return seed...seed
    }

    private static func failure(_ seed: UInt64, _ error: any Error) -> Failure {
        let failure = Failure(seed: seed, underlying: error)
        print(failure)
        return failure
    }
}

/// Spreads a seed over more state (Vigna's splitmix64.c).
private struct SplitMix64 {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
