import Testing

@testable import HTTPServer

@Suite("WebSocketParser under random bytes")
struct WebSocketFuzzTests {
    /// Frames that mostly make sense, some of their bytes changed.
    private func conversation(_ random: inout some RandomNumberGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...12, using: &random) {
            let opcode = [0, 0, 1, 1, 2, 9, 10, 8, 3].randomElement(using: &random) ?? 1
            let size = [0, 1, 5, 125, 126, 300].randomElement(using: &random) ?? 0
            let isText = Bool.random(using: &random)
            let payload = (0..<size).map { _ in
                isText
                    ? UInt8.random(in: 32...126, using: &random)
                    : .random(in: 0...255, using: &random)
            }
            bytes += ClientFrame.encode(
                UInt8(opcode),
                payload,
                isFinal: opcode > 7 || Int.random(in: 0..<3, using: &random) > 0,
                isMasked: Int.random(in: 0..<40, using: &random) > 0
            )
        }
        for _ in 0..<Int.random(in: 0...2, using: &random) where !bytes.isEmpty {
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                in: 0...255,
                using: &random
            )
        }
        return bytes
    }

    @Test("however the bytes are cut, the events are the same", arguments: 1...20)
    func cuts(seed: UInt64) {
        var random = FuzzRandom(state: seed)
        for _ in 0..<100 {
            let bytes = conversation(&random)
            let whole = WebSocketParser.events(of: bytes, messageBytesMax: 512)
            let size = Int.random(in: 1...40, using: &random)
            let cut = WebSocketParser.events(of: bytes, in: size, messageBytesMax: 512)
            #expect(whole == cut, "seed \(seed), pieces of \(size): \(bytes)")
            let total = whole.reduce(0) { sum, event in
                guard case .message(let message) = event else { return sum }
                #expect(message.count <= 512)
                if case .text(let text) = message {
                    #expect(String(validating: text, as: UTF8.self) != nil)
                }
                return sum + message.count
            }
            #expect(total <= bytes.count)
        }
    }
}

/// SplitMix64: the same numbers for the same seed.
private struct FuzzRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
