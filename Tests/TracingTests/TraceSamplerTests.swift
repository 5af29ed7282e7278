import Testing

@testable import Tracing

@Suite("TraceSampler")
struct TraceSamplerTests {
    private static let asking = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    private static let silent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

    /// What a sampler makes of a caller that records, of one that does not, and of none.
    private static let table: [(name: String, share: Double, recorded: [Bool])] = [
        ("always_on", 0, [true, true, true]),
        ("always_off", 1, [false, false, false]),
        ("traceidratio", 1, [true, true, true]),
        ("traceidratio", 0, [false, false, false]),
        ("parentbased_always_on", 0, [true, false, true]),
        ("parentbased_always_off", 1, [true, false, false]),
        ("parentbased_traceidratio", 1, [true, false, true]),
        ("parentbased_traceidratio", 0, [true, false, false]),
    ]

    @Test("the six samplers of OpenTelemetry", arguments: table)
    func samplers(row: (name: String, share: Double, recorded: [Bool])) throws {
        let sampler = try #require(TraceSampler(name: row.name, share: row.share))
        var source = IdentifierSource(sampler: sampler)
        let callers = [
            TraceParent(text: TraceSamplerTests.asking),
            TraceParent(text: TraceSamplerTests.silent), nil,
        ]
        let recorded = callers.map { source.step(below: $0).isRecorded }
        #expect(recorded == row.recorded)
    }

    @Test("a ratio is kept, and is one and the same for a trace wherever it is decided")
    func ratio() throws {
        let sampler = try #require(TraceSampler(name: "traceidratio", share: 0.25))
        var source = IdentifierSource(sampler: sampler)
        var recorded = 0
        for _ in 0..<10_000 {
            let place = source.step(below: nil)
            recorded += place.isRecorded ? 1 : 0
            var other = IdentifierSource(sampler: sampler)
            let there = other.step(below: place)
            #expect(there.isRecorded == place.isRecorded)
        }
        #expect((2_200...2_800).contains(recorded))
    }

    @Test("another name is none", arguments: ["", "parentbased_", "jaeger_remote", "ALWAYS_ON"])
    func unknown(name: String) {
        #expect(TraceSampler(name: name, share: 1) == nil)
    }

    @Test("without a setting only what a caller records is recorded")
    func standard() throws {
        var source = IdentifierSource()
        let alone = source.step(below: nil)
        let asked = source.step(below: TraceParent(text: TraceSamplerTests.asking))
        #expect(!alone.isRecorded && asked.isRecorded)
    }
}
