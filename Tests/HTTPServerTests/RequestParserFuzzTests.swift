import Foundation
import Testing

@testable import HTTPServer

/// Mutates requests and feeds them whole and in random pieces.
///
/// `SWITCHBOARD_FUZZ_ROUNDS` sets how many; `SWITCHBOARD_FUZZ_SEED` repeats a failure.
@Suite("RequestParser: fuzz")
struct RequestParserFuzzTests {
    /// SplitMix64: the same rounds for the same seed on every machine.
    struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var word = state
            word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
            word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
            return word ^ (word >> 31)
        }
    }

    private static let seeds = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://b:80/p?q=%41 HTTP/1.1\r\nHost: [::1]:8\r\nConnection: close, x\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        "\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "3;a=\"b\\\"\";c\r\nabc\r\n0A \t;d = e\r\n0123456789\r\n0\r\nT: u\r\nV:\r\n\r\n",
        "PUT /y HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0003\r\nX:\t y \r\n\r\nabc",
        "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: b%41:1\r\n\r\nCONNECT c:1 HTTP/1.1\r\nHost: c\r\n\r\n",
    ]

    private static let tokens = [
        "\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", "\0", ":", ",", ";", "=", "\"", "\\", "%", "0",
        "ffffffffffffffff", "9999999999999999999", "chunked", "Transfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\n", "Content-Length: ", "Host: b\r\n", "HTTP/1.0", "HTTP/1.1",
        "Expect: x\r\n", "\u{80}", "\u{ff}", "\u{7f}", "[::1]", "GET / HTTP/1.1\r\n", "0\r\n\r\n",
        "longlonglong", "A:\r\nB:\r\nC:\r\n", ";longlonglonglonglonglong",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    ]

    private func mutated(_ generator: inout Generator) -> [UInt8] {
        let count = Int.random(in: 1...3, using: &generator)
        let texts = (0..<count).compactMap { _ in Self.seeds.randomElement(using: &generator) }
        var bytes = latin1(texts.joined())
        for _ in 0..<Int.random(in: 0...4, using: &generator) {
            let place = Int.random(in: 0...bytes.count, using: &generator)
            let size = Int.random(in: 0...min(12, bytes.count - place), using: &generator)
            switch Int.random(in: 0..<5, using: &generator) {
            case 0: bytes.removeSubrange(place..<place + size)
            case 1: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
            case 2: bytes.insert(contentsOf: bytes[place..<place + size], at: place)
            case 3:
                bytes.insert(
                    contentsOf: latin1(Self.tokens.randomElement(using: &generator) ?? ""),
                    at: place
                )
            default:
                if place < bytes.count {
                    bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                }
            }
        }
        return bytes
    }

    private func pieces(_ bytes: [UInt8], _ generator: inout Generator) -> [ArraySlice<UInt8>] {
        var result: [ArraySlice<UInt8>] = []
        var start = 0
        while start < bytes.count {
            let longest = Bool.random(using: &generator) ? 3 : 60
            let end = min(bytes.count, start + Int.random(in: 1...longest, using: &generator))
            result.append(bytes[start..<end])
            start = end
        }
        return result
    }

    @Test("mutated requests never trap, and come to the same however they are cut")
    func mutations() {
        let environment = ProcessInfo.processInfo.environment
        let rounds = environment["SWITCHBOARD_FUZZ_ROUNDS"].flatMap(Int.init) ?? 10_000
        let seed = environment["SWITCHBOARD_FUZZ_SEED"].flatMap(UInt64.init) ?? 1
        var generator = Generator(state: seed)
        var limits = HTTPLimits()
        limits.methodLength = 7
        limits.requestLineSize = 36
        limits.headerSize = 70
        limits.fieldCount = 3
        limits.chunkExtensionSize = 20
        limits.chunkExtensionTotalSize = 30
        limits.trailerSize = 20
        var ends: [String: Int] = [:]
        for round in 0..<rounds {
            let bytes = mutated(&generator)
            let used = Bool.random(using: &generator) ? limits : HTTPLimits()
            let whole = outcome(of: [bytes[...]], bodyLimit: 16, limits: used)
            let cut = outcome(of: pieces(bytes, &generator), bodyLimit: 16, limits: used)
            if cut != whole {
                Issue.record("seed \(seed), round \(round): \(cut) and \(whole): \(bytes)")
                return
            }
            ends["\(whole.end)", default: 0] += 1
        }
        // The rounds are worth nothing unless they reach every part of the parser.
        guard rounds >= 10_000 else { return }
        for code in RequestError.Code.allCases {
            #expect(ends["\(ParserOutcome.End.failed(code))"] != nil, "\(code) was never reached")
        }
        for end in [ParserOutcome.End.inHead, .inBody, .idle] {
            #expect(ends["\(end)"] != nil, "\(end) was never reached")
        }
        #expect(ends["idle", default: 0] > rounds / 20)
    }
}
