/// Ids that nobody needs to guess-proof: cheap, and distinct across processes.
///
/// The generator is wyrand, started from the system's randomness.
public struct IdentifierSource: Sendable {
    private var state: UInt64
    /// What all ids of this process begin with.
    public let process: UInt64
    private let sampler: TraceSampler

    /// A source whose new traces are recorded as `sampler` says.
    public init(sampler: TraceSampler = .whenAsked) {
        var system = SystemRandomNumberGenerator()
        state = system.next()
        process = system.next()
        self.sampler = sampler
    }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0xa076_1d64_78bd_642f
        let product = state.multipliedFullWidth(by: state ^ 0xe703_7ed1_a0b4_28db)
        return product.high ^ product.low
    }

    /// The place of a request: below its caller's, or the first of a trace of its own.
    public mutating func step(below caller: TraceParent?) -> TraceParent {
        sampler.decide(
            caller?.child(span: next() | 1)
                ?? TraceParent(traceHigh: process, traceLow: next() | 1, span: next() | 1)
        )
    }
}
