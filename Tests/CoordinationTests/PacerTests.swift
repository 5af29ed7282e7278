import EventLoop
import Testing

@testable import Coordination

@Suite("Pacer conformance")
struct PacerTests {
    @Test(
        "one slot per interval, and nothing is reserved by being refused",
        arguments: Kind.available
    )
    @LoopActor func spacing(kind: Kind) async throws {
        let pacer = try await kind.pacer()
        let key = TestRedis.key("channel")
        #expect(try await pacer.reserve(key, interval: .seconds(1), burst: 1) == .zero)
        for _ in 0..<3 {
            let wait = try await pacer.reserve(key, interval: .seconds(1), burst: 1)
            #expect(wait > .milliseconds(800) && wait <= .seconds(1))
        }
    }

    @Test("a burst may leave at once after a quiet time", arguments: Kind.available)
    @LoopActor func burst(kind: Kind) async throws {
        let pacer = try await kind.pacer()
        let key = TestRedis.key("channel")
        for _ in 0..<3 {
            #expect(try await pacer.reserve(key, interval: .seconds(10), burst: 3) == .zero)
        }
        #expect(try await pacer.reserve(key, interval: .seconds(10), burst: 3) > .seconds(5))
    }

    @Test("a block refuses whatever the burst, and is never shortened", arguments: Kind.available)
    @LoopActor func block(kind: Kind) async throws {
        let pacer = try await kind.pacer()
        let key = TestRedis.key("channel")
        try await pacer.block(key, for: .seconds(30))
        try await pacer.block(key, for: .seconds(1))
        let wait = try await pacer.reserve(key, interval: .milliseconds(1), burst: 100)
        #expect(wait > .seconds(25) && wait <= .seconds(30))
    }
}
