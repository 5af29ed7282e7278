import Testing

@testable import HTTPServer

/// What a stream of bytes came to.
struct ParserOutcome: Equatable, CustomStringConvertible {
    struct Request: Equatable {
        var method: HTTPMethod
        var target: String
        var path: String
        var query: String?
        var version: HTTPVersion
        var fields: HTTPFields
        var framing: BodyFraming
        var keepsAlive: Bool
        var expectsContinue: Bool
        var authority: String?
        var body: [UInt8] = []
        var isComplete = false
    }

    enum End: Equatable {
        case idle, inHead, inBody
        case failed(RequestError.Code)
    }

    var requests: [Request] = []
    var end = End.idle

    var description: String {
        let lines = requests.map {
            "\($0.method) \($0.target) \($0.framing) body \($0.body.count)"
                + " \($0.isComplete ? "complete" : "incomplete")"
        }
        return (lines + ["\(end)"]).joined(separator: "; ")
    }
}

/// Feeds a parser the way a connection does, and checks what every connection relies on.
struct ParserDriver {
    private(set) var outcome = ParserOutcome()
    private var parser: RequestParser
    private let bodyLimit: Int

    init(bodyLimit: Int, limits: HTTPLimits) {
        parser = RequestParser(limits: limits)
        self.bodyLimit = bodyLimit
    }

    /// Hands over one piece, with a request line behind its end: whoever reads past the end
    /// comes to another outcome.
    mutating func feed(_ piece: ArraySlice<UInt8>) {
        let input = Array("\r\n\0".utf8) + piece + Array("GET / HTTP/1.1\r\n\r\n".utf8)
        var position = 3
        let end = position + piece.count
        while true {
            let before = position
            let event = parser.next(input, &position, end: end)
            #expect(position >= before && position <= end, "consumed bytes that are not there")
            switch event {
            case .needsMore:
                #expect(position == end, "asked for more before all bytes were consumed")
                return noteEnd()
            case .failed(let error):
                #expect(position == before, "consumed bytes while failing")
                outcome.end = .failed(error.code)
                return
            case .head(let head):
                note(head)
                if let error = parser.acceptBody(limit: bodyLimit) {
                    outcome.end = .failed(error.code)
                    return
                }
            case .body(let range):
                #expect(!range.isEmpty && range.upperBound == position, "a range out of place")
                #expect(range.lowerBound >= before, "a byte was delivered twice")
                outcome.requests[outcome.requests.count - 1].body += input[range]
            case .end:
                outcome.requests[outcome.requests.count - 1].isComplete = true
            }
        }
    }

    private mutating func note(_ head: RequestHead) {
        outcome.requests.append(
            ParserOutcome.Request(
                method: head.method,
                target: head.target,
                path: head.path,
                query: head.query,
                version: head.version,
                fields: head.fields,
                framing: head.framing,
                keepsAlive: head.keepsAlive,
                expectsContinue: head.expectsContinue,
                authority: head.authority
            )
        )
    }

    private mutating func noteEnd() {
        switch parser.phase {
        case .idle: outcome.end = .idle
        case .head: outcome.end = .inHead
        case .body: outcome.end = .inBody
        case .decision, .failed: Issue.record("asked for more in phase \(parser.phase)")
        }
    }
}

/// The outcome of `pieces`, one after the other.
func outcome(
    of pieces: [ArraySlice<UInt8>],
    bodyLimit: Int = 1024,
    limits: HTTPLimits = HTTPLimits()
) -> ParserOutcome {
    var driver = ParserDriver(bodyLimit: bodyLimit, limits: limits)
    for piece in pieces { driver.feed(piece) }
    return driver.outcome
}

/// The outcome of `bytes`, which must be the same whole, byte by byte and cut at each place.
///
/// Of a long input the cuts near both ends are tried, and some between.
func outcomeOfAllCuts(
    _ bytes: [UInt8],
    bodyLimit: Int = 1024,
    limits: HTTPLimits = HTTPLimits()
) -> ParserOutcome {
    let whole = outcome(of: [bytes[...]], bodyLimit: bodyLimit, limits: limits)
    let single = bytes.indices.map { bytes[$0...$0] }
    let byByte = outcome(of: single, bodyLimit: bodyLimit, limits: limits)
    #expect(byByte == whole, "byte by byte the outcome differs")
    let step = bytes.count <= 600 ? 1 : bytes.count / 40
    for cut in bytes.indices
    where cut % step == 0 || (step > 1 && (cut < 40 || cut > bytes.count - 40)) {
        let halves = [bytes[..<cut], bytes[cut...]]
        let result = outcome(of: halves, bodyLimit: bodyLimit, limits: limits)
        if result != whole { Issue.record("cut at \(cut): \(result) instead of \(whole)") }
    }
    return whole
}

/// The bytes of a text whose characters are all below U+0100; each stands for one byte.
func latin1(_ text: String) -> [UInt8] {
    text.unicodeScalars.map { UInt8(exactly: $0.value) ?? UInt8(ascii: "?") }
}

/// A row of a table: bytes, and what they must come to.
struct ParserCase: CustomTestStringConvertible, Sendable {
    let name: String
    let bytes: [UInt8]
    let expected: RequestError.Code?

    /// Bytes that are refused for the reason `code`.
    static func refused(_ name: String, _ code: RequestError.Code, _ text: String) -> Self {
        Self(name: name, bytes: latin1(text), expected: code)
    }

    /// Bytes that are whole requests.
    static func taken(_ name: String, _ text: String) -> Self {
        Self(name: name, bytes: latin1(text), expected: nil)
    }

    var testDescription: String { name }

    func check(bodyLimit: Int = 1024) {
        let result = outcomeOfAllCuts(bytes, bodyLimit: bodyLimit)
        if let expected {
            #expect(result.end == .failed(expected), "\(result)")
        } else {
            #expect(result.end == .idle, "\(result)")
            #expect(!result.requests.isEmpty && result.requests.allSatisfy(\.isComplete))
        }
    }
}
